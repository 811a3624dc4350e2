//! What rules build on: resources that are made before the property says anything.

use serde_json::{Value, json};

use super::{Client, Reply};
use crate::fault::Fault;

impl Client {
    /// A workspace with a name of its own; its record.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it cannot be made.
    pub async fn workspace(&self) -> Result<Value, Fault> {
        let name = self.case().name();
        self.make("/workspaces", json!({ "name": name })).await
    }

    /// A project in a workspace; its record.
    ///
    /// # Errors
    /// As [`Self::workspace`].
    pub async fn project(&self, workspace: &str) -> Result<Value, Fault> {
        let name = self.case().name();
        self.make("/projects", json!({ "name": name, "workspace_id": workspace })).await
    }

    /// An API key with these scopes (none for all); its record, `secret` included.
    ///
    /// # Errors
    /// As [`Self::workspace`].
    pub async fn minted(&self, scopes: Option<&[&str]>) -> Result<Value, Fault> {
        let mut body = json!({ "name": self.case().name() });
        if let Some(scopes) = scopes {
            body["scopes"] = json!(scopes);
        }
        self.make("/api-keys", body).await
    }

    /// A sandbox that runs; its record.
    ///
    /// # Errors
    /// As [`Self::workspace`].
    pub async fn sandbox(&self) -> Result<Value, Fault> {
        self.make("/sandboxes", json!({ "name": self.case().name() })).await
    }

    /// Anything that a POST makes with 201; its record.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it cannot be made.
    pub async fn make(&self, path: &str, body: Value) -> Result<Value, Fault> {
        self.post(path, body).send().await?.needs(201)?.data()
    }
}

/// The id of a record.
///
/// # Errors
/// [`Fault::Unable`] when it has none.
pub fn id(record: &Value) -> Result<String, Fault> {
    field(record, "id")
}

/// A text of a record.
///
/// # Errors
/// [`Fault::Unable`] when it has none.
pub fn field(record: &Value, name: &str) -> Result<String, Fault> {
    record[name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Fault::unable(format!("no text in {name}: {record}")))
}

/// The replies of requests that are sent at once.
///
/// # Errors
/// The first that failed.
pub async fn at_once(
    sendings: impl IntoIterator<Item = super::Sending>,
) -> Result<Vec<Reply>, Fault> {
    futures_util::future::join_all(sendings.into_iter().map(super::Sending::send))
        .await
        .into_iter()
        .collect()
}
