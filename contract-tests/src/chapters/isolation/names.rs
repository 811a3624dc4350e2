//! Names that another organization has.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::Client;
use crate::case::made::id;
use crate::fault::Fault;
use crate::session::Session;

/// Something with a name that is unique in its organization.
#[derive(Debug, Clone, Copy)]
enum Named {
    WorkspaceName,
    WorkspaceSlug,
    ExternalWorkspace,
    ExternalProject,
    ProjectSlug,
    KeyPreset,
    Template,
    Sandbox,
}

/// ISO-005.
pub(super) fn free(session: &Session) -> Result<(), Fault> {
    use Named::{
        ExternalProject, ExternalWorkspace, KeyPreset, ProjectSlug, Sandbox, Template,
        WorkspaceName, WorkspaceSlug,
    };
    let cheap = vec![
        WorkspaceName,
        WorkspaceSlug,
        ExternalWorkspace,
        ExternalProject,
        ProjectSlug,
        KeyPreset,
        Template,
    ];
    let drawn = if session.target.has_machines() {
        prop_oneof![9 => prop::sample::select(cheap), 1 => Just(Sandbox)].boxed()
    } else {
        prop::sample::select(cheap).boxed()
    };
    session.forall((drawn, "[a-z]{3,8}"), async |case, (named, word)| {
        let (one, other) = (case.organization()?, case.organization()?);
        let name = format!("{word}-{}", case.name());
        let theirs = one.make(named.path(), named.body(&one, &name).await?).await?;
        for place in named.places(&name) {
            let reply = other.get(&place).send().await?;
            if reply.status == 200 {
                let items = reply.items()?;
                reply.holds(items.is_empty(), format!("nothing at {place}"), reply.summary())?;
            } else {
                reply.refused(404)?;
            }
        }
        let body = named.body(&other, &name).await?;
        let reply = other.post(named.path(), body).send().await?;
        let own = reply.expect(201)?;
        let (mine, yours) = (own.data()?, &theirs);
        let differ = mine["id"] != yours["id"] || mine["id"].is_null();
        own.holds(differ, "another id than the other organization's", own.summary())?;
        if let Some(place) = named.record(&theirs)? {
            let kept = one.get(place).send().await?.expect(200)?.data()?;
            let same = kept["id"] == theirs["id"] && kept["name"] == theirs["name"];
            own.holds(same, "what the other organization has, as it was", kept.to_string())?;
        }
        Ok(())
    })
}

impl Named {
    fn path(self) -> &'static str {
        match self {
            Self::WorkspaceName | Self::WorkspaceSlug | Self::ExternalWorkspace => "/workspaces",
            Self::ExternalProject | Self::ProjectSlug => "/projects",
            Self::KeyPreset => "/api-keys/presets",
            Self::Template => "/sandbox-templates",
            Self::Sandbox => "/sandboxes",
        }
    }

    async fn body(self, client: &Client, name: &str) -> Result<Value, Fault> {
        let any = client.case().name();
        Ok(match self {
            Self::WorkspaceName | Self::Sandbox => json!({ "name": name }),
            Self::WorkspaceSlug => json!({ "name": any, "slug": name }),
            Self::ExternalWorkspace => json!({ "name": any, "external_workspace_id": name }),
            Self::ExternalProject => {
                let workspace = id(&client.workspace().await?)?;
                json!({ "name": any, "workspace_id": workspace, "external_project_id": name })
            }
            Self::ProjectSlug => {
                let workspace = id(&client.workspace().await?)?;
                json!({ "name": any, "workspace_id": workspace, "slug": name })
            }
            Self::KeyPreset => json!({ "name": name, "scopes": ["sandboxes:read"] }),
            Self::Template => json!({ "name": name, "build_spec": { "from": "miosa-sandbox" } }),
        })
    }

    /// Where it would be found by its name.
    fn places(self, name: &str) -> Vec<String> {
        match self {
            Self::WorkspaceName | Self::WorkspaceSlug => {
                vec![format!("/workspaces/{name}"), format!("/workspaces?search={name}")]
            }
            Self::ExternalWorkspace => vec![
                format!("/workspaces?external_workspace_id={name}"),
                format!("/projects?external_workspace_id={name}"),
            ],
            Self::ExternalProject => vec![format!("/projects?external_project_id={name}")],
            Self::ProjectSlug => vec![format!("/projects/{name}")],
            Self::KeyPreset => Vec::new(),
            Self::Template => vec![format!("/sandbox-templates/{name}")],
            Self::Sandbox => vec![
                format!("/sandboxes/by-name/{name}"),
                format!("/sandboxes/{name}"),
                format!("/sandboxes?search={name}"),
            ],
        }
    }

    /// Where its record is.
    fn record(self, record: &Value) -> Result<Option<String>, Fault> {
        Ok(match self {
            Self::KeyPreset => None,
            _ => Some(format!("{}/{}", self.path(), id(record)?)),
        })
    }
}
