//! Workspaces and projects that come of being named, and the ones that are taken when none is.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::{at_once, field, id};
use crate::case::{Client, Sending};
use crate::fault::{Fault, holds};
use crate::operations::{Op, sweep};
use crate::populated;
use crate::session::Session;

/// What is named that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum New {
    /// By creating projects in it.
    ExternalWorkspace,
    /// By creating it itself.
    ExternalItself,
    ExternalProject,
    /// By creating a sandbox in it.
    Slugs,
}

/// OWN-002.
pub(super) fn made_once(session: &Session) -> Result<(), Fault> {
    let cheap = prop::sample::select(vec![
        New::ExternalWorkspace,
        New::ExternalItself,
        New::ExternalProject,
    ]);
    let cheap = (cheap, 2_usize..=6);
    let drawn = if session.target.has_machines() {
        prop_oneof![5 => cheap, 1 => (Just(New::Slugs), Just(2_usize))].boxed()
    } else {
        cheap.boxed()
    };
    session.forall((drawn, any::<bool>()), async |case, ((new, times), together)| {
        let client = case.organization()?;
        let name = case.name();
        let workspace = client.workspace().await?;
        let ask = || new.ask(&client, &name, &workspace["id"]);
        let replies = if together {
            at_once((0..times).map(|_| ask())).await?
        } else {
            let mut replies = Vec::new();
            for _ in 0..times {
                replies.push(ask().send().await?);
            }
            replies
        };
        let mut owners = BTreeSet::new();
        for reply in &replies {
            let made = matches!(reply.status, 200 | 201);
            reply.holds(made, "200 or 201", reply.summary())?;
            let record = reply.data()?;
            let fields: &[&str] = match new {
                New::ExternalWorkspace => &["workspace_id"],
                New::ExternalItself | New::ExternalProject => &["id"],
                New::Slugs => &["workspace_id", "project_id"],
            };
            owners.insert(fields.iter().map(|it| record[*it].to_string()).collect::<Vec<_>>());
        }
        let expected = format!("one place for {times} requests that name it");
        holds(owners.len() == 1, expected.clone(), format!("{owners:?}"))?;
        let (list, of) = match new {
            New::ExternalWorkspace | New::ExternalItself => {
                ("/workspaces", "external_workspace_id")
            }
            New::ExternalProject => ("/projects", "external_project_id"),
            New::Slugs => ("/workspaces", "slug"),
        };
        let items =
            client.get(format!("{list}?page_size=100")).send().await?.needs(200)?.items()?;
        let named = items.iter().filter(|item| item[of] == json!(name)).count();
        holds(named == 1, expected, format!("{named} in GET {list} with {of} {name}"))
    })
}

impl New {
    fn ask(self, client: &Client, name: &str, workspace: &Value) -> Sending {
        let own = client.case().name();
        match self {
            Self::ExternalWorkspace => {
                client.post("/projects", json!({ "name": own, "external_workspace_id": name }))
            }
            Self::ExternalItself => {
                client.post("/workspaces", json!({ "name": own, "external_workspace_id": name }))
            }
            Self::ExternalProject => client.post(
                "/projects",
                json!({ "name": own, "workspace_id": workspace, "external_project_id": name }),
            ),
            Self::Slugs => client.post(
                "/sandboxes",
                json!({ "name": own, "workspace_slug": name, "project_slug": name }),
            ),
        }
    }
}

/// OWN-004.
pub(super) fn answers_say(session: &Session) -> Result<(), Fault> {
    let lists = Op::all().into_iter().filter(|op| op.is_paginated() && *op.method() == Method::GET);
    session.forall(sweep(session, lists.collect()), async |case, lists| {
        let (client, world) = populated::whole(&case).await?;
        let mut projects = BTreeMap::new();
        for op in lists.iter() {
            let Some(sending) = op.valid(&client, &world) else { continue };
            let reply = sending.send().await?;
            if reply.status != 200 {
                continue;
            }
            for item in reply.items()? {
                let (Some(workspace), Some(project)) =
                    (item["workspace_id"].as_str(), item["project_id"].as_str())
                else {
                    continue;
                };
                if !projects.contains_key(project) {
                    let record = client.get(format!("/projects/{project}")).send().await?;
                    let record = record.expect(200)?.data()?;
                    projects.insert(project.to_owned(), field(&record, "workspace_id")?);
                }
                let own = projects.get(project).map(String::as_str);
                let expected =
                    format!("project {project} of {op:?} to be in workspace {workspace}");
                reply.holds(own == Some(workspace), expected, format!("it is in {own:?}"))?;
            }
        }
        // What runs says both.
        if lists.len() > 1 && world.has_machines() {
            let sandbox = world.id("sandbox").unwrap_or_default();
            let reply = client.get(format!("/sandboxes/{sandbox}")).send().await?.expect(200)?;
            reply.text("workspace_id")?;
            reply.text("project_id")?;
        }
        Ok(())
    })
}

/// OWN-006.
pub(super) fn usual(session: &Session) -> Result<(), Fault> {
    let machines = session.target.has_machines();
    session.forall((any::<bool>(), any::<bool>()), async |case, (named, by_slug)| {
        let client = case.organization()?;
        let who = client.get("/whoami").send().await?.needs(200)?.data()?;
        let own = client.workspace().await?;
        let other = client.workspace().await?;
        let usual = usual_workspace(&client, &[id(&own)?, id(&other)?]).await?;
        let (asking, wanted) = if named {
            let header = if by_slug { field(&own, "slug")? } else { id(&own)? };
            (client.with("X-MIOSA-Workspace", &header), id(&own)?)
        } else {
            (client.clone(), usual)
        };
        let mut paths = vec![("/tokens/scoped", json!({ "user_id": case.name() }))];
        if named {
            paths.push(("/projects", json!({ "name": case.name() })));
        }
        if machines && !by_slug {
            paths.push(("/sandboxes", json!({ "name": case.name() })));
        }
        for (path, body) in paths {
            let reply = asking.post(path, body).send().await?.expect(201)?;
            let workspace = reply.text("workspace_id")?;
            let expected = format!("it to be in workspace {wanted} of {who}");
            reply.holds(workspace == wanted, expected, workspace.clone())?;
        }
        Ok(())
    })
}

/// The only workspace of an organization beside these.
async fn usual_workspace(client: &Client, made: &[String]) -> Result<String, Fault> {
    let items = client.get("/workspaces?page_size=100").send().await?.needs(200)?.items()?;
    let mut others = items.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    others.retain(|id| !made.contains(id));
    match others.as_slice() {
        [one] => Ok(one.clone()),
        _ => {
            Err(Fault::unable(format!("{} workspaces, one of which is the default", others.len())))
        }
    }
}
