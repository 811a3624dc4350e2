//! Names that are unique: the second is refused, also at once, and a name is free again when what had it is gone.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::races::judge;
use crate::case::{Client, made};
use crate::fault::Fault;
use crate::session::Session;

/// What is unique.
#[derive(Debug, Clone, Copy)]
enum Unique {
    WorkspaceName,
    WorkspaceSlug,
    ProjectSlug,
    EnvironmentSlug,
    KeyPreset,
    SandboxName,
    SnapshotName,
}

const ALL: &[Unique] = &[
    Unique::WorkspaceName,
    Unique::WorkspaceSlug,
    Unique::ProjectSlug,
    Unique::EnvironmentSlug,
    Unique::KeyPreset,
    Unique::SandboxName,
    Unique::SnapshotName,
];

/// A place where something with a unique name can be made.
struct Shop {
    list: String,
    field: &'static str,
    /// What else a create says, each time another.
    beside: fn(&str) -> Value,
    /// Said in every create.
    fixed: Value,
    /// Whether a record is removed by its name.
    by_name: bool,
}

/// `LIFE-013`.
pub fn unique(session: &Session) -> Result<(), Fault> {
    let name = "[a-z][a-z0-9]{0,6}";
    let each: Vec<_> = ALL
        .iter()
        .map(|unique| {
            let drawn = (name, 2usize..=5).prop_map(|(name, many)| (*unique, name, many));
            prop::option::weighted(0.99, drawn)
        })
        .collect();
    let each = each.prop_map(|all| all.into_iter().flatten().collect::<Vec<_>>());
    session.forall(each, async |case, each| {
        let client = case.organization()?;
        for (unique, name, many) in each {
            let name = format!("{}-{name}", case.name());
            hold(&client, unique, &name, many).await?;
        }
        Ok(())
    })
}

async fn hold(client: &Client, unique: Unique, name: &str, many: usize) -> Result<(), Fault> {
    let shop = shop(client, unique).await?;
    let make = |n: usize| {
        let mut body = (shop.beside)(&format!("{}-{n}", client.case().name()));
        for (field, value) in shop.fixed.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        body[shop.field] = json!(name);
        client.post(&shop.list, body)
    };
    let replies = made::at_once((0..many).map(make)).await?;
    judge(&format!("{unique:?}"), &replies, 201, 409)?;
    let Some(won) = replies.iter().find(|reply| reply.status == 201) else { return Ok(()) };
    let listed = client.get(format!("{}?page_size=100", shop.list)).send().await?.expect(200)?;
    let items = listed.items()?;
    let named = items.iter().filter(|item| item[shop.field] == name).count();
    listed.holds(named == 1, format!("one {name} in the list"), named.to_string())?;
    make(many).send().await?.refused(409)?;
    let id = if shop.by_name { name.to_owned() } else { won.id()? };
    let gone = client.delete(format!("{}/{id}", shop.list)).send().await?;
    gone.holds(gone.status < 300, "it is removed", gone.summary())?;
    make(many + 1).send().await?.expect(201).map(drop)
}

async fn shop(client: &Client, unique: Unique) -> Result<Shop, Fault> {
    let plain = Shop {
        list: String::new(),
        field: "slug",
        beside: |other| json!({ "name": other }),
        fixed: json!({}),
        by_name: false,
    };
    let named = |list: &str, field| Shop { list: list.to_owned(), field, ..plain };
    Ok(match unique {
        Unique::WorkspaceName => Shop {
            beside: |other| json!({ "slug": other }),
            list: "/workspaces".to_owned(),
            field: "name",
            fixed: json!({}),
            by_name: false,
        },
        Unique::WorkspaceSlug => named("/workspaces", "slug"),
        Unique::ProjectSlug => {
            let workspace = made::id(&client.workspace().await?)?;
            Shop { fixed: json!({ "workspace_id": workspace }), ..named("/projects", "slug") }
        }
        Unique::EnvironmentSlug => {
            let workspace = made::id(&client.workspace().await?)?;
            let project = made::id(&client.project(&workspace).await?)?;
            named(&format!("/projects/{project}/environments"), "slug")
        }
        Unique::KeyPreset => Shop {
            beside: |_| json!({ "scopes": ["sandboxes:read"] }),
            by_name: true,
            ..named("/api-keys/presets", "name")
        },
        Unique::SandboxName => Shop { beside: |_| json!({}), ..named("/sandboxes", "name") },
        Unique::SnapshotName => {
            let sandbox = made::id(&client.sandbox().await?)?;
            Shop {
                beside: |_| json!({}),
                fixed: json!({ "sandbox_id": sandbox }),
                by_name: true,
                ..named("/named-snapshots", "name")
            }
        }
    })
}
