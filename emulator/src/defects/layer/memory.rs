//! Answers that are remembered longer than they should be.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::Value;

use super::asked::Asked;
use super::whole::Whole;
use crate::defects::catalogue::Defect;

type Kept = HashMap<String, (u16, Value)>;

static MEMORY: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

fn memory<T>(with: impl FnOnce(&mut Kept) -> T) -> T {
    with(&mut MEMORY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The remembered answer to a request that should be answered anew.
pub(super) fn answer(defect: Defect, asked: &Asked) -> Option<Response> {
    let key = match (defect, &asked.key) {
        (Defect::RefusalsKept, Some(key)) if asked.mutates() => format!("{} {key}", asked.place()),
        (Defect::ReadsKept, Some(key)) if asked.method == "GET" => {
            format!("{}?{} {key}", asked.place(), asked.query)
        }
        _ => return None,
    };
    let (status, body) = memory(|kept| kept.get(&key).cloned())?;
    let id = format!("req_{}", uuid::Uuid::new_v4().simple());
    let status = StatusCode::from_u16(status).unwrap_or_default();
    Some((status, [("x-request-id", id)], axum::Json(body)).into_response())
}

/// Remembers, and answers from what is remembered.
pub(super) fn alter(defect: Defect, asked: &Asked, whole: &mut Whole) {
    match defect {
        Defect::RefusalsKept if matches!(whole.status(), 401 | 403 | 429) && asked.mutates() => {
            if let (Some(key), Some(body)) = (&asked.key, whole.json()) {
                let (place, kept) =
                    (format!("{} {key}", asked.place()), (whole.status(), body.clone()));
                memory(|memory| memory.insert(place, kept));
            }
        }
        Defect::ReadsKept if whole.status() == 200 && asked.method == "GET" => {
            if let (Some(key), Some(body)) = (&asked.key, whole.json()) {
                let place = format!("{}?{} {key}", asked.place(), asked.query);
                let kept = (200, body.clone());
                memory(|memory| {
                    memory.entry(place).or_insert(kept);
                });
            }
        }
        Defect::DeletedReadable if asked.route == "/projects/{id}" => after_deletion(asked, whole),
        Defect::DeletedListed => still_listed("/projects", asked, whole),
        Defect::AccountComesBack => still_listed("/service-accounts", asked, whole),
        Defect::SecretShownAgain => secret(asked, whole),
        _ => {}
    }
}

/// What was read once is read again after it is gone.
fn after_deletion(asked: &Asked, whole: &mut Whole) {
    let place = asked.place();
    if asked.method == "GET" && whole.status() == 200 {
        let kept = whole.json().cloned().unwrap_or_default();
        memory(|memory| memory.insert(place, (200, kept)));
    } else if asked.method == "GET"
        && whole.status() == 404
        && let Some((status, body)) = memory(|memory| memory.get(&place).cloned())
    {
        whole.replace(status, body);
    }
}

/// What was made and then deleted goes on standing in the list.
fn still_listed(list: &str, asked: &Asked, whole: &mut Whole) {
    let status = whole.status();
    let credential = &asked.credential;
    let of_one = asked.route.strip_prefix(list).is_some_and(|rest| rest.starts_with("/{"));
    if asked.route == list && asked.method == "POST" && status == 201 {
        let data = whole.json().and_then(|body| body.get("data")).cloned().unwrap_or_default();
        let id = data.get("id").and_then(Value::as_str).unwrap_or_default();
        memory(|memory| memory.insert(format!("made {credential} {id}"), (0, data.clone())));
    } else if of_one && asked.method == "DELETE" && status < 300 {
        let id = asked.path.rsplit('/').next().unwrap_or_default();
        memory(|memory| {
            if let Some(made) = memory.remove(&format!("made {credential} {id}")) {
                memory.insert(format!("gone {credential} {id}"), made);
            }
        });
    } else if asked.route == list && asked.method == "GET" && status == 200 {
        let prefix = format!("gone {credential} ");
        let gone: Vec<Value> = memory(|memory| {
            let of_caller = memory.iter().filter(|(place, _)| place.starts_with(&prefix));
            of_caller.map(|(_, (_, record))| record.clone()).collect()
        });
        let Some(top) = whole.object() else { return };
        let first = top.get("page").and_then(|page| page.get("page")).and_then(Value::as_u64);
        if first == Some(1) {
            for items in top.values_mut().filter_map(Value::as_array_mut) {
                items.extend(gone.iter().cloned());
            }
        }
    }
}

/// The secret that a create told stands in every later answer.
fn secret(asked: &Asked, whole: &mut Whole) {
    let id = |top: &Value| top.get("id").and_then(Value::as_str).map(|id| format!("secret {id}"));
    let Some(place) = whole.json().and_then(id) else { return };
    if asked.is("POST /api-keys") && whole.status() == 201 {
        let told = whole.json().and_then(|top| top.get("key")).cloned().unwrap_or_default();
        memory(|memory| memory.insert(place, (0, told)));
    } else if asked.is("GET /api-keys/{id}")
        && let Some((_, told)) = memory(|memory| memory.get(&place).cloned())
    {
        whole.records(|record| drop(record.insert("key".into(), told.clone())));
    }
}
