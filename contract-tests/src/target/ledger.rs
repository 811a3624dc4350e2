//! What a run made on a server that others use, too: marked, the only thing it changes, and removed at the end.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};

use crate::case::Case;
use crate::fault::Fault;
use crate::target::Credential;

/// Collections whose records carry `metadata`.
const MARKED: &[&str] = &["/sandboxes", "/workspaces", "/projects"];

/// Collections in which a POST makes something that a DELETE removes again.
const MADE: &[&str] = &["/sandboxes", "/workspaces", "/projects", "/api-keys", "/snapshots"];

/// Selectors that make a workspace, then those that make a project, when there is none yet.
const MAKERS: &[&str] =
    &["workspace_slug", "external_workspace_id", "project_slug", "external_project_id"];

/// Something that was made.
pub struct Made {
    /// Its path, for instance `/sandboxes/<id>`.
    pub path: String,
    credential: Credential,
}

impl Made {
    /// Removes it. That it is gone already is as good.
    ///
    /// # Errors
    /// Why it is still there.
    pub async fn remove(&self, case: &Case) -> Result<(), String> {
        // A key that made it may be gone by now: then the one that was given removes it.
        let given = case.target().secrets().into_iter();
        let given = given.map(|secret| Credential { variable: "MIOSA_API_KEY".to_owned(), secret });
        let mut left = "no credential".to_owned();
        for credential in std::iter::once(self.credential.clone()).chain(given) {
            let client = case.client(credential);
            match client.delete(&self.path).unbudgeted().send().await {
                Ok(reply) if reply.status < 300 || reply.status == 404 => return Ok(()),
                Ok(reply) => left = format!("{} from DELETE", reply.status),
                Err(Fault::Broken { got, .. }) => left = got,
                Err(Fault::Unable(why) | Fault::Skip(why)) => left = why,
            }
        }
        Err(left)
    }
}

/// The record of what was made.
pub struct Ledger {
    kept: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: Vec<Made>,
    mine: HashSet<String>,
    foreign: HashSet<String>,
}

impl Ledger {
    /// One that is kept, or one for a server that is this run's alone.
    pub(super) fn new(kept: bool) -> Self {
        Self { kept, state: Mutex::default() }
    }

    /// Marks the body of a create with this run.
    pub(crate) fn mark(&self, method: &Method, path: &str, body: &mut Value, run: &str) {
        if self.kept
            && *method == Method::POST
            && MARKED.contains(&path)
            && let Some(body) = body.as_object_mut()
        {
            let metadata = body.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("contract_run".to_owned(), run.into());
            }
        }
    }

    /// Whether a body names its owner without making one on the way: what is made so carries no mark.
    ///
    /// # Errors
    /// [`Fault::Skip`] when it would.
    pub(crate) fn permit_owner(&self, path: &str, body: &Value) -> Result<(), Fault> {
        let path = path.split('?').next().unwrap_or_default();
        let of_itself = match path {
            "/workspaces" => MAKERS.get(2..).unwrap_or_default(),
            "/projects" => MAKERS.get(..2).unwrap_or_default(),
            _ => MAKERS,
        };
        match of_itself.iter().find(|name| body.get(**name).is_some()) {
            Some(name) if self.kept => Err(Fault::skip(format!(
                "{name} in a body may make a workspace or project that carries no mark"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a request leaves alone what others made: it reads, it makes something that is removed at the end, or it
    /// names something that this run made or that nobody has.
    ///
    /// # Errors
    /// [`Fault::Skip`] when it would change anything else.
    pub(crate) fn permit(&self, method: &Method, path: &str) -> Result<(), Fault> {
        if !self.kept || method.is_safe() {
            return Ok(());
        }
        let path = path.split('?').next().unwrap_or_default();
        if *method == Method::POST && MADE.contains(&path) {
            return Ok(());
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What is below something of this run is this run's, whoever gave it its id.
        let harmless = path.split('/').find_map(|part| {
            let mine = state.mine.contains(part) || part.starts_with("contract-");
            if mine || state.foreign.contains(part) {
                return Some(mine);
            }
            uuid::Uuid::try_parse(part).is_ok().then_some(true)
        });
        if harmless == Some(true) {
            return Ok(());
        }
        Err(Fault::skip(format!("{method} {path} would change what this run did not make")))
    }

    /// Writes down what an answer tells: what was made, and what was there already.
    pub(crate) fn note(
        &self,
        credential: Option<&Credential>,
        method: &Method,
        path: &str,
        status: u16,
        body: &Value,
    ) {
        if !self.kept || status >= 300 {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let data = body.get("data").unwrap_or(body);
        if *method == Method::POST {
            let path = path.split('?').next().unwrap_or_default();
            let id = data.get("id").and_then(Value::as_str);
            if let (Some(id), Some(credential)) = (id, credential)
                && status == 201
                && !state.foreign.contains(id)
                && state.mine.insert(id.to_owned())
            {
                let collection = collection_of(path);
                state.made.push(Made {
                    path: format!("{collection}/{id}"),
                    credential: credential.clone(),
                });
            }
        }
        told(body, &mut |id| {
            if !state.mine.contains(id) {
                state.foreign.insert(id.to_owned());
            }
        });
    }

    /// Everything that was made, newest first; the ledger is empty afterwards.
    pub fn take(&self) -> Vec<Made> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = std::mem::take(&mut state.made);
        made.reverse();
        made
    }
}

/// Every id that an answer tells.
fn told(value: &Value, tell: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) if uuid::Uuid::try_parse(text).is_ok() => tell(text),
        Value::Array(items) => items.iter().for_each(|item| told(item, tell)),
        Value::Object(members) => members.values().for_each(|member| told(member, tell)),
        _ => {}
    }
}

/// Where something that a POST to this path made is found: a fork or a clone is one more of its own kind.
fn collection_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((one, "fork" | "clone")) => one.rsplit_once('/').map_or(path, |(all, _)| all),
        Some((all, "run")) => all,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn credential() -> Credential {
        Credential { variable: "MIOSA_API_KEY".into(), secret: "msk_x".into() }
    }

    #[test]
    fn what_was_there_before_is_never_changed_and_what_was_made_is_removed_newest_first() {
        const THEIRS: &str = "0e1d2c3b-4a59-4867-9504-a3b2c1d0e9f8";
        const MINE: &str = "8f14e45f-ceea-467f-a1d1-2b0a4a1c9f10";
        const COPY: &str = "2c1f4a5e-9d0b-4f1c-8a7d-3e5b6c7d8e9f";
        const NOBODYS: &str = "5b9c1a52-7b0e-4b8b-9f5a-0d9f4f2b7a11";
        let ledger = Ledger::new(true);
        let (one, fork) = (credential(), format!("/sandboxes/{MINE}/fork"));
        let made = json!({ "data": { "id": MINE, "workspace_id": THEIRS } });
        ledger.note(Some(&one), &Method::POST, "/sandboxes", 201, &made);
        ledger.note(Some(&one), &Method::POST, &fork, 201, &json!({ "id": COPY }));
        let permits = |method, path: String| ledger.permit(&method, &path).is_ok();
        assert!(!permits(Method::DELETE, format!("/workspaces/{THEIRS}")));
        assert!(!permits(Method::PATCH, format!("/workspaces/{THEIRS}/y?z=1")));
        assert!(!permits(Method::PUT, "/policies".to_owned()));
        assert!(permits(Method::GET, format!("/workspaces/{THEIRS}")));
        assert!(permits(Method::DELETE, format!("/sandboxes/{MINE}/x/{THEIRS}")));
        assert!(permits(Method::DELETE, format!("/sandboxes/{NOBODYS}")));
        assert!(permits(Method::POST, "/sandboxes?wait=true".to_owned()));
        let paths: Vec<_> = ledger.take().into_iter().map(|made| made.path).collect();
        assert_eq!(paths, [format!("/sandboxes/{COPY}"), format!("/sandboxes/{MINE}")]);
        assert!(ledger.take().is_empty());
    }

    #[test]
    fn nothing_is_made_on_the_way() {
        let (ledger, body) = (Ledger::new(true), json!({ "external_workspace_id": "clinic" }));
        assert!(ledger.permit_owner("/sandboxes", &body).is_err());
        assert!(ledger.permit_owner("/projects?x=1", &body).is_err());
        assert!(ledger.permit_owner("/workspaces", &body).is_ok());
        assert!(Ledger::new(false).permit_owner("/sandboxes", &body).is_ok());
    }

    #[test]
    fn a_create_is_marked_with_the_run() {
        let ledger = Ledger::new(true);
        let mut body = json!({ "metadata": { "a": 1 } });
        ledger.mark(&Method::POST, "/sandboxes", &mut body, "r1");
        assert_eq!(body, json!({ "metadata": { "a": 1, "contract_run": "r1" } }));
    }
}
