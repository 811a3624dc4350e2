//! Ids and times that are written otherwise than they should be.

use chrono::{DateTime, Duration};
use serde_json::{Map, Value};

use super::asked::Asked;
use super::whole::Whole;
use crate::defects::catalogue::Defect;

/// Changes ids and times.
pub(super) fn alter(defect: Defect, asked: &Asked, whole: &mut Whole) {
    match defect {
        Defect::TimeWithoutZone => whole.records(|record| {
            for value in record.values_mut() {
                if let Some(text) = moment(value).and_then(|text| text.strip_suffix('Z')) {
                    *value = text.to_owned().into();
                }
            }
        }),
        Defect::KeyTimesAsNumbers if asked.route.starts_with("/api-keys") => {
            whole.records(|record| {
                each(record, "created_at", |at| at.timestamp().into());
            });
        }
        Defect::LocalTime if asked.route.starts_with("/workspaces") => whole.records(|record| {
            each(record, "created_at", |at| text(at + Duration::hours(2)));
        }),
        Defect::UpdatedBeforeCreated if asked.is("POST /sandboxes/{id}/snapshots") => {
            whole.records(|record| {
                each(record, "updated_at", |at| text(at - Duration::seconds(90)));
            });
        }
        Defect::IdWithoutDashes if asked.is("GET /projects") => whole.records(|record| {
            if let Some(Value::String(id)) = record.get_mut("id") {
                *id = id.replace('-', "");
            }
        }),
        Defect::FailureIsError
            if whole.status() == 200 && asked.is("POST /sandboxes/{id}/exec") =>
        {
            let failed = |top: &mut Map<String, Value>| {
                top.get("exit_code").and_then(Value::as_i64).is_some_and(|code| code > 0)
            };
            if whole.object().is_some_and(failed) {
                whole.set_status(422);
            }
        }
        _ => {}
    }
}

/// The text, when it is a moment.
fn moment(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| text.len() >= 20 && DateTime::parse_from_rfc3339(text).is_ok())
}

type Moment = DateTime<chrono::FixedOffset>;

fn each(record: &mut Map<String, Value>, name: &str, other: impl FnOnce(Moment) -> Value) {
    let Some(value) = record.get_mut(name) else { return };
    if let Some(at) = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok()) {
        *value = other(at);
    }
}

fn text(at: Moment) -> Value {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into()
}
