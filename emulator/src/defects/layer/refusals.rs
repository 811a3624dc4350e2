//! Refusals with another status, code or shape than they should have.

use http::header::ALLOW;
use serde_json::{Value, json};

use super::asked::Asked;
use super::whole::Whole;
use crate::defects::catalogue::Defect;

/// Changes refusals.
pub(super) fn alter(defect: Defect, asked: &Asked, whole: &mut Whole) {
    let status = whole.status();
    if status < 400 {
        return;
    }
    let code = whole.json().and_then(|body| body.get("error")?.get("code")?.as_str());
    let code = code.unwrap_or_default().to_owned();
    match defect {
        Defect::ErrorWithoutRequestId => {
            if let Some(top) = whole.object() {
                top.remove("request_id");
                if let Some(Value::Object(error)) = top.get_mut("error") {
                    error.remove("request_id");
                }
            }
        }
        Defect::ErrorOfAFramework if status == 422 && asked.is("POST /sandboxes/{id}/previews") => {
            whole.replace(
                422,
                json!({ "detail": [{ "loc": ["body"], "msg": "invalid", "type": "value_error" }] }),
            );
        }
        Defect::ErrorOtherId if status == 404 => {
            let other = format!("req_{}", uuid::Uuid::new_v4().simple());
            set(whole, "request_id", &other.into());
        }
        Defect::UnknownPathInPlainText if code == "ROUTE_NOT_FOUND" => {
            whole.replace_text("text/plain", "404 page not found\n".to_owned());
        }
        Defect::BrokenJsonCrashes if asked.method == "PATCH" && code == "INVALID_JSON" => {
            recode(whole, 500, "INTERNAL");
        }
        Defect::CodesAsNumbers if status == 409 => set(whole, "code", &"409".into()),
        Defect::ErrorShowsSql if status == 404 && asked.route == "/projects/{id}" => {
            let text = "SELECT body FROM documents WHERE kind = 'project' AND id = $1: no rows in result set";
            set(whole, "message", &text.into());
        }
        Defect::RetryAfterDisagrees if status == 429 => {
            let seconds = whole.object().and_then(|top| top.get("retry_after")?.as_u64());
            set(whole, "retry_after", &(seconds.unwrap_or(1) * 1000).into());
        }
        Defect::MissingByAnothersName if code == "snapshot_not_found" => {
            set(whole, "code", &"sandbox_not_found".into());
        }
        Defect::DeletesTwice if status == 404 && asked.is("DELETE /api-keys/{id}") => {
            whole.replace_text("application/json", String::new());
            whole.headers().remove(http::header::CONTENT_TYPE);
            whole.headers().remove(http::header::CONTENT_LENGTH);
            whole.set_status(204);
        }
        Defect::BadParameterIsMeaning if code == "INVALID_PARAMETER" => {
            recode(whole, 422, "VALIDATION_FAILED");
        }
        Defect::TooLargeIsBad if status == 413 => recode(whole, 400, "BAD_REQUEST"),
        Defect::NotBuiltSaysYes if status == 501 => {
            whole.headers().remove(ALLOW);
            whole.replace(200, json!({ "data": {} }));
        }
        Defect::ConflictIsBad if status == 409 && asked.route.starts_with("/sandboxes/{id}/") => {
            recode(whole, 400, "BAD_REQUEST");
        }
        Defect::LimitedIsUnavailable if status == 429 => recode(whole, 503, "UNAVAILABLE"),
        Defect::ExecOnGoneBroken if status == 404 && asked.is("POST /sandboxes/{id}/exec") => {
            recode(whole, 502, "AGENT_UNAVAILABLE");
        }
        Defect::MissingIsEmpty
            if status == 404 && reads_a_file(asked) && code == "file_not_found" =>
        {
            let content = json!({ "path": "", "content": "", "size_bytes": 0 });
            whole.replace(
                200,
                json!({ "data": content, "path": "", "content": "", "size_bytes": 0 }),
            );
        }
        _ => {}
    }
}

fn reads_a_file(asked: &Asked) -> bool {
    asked.is("GET /sandboxes/{id}/fs/read") || asked.is("GET /sandboxes/{id}/files/read")
}

/// Writes a member of the error, also where it stands beside it.
fn set(whole: &mut Whole, name: &str, value: &Value) {
    let Some(top) = whole.object() else { return };
    if top.contains_key(name) {
        top.insert(name.to_owned(), value.clone());
    }
    if let Some(Value::Object(error)) = top.get_mut("error") {
        error.insert(name.to_owned(), value.clone());
    }
}

fn recode(whole: &mut Whole, status: u16, code: &str) {
    whole.set_status(status);
    set(whole, "code", &code.into());
}
