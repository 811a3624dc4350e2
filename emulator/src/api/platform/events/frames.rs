//! Events as streams write them.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::http::sse;
use crate::store::outbox::Recorded;

/// What is said before what the event says itself; its own fields never replace these.
fn with_data(recorded: &Recorded, own: Value) -> Value {
    let mut fields = match own {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (name, value) in recorded.event.data.as_object().into_iter().flatten() {
        fields.entry(name.as_str()).or_insert_with(|| value.clone());
    }
    Value::Object(fields)
}

/// An event in the stream of its resource (`api-reference/events`).
pub(super) fn of_resource(recorded: &Recorded) -> Bytes {
    let event = &recorded.event;
    let data = with_data(
        recorded,
        json!({
            "type": event.kind,
            format!("{}_id", event.subject_kind): event.subject_id,
            "ts": event.at,
        }),
    );
    sse::identified(&recorded.ulid(), &event.kind, &data)
}

/// An event in the stream of its organization (`api-reference/tenant-events`). miosa-python 2.19 looks for the type in
/// the data, under a name of its own.
pub(super) fn of_tenant(recorded: &Recorded) -> Bytes {
    let event = &recorded.event;
    let id = format!("evt_{}", recorded.ulid());
    let data = with_data(
        recorded,
        json!({
            "type": event.kind,
            "id": event.subject_id,
            "tenant_id": event.org,
            "ts": event.at,
            "event_id": id,
            "resource_type": event.subject_kind,
            "workspace_id": event.workspace,
            "_event_type": event.kind,
        }),
    );
    sse::identified(&id, &event.kind, &data)
}

/// A connection out of a machine, in the stream of its egress audit: the record alone.
pub fn of_egress(recorded: &Recorded) -> Bytes {
    sse::identified(&recorded.ulid(), "egress", &connection(recorded))
}

/// A connection out of a machine as the egress audit lists it (miosa-go 2.0).
pub fn connection(recorded: &Recorded) -> Value {
    let event = &recorded.event;
    with_data(
        recorded,
        json!({
            "id": event.id,
            "type": event.kind,
            "tenant_id": event.org,
            "workspace_id": event.workspace,
            "resource_type": event.subject_kind,
            "resource_id": event.subject_id,
            "inserted_at": event.at,
            "timestamp": event.at,
        }),
    )
}

/// Said where events that the client has not seen were removed to make room. It carries no id: nothing is resumed from it.
pub(super) fn lost() -> Bytes {
    let why = "Events that came after the last one seen are no longer kept.";
    sse::event(
        "events.lost",
        &json!({ "type": "events.lost", "_event_type": "events.lost", "reason": why }),
    )
}
