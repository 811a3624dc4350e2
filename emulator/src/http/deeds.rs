//! What was done, by whom, from where and with which outcome: for the audit log, of every mutation.
//!
//! A mutation that commits its answer commits its deed with it (`Exchange::commit`). Everything else (what was refused, a
//! command, a file) is recorded by the outermost layer when it is answered. So no family records anything, and none can
//! forget to. Never recorded: bodies, headers, queries, and who could not be identified.

use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::answer::{Answer, Committed, Refused};
use super::auth;
use super::exchange::Exchange;
use crate::app::App;
use crate::store::audit::{Deed, Facts};

/// Parts of a path that hold one thing each although they end like a collection.
const NOT_MANY: &[&str] =
    &["status", "access", "process", "dns", "sms", "address", "express", "egress"];

impl Exchange {
    /// The deed that this exchange is, once it is known what it is answered with.
    fn deed(&self, status: u16, code: Option<&str>, made: Option<&Value>) -> Option<Deed> {
        if matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        let (caller, route) = (self.caller.get()?, self.route.get()?);
        if !route.built || route.family == "control" {
            return None;
        }
        let text = |name: &str| made?.get(name)?.as_str();
        let subject = self.subject.get();
        let resource_type =
            subject.map_or_else(|| resource(route.path), |subject| subject.kind.to_owned());
        let resource_id =
            subject.map(|subject| subject.id.to_string()).or_else(|| text("id").map(str::to_owned));
        let uuid = |text: &str| Uuid::parse_str(text).ok();
        // What is done to a workspace happens in it.
        let workspace = match resource_type.as_str() {
            "workspace" => resource_id.as_deref().and_then(uuid),
            _ => match subject {
                Some(subject) => subject.workspace,
                None => text("workspace_id").and_then(uuid),
            },
        };
        let actor_type = match caller.method {
            auth::Method::Scoped => "scoped_token",
            auth::Method::OpenKey | auth::Method::ApiKey => "api_key",
        };
        Some(Deed {
            seq: 0,
            id: self.id(),
            org: caller.org,
            workspace: workspace.or(Some(caller.workspace)),
            at: *self.at.get()?,
            action: action(&self.method, route.path),
            actor: caller.key_id.unwrap_or(caller.user_id),
            resource_type,
            resource_id,
            facts: Facts {
                actor_type: actor_type.to_owned(),
                user_id: caller.user_id,
                external_user_id: caller.external_user_id.clone(),
                address: self.address.get().map(ToString::to_string),
                status,
                code: code.map(str::to_owned),
                request_id: self.request_id.clone(),
                method: self.method.to_string(),
                route: route.path.to_owned(),
            },
        })
    }

    /// The id within the request id.
    fn id(&self) -> Uuid {
        let id = self.request_id.trim_start_matches("req_");
        Uuid::parse_str(id).unwrap_or_else(|_| Uuid::new_v4())
    }

    /// The deed of a mutation whose answer is being committed.
    pub(super) fn committed_deed(&self, status: u16, answer: &Answer) -> Option<Deed> {
        let made = match answer {
            Answer::One { value, .. } | Answer::Bare { value, .. } => Some(value),
            Answer::List { .. } | Answer::Empty => None,
        };
        self.deed(status, None, made)
    }
}

/// Records what was answered and did not record itself. A replay is not done again; 401 names nobody, 429 and 501 did
/// nothing and could be sent without end.
pub(super) fn record(app: &App, exchange: &Exchange, response: &Response) {
    let status = response.status();
    let nothing =
        [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS, StatusCode::NOT_IMPLEMENTED];
    let replayed = response.headers().contains_key(super::idempotency::REPLAYED);
    if response.extensions().get::<Committed>().is_some() || nothing.contains(&status) || replayed {
        return;
    }
    let code = response.extensions().get::<Refused>().map(|refused| refused.code.name);
    if let Some(deed) = exchange.deed(status.as_u16(), code, None) {
        app.store.submit(move |tx| tx.record_deed(&deed));
    }
}

/// What a resource of a path is called: `/sandboxes/{id}/previews` is about a sandbox.
fn resource(path: &str) -> String {
    singular(path.split('/').find(|part| !part.is_empty()).unwrap_or_default())
}

/// What is done: `sandbox.create`, `sandbox.pause`, `sandbox.preview.delete`.
fn action(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let names: Vec<&str> = parts.iter().copied().filter(|part| !part.starts_with('{')).collect();
    let on_one = parts.last().is_some_and(|last| last.starts_with('{'));
    let collection = names.last().is_some_and(|last| is_collection(last));
    let verb = match *method {
        Method::POST if !collection => None,
        Method::POST => Some("create"),
        Method::PUT if on_one || !collection => Some("update"),
        Method::PUT => Some("replace"),
        Method::PATCH => Some("update"),
        _ => Some("delete"),
    };
    let words = names.iter().map(|name| singular(name)).chain(verb.map(str::to_owned));
    words.collect::<Vec<_>>().join(".")
}

fn is_collection(name: &str) -> bool {
    name.ends_with('s') && !NOT_MANY.contains(&name) && name != "fs"
}

fn singular(name: &str) -> String {
    let name = name.replace('-', "_");
    if !is_collection(&name) {
        return name;
    }
    for (plural, singular) in
        [("boxes", "box"), ("ches", "ch"), ("sses", "ss"), ("ies", "y"), ("s", "")]
    {
        if let Some(stem) = name.strip_suffix(plural) {
            return format!("{stem}{singular}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_named_after_its_route() {
        for (method, path, expected) in [
            (Method::POST, "/sandboxes", "sandbox.create"),
            (Method::PATCH, "/sandboxes/{id}", "sandbox.update"),
            (Method::DELETE, "/sandboxes/{id}", "sandbox.delete"),
            (Method::POST, "/sandboxes/{id}/pause", "sandbox.pause"),
            (Method::POST, "/sandboxes/{id}/exec/stream", "sandbox.exec.stream"),
            (Method::POST, "/sandboxes/{id}/previews", "sandbox.preview.create"),
            (
                Method::DELETE,
                "/sandboxes/{id}/previews/{preview_id}/share",
                "sandbox.preview.share.delete",
            ),
            (Method::POST, "/sandboxes/{id}/fs/write", "sandbox.fs.write"),
            (Method::PUT, "/sandboxes/{id}/env", "sandbox.env.update"),
            (Method::POST, "/sandboxes/batch", "sandbox.batch"),
            (Method::POST, "/api-keys/{id}/rotate", "api_key.rotate"),
            (Method::POST, "/egress/policies", "egress.policy.create"),
            (Method::POST, "/sandboxes/{id}/processes", "sandbox.process.create"),
        ] {
            assert_eq!(action(&method, path), expected, "{method} {path}");
        }
        assert_eq!(resource("/api-keys/{id}"), "api_key");
    }
}
