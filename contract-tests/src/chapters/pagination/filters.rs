//! Lists that let through only what matches.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::shelf::{Shelf, key};
use super::walk::keys;
use crate::case::made::id;
use crate::case::{Case, Client};
use crate::fault::{Fault, holds};
use crate::session::Session;

/// A list, a parameter of it, and the member of an item that it speaks about.
const FILTERS: &[(&str, &str, &str)] = &[
    ("/workspaces", "external_workspace_id", "/external_workspace_id"),
    ("/workspaces", "external_user_id", "/external_user_id"),
    ("/projects", "workspace_id", "/workspace_id"),
    ("/projects", "external_workspace_id", "/external_workspace_id"),
    ("/projects", "external_project_id", "/external_project_id"),
    ("/audit-log", "type", "/type"),
    ("/audit-log", "actor_id", "/actor/id"),
    ("/audit-log", "resource_type", "/resource/type"),
    ("/audit-log", "resource_id", "/resource/id"),
    ("/audit-log", "workspace_id", "/workspace_id"),
    ("/activity", "type", "/type"),
    ("/activity", "resource_type", "/resource/type"),
    ("/activity", "resource_id", "/resource/id"),
    ("/sandboxes", "state", "/state"),
    ("/sandboxes", "tags", "/tags/0"),
    ("/sandboxes", "workspace_id", "/workspace_id"),
    ("/sandboxes", "project_id", "/project_id"),
    ("/sandboxes", "template_id", "/template_id"),
    ("/sandboxes", "external_workspace_id", "/external_workspace_id"),
    ("/sandboxes", "external_user_id", "/external_user_id"),
    ("/sandboxes", "external_project_id", "/external_project_id"),
    ("/snapshots", "resource_id", "/sandbox_id"),
    ("/snapshots", "workspace_id", "/workspace_id"),
    ("/named-snapshots", "workspace_id", "/workspace_id"),
];

/// Which customer and which end user something is of.
type Owner = (usize, usize);

pub(super) fn exact(session: &Session) -> Result<(), Fault> {
    let machines = session.target.has_machines();
    let owners = prop::collection::vec((0_usize..2, 0_usize..2), 2..=4);
    session.forall((owners, 1_u64..=3), async |case, (owners, size)| {
        let client = case.organization()?;
        various(&case, &client, &owners, machines).await?;
        for (list, parameter, member) in FILTERS {
            if !machines && (list.contains("sandboxes") || list.contains("snapshots")) {
                continue;
            }
            let shelf = Shelf::plain(&client, list);
            let reply = shelf.part("page_size=100").await?.expect(200)?;
            let items = reply.items()?;
            let values: BTreeSet<&str> =
                items.iter().filter_map(|item| item.pointer(member)?.as_str()).collect();
            // A long list has many values; what holds for some holds for the rest.
            for value in values.iter().take(4).copied().chain(["nothing-has-this"]) {
                if value == "nothing-has-this" && !parameter.starts_with("external") {
                    continue;
                }
                let matches = |item: &&Value| item.pointer(member).is_some_and(|it| it == value);
                let wanted: Vec<_> = items.iter().filter(matches).map(key).collect();
                let asked = format!("{parameter}={value}");
                let found = shelf.read(&format!("{asked}&page_size=100")).await?;
                found.reply.holds(
                    found.keys == wanted,
                    format!(
                        "from {} those with {value} in {member}: {wanted:?}",
                        found.reply.place()
                    ),
                    format!("{:?}", found.keys),
                )?;
                let part = shelf.read(&format!("{asked}&page_size={size}")).await?;
                part.reply.holds(
                    part.total == wanted.len() as u64,
                    format!("the total {} from {}", wanted.len(), part.reply.place()),
                    part.total.to_string(),
                )?;
                let short: Vec<_> = wanted.iter().take(size as usize).cloned().collect();
                part.reply.holds(
                    part.keys == short,
                    format!("{short:?} from {}", part.reply.place()),
                    format!("{:?}", part.keys),
                )?;
            }
        }
        let shelf = Shelf::plain(&client, "/projects");
        let parts = shelf.by_page(size).await?;
        holds(!keys(&parts).is_empty(), "projects after they were made", "none")
    })
}

/// Makes things of different owners.
async fn various(
    case: &Case,
    client: &Client,
    owners: &[Owner],
    machines: bool,
) -> Result<(), Fault> {
    for (n, (customer, user)) in owners.iter().enumerate() {
        let workspace = json!({
            "name": case.name(),
            "external_workspace_id": format!("customer-{n}"),
            "external_user_id": format!("user-{user}"),
        });
        let workspace = id(&client.make("/workspaces", workspace).await?)?;
        let project = json!({
            "name": case.name(),
            "workspace_id": workspace,
            "external_project_id": format!("document-{customer}"),
        });
        let project = id(&client.make("/projects", project).await?)?;
        // Two are enough to tell them apart, and each costs.
        if machines && n < 2 {
            let sandbox = json!({
                "name": case.name(),
                "project_id": project,
                "tags": [format!("tag-{customer}")],
                "external_user_id": format!("user-{user}"),
            });
            let sandbox = id(&client.make("/sandboxes", sandbox).await?)?;
            client.make(&format!("/sandboxes/{sandbox}/snapshots"), json!({})).await?;
            let named = json!({ "name": case.name(), "sandbox_id": sandbox });
            client.make("/named-snapshots", named).await?;
            // One of the two rests, so that there are two states.
            if n == 0 {
                client
                    .post(format!("/sandboxes/{sandbox}/pause"), json!({}))
                    .send()
                    .await?
                    .needs(200)?;
            }
        }
    }
    Ok(())
}
