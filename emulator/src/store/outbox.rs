//! Events, written in the transaction that makes them true.
//!
//! Their order is that of `seq`. Beside it stands a `tick`: the event's time, but never before that of an earlier event of its
//! organization. Both together are the ULID that clients resume from, the same for ever, and in the order of the events.

use rusqlite::{OptionalExtension as _, params};
use serde_json::Value;
use ulid::Ulid;
use uuid::Uuid;

use super::{StoreError, Tx};
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

/// How long an event is kept, and who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A fact about a resource: in every stream, and the longest kept.
    Lasting = 0,
    /// What a command said: in its resource's stream and log.
    Output = 1,
    /// A connection out of a machine: in its resource's stream and in the egress audit.
    Egress = 2,
}

/// How many lasting events an organization keeps.
pub const LASTING: u32 = 10_000;
/// How many events of each other class a resource keeps.
pub const PASSING: u32 = 2_000;
/// How many events of each other class an organization keeps.
pub const PASSING_IN_ALL: u32 = 50_000;
/// After how many new events the caps are held to again.
const EVERY: i64 = 64;

/// An event that was written, with its place in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The event.
    pub event: Event,
    /// Its class.
    pub class: Class,
    /// Milliseconds, never before an earlier event's.
    pub tick: i64,
}

impl Recorded {
    /// The id that a stream resumes from.
    pub fn ulid(&self) -> Ulid {
        let part = |n: i64| u64::try_from(n).unwrap_or(0);
        Ulid::from_parts(part(self.tick), u128::from(part(self.event.seq)))
    }
}

impl Class {
    pub(super) fn of(number: i64) -> Self {
        match number {
            1 => Self::Output,
            2 => Self::Egress,
            _ => Self::Lasting,
        }
    }
}

impl Tx<'_> {
    /// Adds a lasting event; answers its place in the order. Streams hear of it when the transaction has committed.
    pub fn emit(&self, event: &Event) -> Result<i64, StoreError> {
        self.emit_as(event, Class::Lasting)
    }

    /// The same for an event of any class.
    pub fn emit_as(&self, event: &Event, class: Class) -> Result<i64, StoreError> {
        let org = event.org.to_string();
        let before: Option<i64> = self
            .conn
            .prepare_cached("SELECT tick FROM events WHERE org = ?1 ORDER BY seq DESC LIMIT 1")?
            .query_row([&org], |row| row.get(0))
            .optional()?;
        let tick = before.unwrap_or(0).max(event.at.0);
        self.conn
            .prepare_cached(
                "INSERT INTO events (id, org, workspace, type, subject_kind, subject_id, at, data, class, tick) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                event.id.to_string(),
                org,
                event.workspace.map(|id| id.to_string()),
                event.kind,
                event.subject_kind,
                event.subject_id.to_string(),
                event.at.0,
                serde_json::to_string(&event.data)?,
                class as i64,
                tick,
            ])?;
        self.emitted.set(true);
        let seq = self.conn.last_insert_rowid();
        if class == Class::Lasting && seq % EVERY == 0 {
            self.cap_events(event.org, None, class, LASTING)?;
        }
        Ok(seq)
    }

    /// Keeps the newest `most` events of a class, of a resource or of the whole organization, and remembers that older
    /// ones are gone.
    pub fn cap_events(
        &self,
        org: Uuid,
        subject: Option<Uuid>,
        class: Class,
        most: u32,
    ) -> Result<usize, StoreError> {
        let of = if subject.is_some() { "subject_id = ?2" } else { "?2 IS NULL" };
        let class = class as i64;
        let which = format!("org = ?1 AND {of} AND class = {class}");
        let subject_id = subject.map(|id| id.to_string());
        let last: Option<i64> = self
            .conn
            .prepare_cached(&format!(
                "SELECT seq FROM events WHERE {which} ORDER BY seq DESC LIMIT 1 OFFSET ?3"
            ))?
            .query_row(params![org.to_string(), subject_id, most], |row| row.get(0))
            .optional()?;
        let Some(last) = last else { return Ok(0) };
        let removed = self
            .conn
            .prepare_cached(&format!("DELETE FROM events WHERE {which} AND seq <= ?3"))?
            .execute(params![org.to_string(), subject_id, last])?;
        self.note_gap(org, subject, last)?;
        Ok(removed)
    }

    /// Removes the organization's events from before a moment.
    pub fn expire_events(&self, org: Uuid, before: Timestamp) -> Result<usize, StoreError> {
        let last: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(seq) FROM events WHERE org = ?1 AND tick < ?2")?
            .query_row(params![org.to_string(), before.0], |row| row.get(0))?;
        let Some(last) = last else { return Ok(0) };
        let removed = self
            .conn
            .prepare_cached("DELETE FROM events WHERE org = ?1 AND seq <= ?2")?
            .execute(params![org.to_string(), last])?;
        self.note_gap(org, None, last)?;
        Ok(removed)
    }

    fn note_gap(&self, org: Uuid, subject: Option<Uuid>, seq: i64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO event_gaps (scope, org, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
            )?
            .execute(params![subject.unwrap_or(org).to_string(), org.to_string(), seq])?;
        Ok(())
    }

    /// The organizations of which anything is recorded: events, or what was done.
    pub fn event_orgs(&self) -> Result<Vec<Uuid>, StoreError> {
        let mut statement =
            self.conn.prepare_cached("SELECT org FROM events UNION SELECT org FROM audit")?;
        let orgs = statement.query_map([], |row| row.get::<_, String>(0))?;
        orgs.map(|org| Ok(Uuid::parse_str(&org?).unwrap_or_default())).collect()
    }
}
