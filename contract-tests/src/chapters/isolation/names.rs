//! Names that another organization has.

use serde_json::{Value, json};

use crate::case::Client;
use crate::case::made::id;
use crate::each::each;
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
    let mut all = Named::ALL.to_vec();
    if session.target.has_machines() {
        all.push(Named::Sandbox);
    }
    session.forall((each(all), "[a-z]{3,8}"), async |case, (all, word)| {
        let (one, other) = (case.organization()?, case.organization()?);
        for named in all.iter() {
            named.is_free(&one, &other, &word).await?;
        }
        Ok(())
    })
}

impl Named {
    const ALL: [Self; 7] = [
        Self::WorkspaceName,
        Self::WorkspaceSlug,
        Self::ExternalWorkspace,
        Self::ExternalProject,
        Self::ProjectSlug,
        Self::KeyPreset,
        Self::Template,
    ];

    /// The one makes it; the other does not find it, and makes it, too.
    async fn is_free(self, one: &Client, other: &Client, word: &str) -> Result<(), Fault> {
        let name = format!("{word}-{}", one.case().name());
        let theirs = one.make(self.path(), self.body(one, &name).await?).await?;
        for place in self.places(&name) {
            let reply = other.get(&place).send().await?;
            if reply.status == 200 {
                let items = reply.items()?;
                reply.holds(items.is_empty(), format!("nothing at {place}"), reply.summary())?;
            } else {
                reply.refused(404)?;
            }
        }
        let body = self.body(other, &name).await?;
        let own = other.post(self.path(), body).send().await?.expect(201)?;
        let mine = own.data()?;
        let differ = mine["id"] != theirs["id"] || mine["id"].is_null();
        own.holds(differ, "another id than the other organization's", own.summary())?;
        if let Some(place) = self.record(&theirs)? {
            let kept = one.get(place).send().await?.expect(200)?.data()?;
            let same = kept["id"] == theirs["id"] && kept["name"] == theirs["name"];
            own.holds(same, "what the other organization has, as it was", kept.to_string())?;
        }
        Ok(())
    }
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
