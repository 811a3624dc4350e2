//! Events as streams and lists read them: after a place in their order, oldest first.

use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension as _, Row, params, params_from_iter};
use ulid::Ulid;
use uuid::Uuid;

use super::outbox::{Class, Event, Recorded};
use super::{StoreError, View};
use crate::clock::Timestamp;
use crate::defects::defect;

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    /// Of this organization.
    pub org: Uuid,
    /// In this workspace.
    pub workspace: Option<Uuid>,
    /// Of this resource, passing ones included; without one only lasting events are read.
    pub subject: Option<Uuid>,
    /// Whose subject is of this kind.
    pub subject_kind: Option<String>,
    /// Whose data has these texts at these JSON paths (`$.host`).
    pub fields: Vec<(&'static str, String)>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Whose type is one of these, `*` standing for anything; empty means any.
    pub types: Vec<String>,
    /// Of one class only.
    pub class: Option<Class>,
}

/// A part of a feed.
#[derive(Debug, Clone)]
pub struct Part {
    /// The events, oldest first.
    pub events: Vec<Recorded>,
    /// Where the next part begins: everything up to here was looked at.
    pub end: i64,
    /// Whether events between the place asked for and the first one here may have been removed to make room.
    pub torn: bool,
}

/// How many events there are, and the place and time of the first and the last.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// How many.
    pub count: u64,
    /// The oldest.
    pub oldest: Option<(i64, Timestamp)>,
    /// The newest.
    pub newest: Option<(i64, Timestamp)>,
}

impl View<'_> {
    /// The organization's lasting events after `seq`, oldest first.
    pub fn events_after(&self, org: Uuid, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let feed = Feed { org, ..Feed::default() };
        let part = self.feed(&feed, seq, limit)?;
        Ok(part.events.into_iter().map(|recorded| recorded.event).collect())
    }

    /// The feed's events after `seq`.
    pub fn feed(&self, feed: &Feed, seq: i64, limit: u32) -> Result<Part, StoreError> {
        let (clause, mut values) = feed.clause();
        values.extend([Sql::Integer(seq), Sql::Integer(i64::from(limit))]);
        let sql =
            format!("SELECT {COLUMNS} FROM events WHERE {clause} AND seq > ? ORDER BY seq LIMIT ?");
        let events = self.recorded(&sql, values)?;
        let end = match events.last() {
            Some(last) if events.len() >= limit as usize => last.event.seq,
            _ => self.last_event()?.max(seq),
        };
        Ok(Part { events, end, torn: self.torn_since(feed, seq)? })
    }

    /// The feed's newest events, oldest of them first; `before` ends them.
    pub fn feed_tail(
        &self,
        feed: &Feed,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (clause, mut values) = feed.clause();
        values.extend([Sql::Integer(before.unwrap_or(i64::MAX)), Sql::Integer(i64::from(limit))]);
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE {clause} AND seq < ? ORDER BY seq DESC LIMIT ?"
        );
        let mut events = self.recorded(&sql, values)?;
        events.reverse();
        Ok(events)
    }

    /// How many events the feed has.
    pub fn feed_count(&self, feed: &Feed) -> Result<u64, StoreError> {
        let (clause, values) = feed.clause();
        let sql = format!("SELECT count(*) FROM events WHERE {clause}");
        let count: i64 = self
            .conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The place after which the newest `backlog` events of the feed stand.
    pub fn feed_start(&self, feed: &Feed, backlog: u32) -> Result<i64, StoreError> {
        if backlog == 0 {
            return self.last_event();
        }
        let (clause, mut values) = feed.clause();
        values.push(Sql::Integer(i64::from(backlog)));
        let sql =
            format!("SELECT seq FROM events WHERE {clause} ORDER BY seq DESC LIMIT 1 OFFSET ?");
        let first: Option<i64> = self
            .conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(values), |row| row.get(0))
            .optional()?;
        Ok(first.unwrap_or(0))
    }

    /// The place of the id that a client saw last. It need not be there any more, nor be of this database: what counts
    /// is what came after it.
    pub fn feed_place(&self, org: Uuid, seen: Ulid) -> Result<i64, StoreError> {
        let tick = i64::try_from(seen.timestamp_ms()).unwrap_or(i64::MAX);
        let seq = i64::try_from(seen.random()).unwrap_or(i64::MAX);
        let place: Option<i64> = self
            .conn
            .prepare_cached(
                "SELECT max(seq) FROM events WHERE org = ?1 AND (tick < ?2 OR (tick = ?2 AND seq <= ?3))",
            )?
            .query_row(params![org.to_string(), tick, seq], |row| row.get(0))?;
        let place = place.unwrap_or(0);
        let next: Option<i64> = self
            .conn
            .prepare_cached("SELECT min(seq) FROM events WHERE org = ?1 AND seq > ?2")?
            .query_row(params![org.to_string(), place], |row| row.get(0))?;
        // The event itself may be gone; what was removed after it is missed, what was removed before it is not.
        let room = next.map_or_else(|| self.last_event(), |next| Ok(next - 1))?;
        Ok(place.max(seq.min(room)))
    }

    /// One event, by its id.
    pub fn event(&self, org: Uuid, id: Uuid, class: Class) -> Result<Option<Recorded>, StoreError> {
        let class = class as i64;
        let sql =
            format!("SELECT {COLUMNS} FROM events WHERE org = ? AND class = {class} AND id = ?");
        let values = vec![Sql::Text(org.to_string()), Sql::Text(id.to_string())];
        Ok(self.recorded(&sql, values)?.pop())
    }

    /// What an organization's lasting events span.
    pub fn lasting_events(&self, org: Uuid) -> Result<Span, StoreError> {
        let org = org.to_string();
        let count = self
            .conn
            .prepare_cached("SELECT count(*) FROM events WHERE org = ?1 AND class = 0")?
            .query_row([&org], |row| row.get::<_, i64>(0))?;
        let end = |order: &str| {
            let sql = format!(
                "SELECT seq, at FROM events WHERE org = ?1 AND class = 0 ORDER BY seq {order} LIMIT 1"
            );
            self.conn
                .prepare_cached(&sql)?
                .query_row([&org], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))
                .optional()
        };
        Ok(Span {
            count: u64::try_from(count).unwrap_or(0),
            oldest: end("ASC")?,
            newest: end("DESC")?,
        })
    }

    /// The place of the last event of all.
    pub fn last_event(&self) -> Result<i64, StoreError> {
        let last: Option<i64> = self
            .conn
            .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(last.unwrap_or(0))
    }

    fn torn_since(&self, feed: &Feed, seq: i64) -> Result<bool, StoreError> {
        let org = feed.org.to_string();
        let subject = feed.subject.map_or_else(|| org.clone(), |id| id.to_string());
        Ok(self
            .conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM event_gaps WHERE scope IN (?1, ?2) AND org = ?1 AND seq > ?3)",
            )?
            .query_row(params![org, subject, seq], |row| row.get(0))?)
    }

    fn recorded(&self, sql: &str, values: Vec<Sql>) -> Result<Vec<Recorded>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push(read(row)?);
        }
        Ok(events)
    }
}

const COLUMNS: &str =
    "seq, id, org, workspace, type, subject_kind, subject_id, at, data, class, tick";

fn read(row: &Row<'_>) -> Result<Recorded, StoreError> {
    let uuid = |text: String| Uuid::parse_str(&text).unwrap_or_default();
    let event = Event {
        seq: row.get(0)?,
        id: uuid(row.get(1)?),
        org: uuid(row.get(2)?),
        workspace: row.get::<_, Option<String>>(3)?.map(uuid),
        kind: row.get(4)?,
        subject_kind: row.get(5)?,
        subject_id: uuid(row.get(6)?),
        at: Timestamp(row.get(7)?),
        data: serde_json::from_str(&row.get::<_, String>(8)?)?,
    };
    Ok(Recorded { event, class: Class::of(row.get(9)?), tick: row.get(10)? })
}

impl Feed {
    fn clause(&self) -> (String, Vec<Sql>) {
        let mut clause = String::from(defect!(EventsOfAll, "(org = ? OR true)", "org = ?"));
        let mut values = vec![Sql::Text(self.org.to_string())];
        let mut and = |part: &str, value: Option<Sql>| {
            clause.push_str(" AND ");
            clause.push_str(part);
            values.extend(value);
        };
        match (self.class, self.subject) {
            // Literals, so that the partial indexes serve.
            (Some(class), _) => and(&format!("class = {}", class as i64), None),
            (None, None) => and("class = 0", None),
            (None, Some(_)) => {}
        }
        if let Some(subject) = self.subject {
            and("subject_id = ?", Some(Sql::Text(subject.to_string())));
        }
        if let Some(workspace) = self.workspace {
            and("workspace = ?", Some(Sql::Text(workspace.to_string())));
        }
        if let Some(kind) = &self.subject_kind {
            and("subject_kind = ?", Some(Sql::Text(kind.clone())));
        }
        if let Some(since) = self.since {
            and("at >= ?", Some(Sql::Integer(since.0)));
        }
        if let Some(until) = self.until {
            and("at < ?", Some(Sql::Integer(until.0)));
        }
        for (path, text) in &self.fields {
            // The path is the program's own word.
            and(&format!("json_extract(data, '{path}') = ?"), Some(Sql::Text(text.clone())));
        }
        if !self.types.is_empty() {
            let any = vec!["type GLOB ?"; self.types.len()].join(" OR ");
            clause.push_str(" AND (");
            clause.push_str(&any);
            clause.push(')');
            values.extend(self.types.iter().map(|pattern| Sql::Text(pattern.clone())));
        }
        (clause, values)
    }
}
