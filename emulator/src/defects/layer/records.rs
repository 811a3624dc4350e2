//! Records and lists that say something else than they should.

use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::whole::Whole;
use crate::defects::catalogue::Defect;

/// Changes records and lists.
pub(super) fn alter(defect: Defect, asked: &Asked, whole: &mut Whole) {
    if whole.status() >= 400 {
        return;
    }
    match defect {
        Defect::BareRecord if asked.is("GET /workspaces/{id}") => {
            if let Some(top) = whole.object() {
                top.remove("data");
            }
        }
        Defect::ListWithoutPage if asked.is("GET /projects") => {
            if let Some(top) = whole.object() {
                top.remove("page");
            }
        }
        Defect::TotalAsText if asked.is("GET /sandboxes") => {
            edit(whole, "page", |page| {
                page.entry("total").and_modify(|total| *total = total.to_string().into());
            });
        }
        Defect::MetaFromZero if asked.is("GET /api-keys") => {
            edit(whole, "meta", |meta| {
                let page = meta.get("page").and_then(Value::as_u64).unwrap_or(1);
                meta.insert("page".into(), page.saturating_sub(1).into());
            });
        }
        Defect::StaleTopLevel if asked.is("PATCH /workspaces/{id}") => {
            if let Some(top) = whole.object() {
                let made = top.get("created_at").cloned().unwrap_or_default();
                top.insert("updated_at".into(), made);
                top.insert("description".into(), Value::Null);
                top.insert("name".into(), "".into());
            }
        }
        Defect::SizeAsText if asked.is("GET /sandboxes/{id}/snapshots/{snapshot_id}") => {
            whole.records(|record| {
                if let Some(size) = record.get_mut("size_bytes") {
                    *size = size.to_string().into();
                }
            });
        }
        Defect::ThinList if asked.is("GET /sandboxes") => whole.records(|record| {
            record.remove("metadata");
        }),
        Defect::CamelCase if asked.is("GET /sandboxes/{id}/previews") => whole.records(|record| {
            if let Some(at) = record.remove("created_at") {
                record.insert("createdAt".into(), at);
            }
        }),
        Defect::NoProjectInAnswer if asked.is("POST /sandboxes") => whole.records(|record| {
            record.insert("project_id".into(), Value::Null);
        }),
        Defect::StateOfAnotherApi if asked.is("GET /sandboxes/{id}") => whole.records(|record| {
            if record.get("state").is_some_and(|state| state == "paused") {
                record.insert("state".into(), "suspended".into());
                record.insert("status".into(), "suspended".into());
            }
        }),
        Defect::TotalOfPage | Defect::BeyondTotalsZero | Defect::PageEchoed => {
            page(defect, whole);
        }
        Defect::BeyondIsMissing => {
            let empty = whole.object().is_some_and(|top| {
                let number = top.get("page").and_then(|page| page.get("page"));
                number.and_then(Value::as_u64).is_some_and(|number| number > 1)
                    && top.get("data").and_then(Value::as_array).is_some_and(Vec::is_empty)
            });
            if empty {
                let id = whole.header("x-request-id").unwrap_or_default().to_owned();
                let error =
                    json!({ "code": "NOT_FOUND", "message": "No such page.", "request_id": id });
                whole.replace(404, json!({ "error": error, "code": "NOT_FOUND", "message": "No such page.", "request_id": id }));
            }
        }
        _ => {}
    }
}

fn edit(whole: &mut Whole, member: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
    let member = whole.object().and_then(|top| top.get_mut(member));
    if let Some(member) = member.and_then(Value::as_object_mut) {
        edit(member);
    }
}

/// What a list says of its page, wherever it says it.
fn page(defect: Defect, whole: &mut Whole) {
    let Some(top) = whole.object() else { return };
    let Some(items) = top.get("data").and_then(Value::as_array).map(Vec::len) else { return };
    let number = top.get("page").and_then(|page| page.get("page")).and_then(Value::as_u64);
    if number.is_none() {
        return;
    }
    let total = match defect {
        Defect::TotalOfPage => Some(items),
        Defect::BeyondTotalsZero if items == 0 => Some(0),
        _ => None,
    };
    let mut write = |member: Option<&str>, name: &str, value: Value| {
        let place = match member {
            Some(member) => top.get_mut(member).and_then(Value::as_object_mut),
            None => Some(&mut *top),
        };
        if let Some(place) = place
            && place.contains_key(name)
        {
            place.insert(name.to_owned(), value);
        }
    };
    if let Some(total) = total {
        for member in [Some("page"), Some("meta"), None] {
            write(member, "total", total.into());
        }
    }
    if defect == Defect::PageEchoed {
        write(Some("page"), "page_size", 20.into());
    }
}
