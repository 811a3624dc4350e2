//! Events, written in the transaction that makes them true.

use rusqlite::params;
use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, Tx, View};
use crate::clock::Timestamp;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the order of all events; 0 before it is written.
    pub seq: i64,
    /// Its own id.
    pub id: Uuid,
    /// The organization it happened in.
    pub org: Uuid,
    /// The workspace it happened in.
    pub workspace: Option<Uuid>,
    /// `sandbox.created` and the like (`api-reference/tenant-events`).
    pub kind: String,
    /// `sandbox`, `snapshot`, …
    pub subject_kind: String,
    /// Which one.
    pub subject_id: Uuid,
    /// When, in policy time.
    pub at: Timestamp,
    /// What the event says besides.
    pub data: Value,
}

impl Tx<'_> {
    /// Adds an event; answers its place in the order.
    pub fn emit(&self, event: &Event) -> Result<i64, StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO events (id, org, workspace, type, subject_kind, subject_id, at, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                event.id.to_string(),
                event.org.to_string(),
                event.workspace.map(|id| id.to_string()),
                event.kind,
                event.subject_kind,
                event.subject_id.to_string(),
                event.at.0,
                serde_json::to_string(&event.data)?,
            ])?;
        Ok(self.conn.last_insert_rowid())
    }
}

impl View<'_> {
    /// The organization's events after `seq`, oldest first.
    pub fn events_after(&self, org: Uuid, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT seq, id, workspace, type, subject_kind, subject_id, at, data FROM events WHERE org = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = statement.query(params![org.to_string(), seq, limit])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let uuid = |text: String| Uuid::parse_str(&text).unwrap_or_default();
            events.push(Event {
                seq: row.get(0)?,
                id: uuid(row.get(1)?),
                org,
                workspace: row.get::<_, Option<String>>(2)?.map(uuid),
                kind: row.get(3)?,
                subject_kind: row.get(4)?,
                subject_id: uuid(row.get(5)?),
                at: Timestamp(row.get(6)?),
                data: serde_json::from_str(&row.get::<_, String>(7)?)?,
            });
        }
        Ok(events)
    }
}
