//! What was removed is in no list any more, in the families that no model is about.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::{Client, made};
use crate::fault::Fault;
use crate::session::Session;

/// What is made and removed.
#[derive(Debug, Clone, Copy)]
enum Family {
    Preset,
    ServiceAccount,
    Environment,
    SharedVariable,
    Invite,
    ScopedToken,
    AllowlistEntry,
    Template,
    Service,
    Share,
    Variable,
    NamedSnapshot,
}

const ALL: &[Family] = &[
    Family::Preset,
    Family::ServiceAccount,
    Family::Environment,
    Family::SharedVariable,
    Family::Invite,
    Family::ScopedToken,
    Family::AllowlistEntry,
    Family::Template,
    Family::Service,
    Family::Share,
    Family::Variable,
    Family::NamedSnapshot,
];

/// `LIFE-015`.
pub fn gone(session: &Session) -> Result<(), Fault> {
    let families: Vec<_> = ALL
        .iter()
        .map(|family| {
            let drawn = ("[a-z][a-z0-9]{0,6}", 1usize..=2).prop_map(|(name, n)| (*family, name, n));
            prop::option::weighted(0.99, drawn)
        })
        .collect();
    let families = families.prop_map(|all| all.into_iter().flatten().collect::<Vec<_>>());
    session.forall(families, async |case, families| {
        let client = case.organization()?;
        let mut sandbox = None;
        for (family, name, many) in families {
            if sandbox.is_none() && family.lives_in_a_sandbox() {
                sandbox = Some(made::id(&client.sandbox().await?)?);
            }
            let shelf = family.shelf(&client, sandbox.as_deref().unwrap_or_default()).await?;
            hold(&client, &shelf, &name, many).await?;
        }
        Ok(())
    })
}

/// Where a family is listed, and what makes one.
struct Shelf {
    list: String,
    /// What a create says, for a name.
    body: fn(&str) -> Value,
    /// Said in every create.
    fixed: Value,
    /// With PUT, and no record of its own comes back: the name stands for it.
    put: bool,
    /// Whether the name stands for it in paths.
    by_name: bool,
}

impl Family {
    fn lives_in_a_sandbox(self) -> bool {
        matches!(self, Self::Service | Self::Share | Self::Variable | Self::NamedSnapshot)
    }

    async fn shelf(self, client: &Client, sandbox: &str) -> Result<Shelf, Fault> {
        let workspace = async || made::id(&client.workspace().await?);
        let project = async || made::id(&client.project(&workspace().await?).await?);
        let named = |list: String| Shelf {
            list,
            body: |name| json!({ "name": name }),
            fixed: json!({}),
            put: false,
            by_name: false,
        };
        Ok(match self {
            Self::Preset => Shelf {
                body: |name| json!({ "name": name, "scopes": ["sandboxes:read"] }),
                by_name: true,
                ..named("/api-keys/presets".to_owned())
            },
            Self::ServiceAccount => named("/service-accounts".to_owned()),
            Self::Environment => named(format!("/projects/{}/environments", project().await?)),
            Self::SharedVariable => Shelf {
                body: |name| json!({ "variables": { name.to_uppercase().replace('-', "_"): "x" } }),
                put: true,
                ..named(format!("/projects/{}/shared-variables", project().await?))
            },
            Self::Invite => Shelf {
                body: |name| json!({ "email": format!("{name}@example.com"), "role": "member" }),
                ..named(format!("/workspaces/{}/invites", workspace().await?))
            },
            Self::ScopedToken => Shelf {
                body: |name| json!({ "user_id": name }),
                fixed: json!({ "workspace_id": workspace().await? }),
                ..named("/tokens/scoped".to_owned())
            },
            Self::AllowlistEntry => Shelf {
                body: |name| json!({ "host": format!("{name}.example.com") }),
                ..named("/egress/allowlist".to_owned())
            },
            Self::Template => Shelf {
                body: |name| json!({ "name": name, "build_spec": { "from": "miosa-sandbox" } }),
                ..named("/sandbox-templates".to_owned())
            },
            Self::Service => Shelf {
                body: |name| json!({ "name": name, "command": "sleep 600" }),
                ..named(format!("/sandboxes/{sandbox}/services"))
            },
            Self::Share => Shelf {
                body: |_| json!({ "expires_in": 600 }),
                ..named(format!("/sandboxes/{sandbox}/shares"))
            },
            Self::Variable => Shelf {
                body: |name| json!({ "env": { name.to_uppercase().replace('-', "_"): "x" } }),
                put: true,
                ..named(format!("/sandboxes/{sandbox}/env"))
            },
            Self::NamedSnapshot => Shelf {
                fixed: json!({ "sandbox_id": sandbox }),
                by_name: true,
                ..named("/named-snapshots".to_owned())
            },
        })
    }
}

/// Makes some, removes one, and looks.
async fn hold(client: &Client, shelf: &Shelf, name: &str, many: usize) -> Result<(), Fault> {
    let mut ids = Vec::new();
    for n in 0..many {
        let name = format!("{}-{name}{n}", client.case().name());
        let mut body = (shelf.body)(&name);
        for (field, value) in shelf.fixed.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        if shelf.put {
            client.put(&shelf.list, body).send().await?.needs(200)?;
            ids.push(name.to_uppercase().replace('-', "_"));
        } else {
            let record = client.make(&shelf.list, body).await?;
            ids.push(if shelf.by_name { name } else { made::id(&record)? });
        }
    }
    let Some(first) = ids.first() else { return Ok(()) };
    let path = format!("{}/{first}", shelf.list);
    for id in &ids {
        listed(client, shelf, id, true).await?;
    }
    let reply = client.delete(&path).send().await?;
    reply.holds(reply.status < 300, format!("2xx from DELETE {path}"), reply.summary())?;
    listed(client, shelf, first, false).await?;
    for other in ids.iter().skip(1) {
        listed(client, shelf, other, true).await?;
    }
    Ok(())
}

/// Whether the list names it, wherever in an item.
async fn listed(client: &Client, shelf: &Shelf, id: &str, there: bool) -> Result<(), Fault> {
    let reply = client.get(format!("{}?page_size=100", shelf.list)).send().await?.expect(200)?;
    let is = reply.json()?["data"].to_string().contains(&format!("\"{id}\""));
    let expected = if there { "in the list" } else { "not in the list, as it was removed" };
    reply.holds(is == there, format!("{id} {expected}"), reply.summary())
}
