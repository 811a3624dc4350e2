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
        let client = case.client(self.credential.clone());
        match client.delete(&self.path).unbudgeted().send().await {
            Ok(reply) if reply.status < 300 || reply.status == 404 => Ok(()),
            Ok(reply) => Err(format!("{} from DELETE", reply.status)),
            Err(Fault::Broken { got, .. }) => Err(got),
            Err(Fault::Unable(why) | Fault::Skip(why)) => Err(why),
        }
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

    /// Whether a request leaves alone what others made.
    ///
    /// # Errors
    /// When it would not.
    pub(crate) fn permit(&self, method: &Method, path: &str) -> Result<(), Fault> {
        if !self.kept || method.is_safe() {
            return Ok(());
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let path = path.split('?').next().unwrap_or_default();
        match path.split('/').find(|part| state.foreign.contains(*part)) {
            Some(id) => Err(Fault::unable(format!(
                "{method} {path} was not sent: {id} is none that this run made"
            ))),
            None => Ok(()),
        }
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
            return;
        }
        for id in data.as_array().into_iter().flatten().filter_map(|item| item["id"].as_str()) {
            if !state.mine.contains(id) {
                state.foreign.insert(id.to_owned());
            }
        }
    }

    /// Everything that was made, newest first; the ledger is empty afterwards.
    pub fn take(&self) -> Vec<Made> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = std::mem::take(&mut state.made);
        made.reverse();
        made
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
        let ledger = Ledger::new(true);
        let (one, mine) = (credential(), json!({ "data": { "id": "mine" } }));
        ledger.note(Some(&one), &Method::GET, "/x", 200, &json!({ "data": [{ "id": "theirs" }] }));
        ledger.note(Some(&one), &Method::POST, "/x", 201, &mine);
        ledger.note(Some(&one), &Method::POST, "/x/mine/fork", 201, &json!({ "id": "copy" }));
        assert!(ledger.permit(&Method::DELETE, "/x/theirs").is_err());
        assert!(ledger.permit(&Method::PATCH, "/x/theirs/y?z=1").is_err());
        assert!(ledger.permit(&Method::GET, "/x/theirs").is_ok());
        assert!(ledger.permit(&Method::DELETE, "/x/mine").is_ok());
        let paths: Vec<_> = ledger.take().into_iter().map(|made| made.path).collect();
        assert_eq!(paths, ["/x/copy", "/x/mine"]);
        assert!(ledger.take().is_empty());
    }

    #[test]
    fn a_create_is_marked_with_the_run() {
        let ledger = Ledger::new(true);
        let mut body = json!({ "metadata": { "a": 1 } });
        ledger.mark(&Method::POST, "/sandboxes", &mut body, "r1");
        assert_eq!(body, json!({ "metadata": { "a": 1, "contract_run": "r1" } }));
    }
}
