//! Where each PATCH is tried: a record of each family, with another one beside it.

use serde_json::{Value, json};

use crate::case::{Client, made};
use crate::fault::Fault;

/// A family of records that can be patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `/sandboxes`.
    Sandboxes,
    /// `/workspaces`.
    Workspaces,
    /// `/workspaces/{id}/members`.
    Members,
    /// `/projects`.
    Projects,
    /// `/projects/{id}/environments`.
    Environments,
    /// `/api-keys`.
    Keys,
    /// `/service-accounts`.
    ServiceAccounts,
    /// `/egress/policies` of one's own making.
    Policies,
    /// The organization's own policy, which has no id of its own in the path.
    Policy,
}

/// All of them.
pub const FAMILIES: &[Family] = &[
    Family::Sandboxes,
    Family::Workspaces,
    Family::Members,
    Family::Projects,
    Family::Environments,
    Family::Keys,
    Family::ServiceAccounts,
    Family::Policies,
    Family::Policy,
];

/// A record that is patched, and where it is listed.
pub struct Place {
    /// Its id.
    pub id: Value,
    /// The field of the list's items that holds it.
    pub key: &'static str,
    list: String,
    /// The first parameter of the path; the second is the id.
    parent: Option<String>,
}

impl Family {
    /// Whether this path is one of it.
    pub fn covers(self, path: &str) -> bool {
        match self {
            Self::Sandboxes => path.starts_with("/sandboxes/"),
            Self::Workspaces => path == "/workspaces/{id}",
            Self::Members => path.starts_with("/workspaces/{id}/members/"),
            Self::Projects => path == "/projects/{id}",
            Self::Environments => path.starts_with("/projects/{id}/environments/"),
            Self::Keys => path == "/api-keys/{id}",
            Self::ServiceAccounts => path == "/service-accounts/{id}",
            Self::Policies => path == "/egress/policies/{id}",
            Self::Policy => path == "/egress/policies",
        }
    }

    /// Whether one costs more than a row.
    pub fn is_dear(self) -> bool {
        self == Self::Sandboxes
    }

    /// Whether it is not this run's alone where others work in the organization, too.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Policy | Self::Members)
    }

    /// Makes one, and another one beside it.
    ///
    /// # Errors
    /// [`Fault::Unable`] when that cannot be done.
    pub async fn make(self, client: &Client) -> Result<Place, Fault> {
        let name = || json!({ "name": client.case().name() });
        let (list, parent) = match self {
            Self::Sandboxes => ("/sandboxes".to_owned(), None),
            Self::Workspaces => ("/workspaces".to_owned(), None),
            Self::Keys => ("/api-keys".to_owned(), None),
            Self::ServiceAccounts => ("/service-accounts".to_owned(), None),
            Self::Policies | Self::Policy => ("/egress/policies".to_owned(), None),
            Self::Projects => ("/projects".to_owned(), None),
            Self::Environments => {
                let workspace = made::id(&client.workspace().await?)?;
                let project = made::id(&client.project(&workspace).await?)?;
                (format!("/projects/{project}/environments"), Some(project))
            }
            Self::Members => {
                let workspace = made::id(&client.workspace().await?)?;
                (format!("/workspaces/{workspace}/members"), Some(workspace))
            }
        };
        let mut key = "id";
        let id = match self {
            Self::Projects => {
                let workspace = made::id(&client.workspace().await?)?;
                client.project(&workspace).await?;
                client.project(&workspace).await?["id"].clone()
            }
            Self::Members => {
                key = "user_id";
                join(client, parent.as_deref().unwrap_or_default()).await?
            }
            Self::Policy => {
                let listed = client.get(&list).send().await?.needs(200)?.items()?;
                listed.last().map(|policy| policy["id"].clone()).unwrap_or_default()
            }
            _ => {
                client.make(&list, name()).await?;
                client.make(&list, name()).await?["id"].clone()
            }
        };
        Ok(Place { id, key, list, parent })
    }
}

/// A second person in a workspace, by an invite.
async fn join(client: &Client, workspace: &str) -> Result<Value, Fault> {
    let email = format!("{}@example.com", client.case().name());
    let body = json!({ "email": email, "role": "member" });
    let invite = client.make(&format!("/workspaces/{workspace}/invites"), body).await?;
    let token = made::field(&invite, "token")?;
    let path = format!("/workspace-invites/{token}/accept");
    let accepted = client.post(path, json!({})).send().await?.needs(200)?.data()?;
    Ok(accepted["user_id"].clone())
}

impl Place {
    /// The path of a PATCH with its parameters.
    pub fn path(&self, path: &str) -> String {
        let id = self.id.as_str().unwrap_or_default();
        let mut parts = Vec::new();
        let mut parameters = [self.parent.as_deref(), Some(id)].into_iter().flatten();
        for part in path.split('/') {
            let part = if part.starts_with('{') { parameters.next().unwrap_or(id) } else { part };
            parts.push(part);
        }
        parts.join("/")
    }

    /// The record and those beside it.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list(&self, client: &Client) -> Result<Vec<Value>, Fault> {
        client.get(format!("{}?page_size=100", self.list)).send().await?.needs(200)?.items()
    }
}
