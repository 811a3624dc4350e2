//! What was done, by whom, and with which outcome.

use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension as _, params, params_from_iter};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Paging, StoreError, Tx, View};
use crate::clock::Timestamp;

/// How many deeds an organization keeps.
pub const KEPT: u32 = 10_000;
/// After how many new ones the cap is held to again.
const EVERY: i64 = 64;

/// Something that was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Its place; 0 before it is written.
    pub seq: i64,
    /// Its id: that of its request.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace of what it was done to.
    pub workspace: Option<Uuid>,
    /// When, in policy time.
    pub at: Timestamp,
    /// `sandbox.create`, `sandbox.pause`, …
    pub action: String,
    /// Whose credential: the key's id, or the user's where there is no record of the key.
    pub actor: Uuid,
    /// `sandbox`, `workspace`, …
    pub resource_type: String,
    /// Which one.
    pub resource_id: Option<String>,
    /// The rest.
    pub facts: Facts,
}

/// What is known of a deed besides. Never a body, a header or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `api_key`, `user` or `scoped_token`.
    pub actor_type: String,
    /// The user that the credential acts for.
    pub user_id: Uuid,
    /// The end user that a scoped token was made for.
    pub external_user_id: Option<String>,
    /// Where the request came from.
    pub address: Option<String>,
    /// The status that it was answered with.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
    /// `X-Request-ID`.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The route, its parameters by name.
    pub route: String,
}

/// Which deeds.
#[derive(Debug, Clone, Default)]
pub struct Deeds {
    /// Of this organization.
    pub org: Uuid,
    /// In this workspace.
    pub workspace: Option<Uuid>,
    /// Of one of these kinds, `*` standing for anything; empty means any.
    pub actions: Vec<String>,
    /// By this actor: a key or a user.
    pub actor: Option<String>,
    /// To a resource of this type.
    pub resource_type: Option<String>,
    /// To this one.
    pub resource_id: Option<String>,
    /// Done with this key, or to it.
    pub key: Option<Uuid>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Only what was done, not what was refused.
    pub done: bool,
}

impl Tx<'_> {
    /// Records a deed.
    pub fn record_deed(&self, deed: &Deed) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO audit (id, org, workspace, at, action, actor, resource_type, resource_id, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                deed.id.to_string(),
                deed.org.to_string(),
                deed.workspace.map(|id| id.to_string()),
                deed.at.0,
                deed.action,
                deed.actor.to_string(),
                deed.resource_type,
                deed.resource_id,
                serde_json::to_string(&deed.facts)?,
            ])?;
        if self.conn.last_insert_rowid() % EVERY == 0 {
            self.cap_deeds(deed.org, KEPT)?;
        }
        Ok(())
    }

    /// Keeps the organization's newest `most` deeds.
    pub fn cap_deeds(&self, org: Uuid, most: u32) -> Result<(), StoreError> {
        let org = org.to_string();
        let last: Option<i64> = self
            .conn
            .prepare_cached(
                "SELECT seq FROM audit WHERE org = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2",
            )?
            .query_row(params![org, most], |row| row.get(0))
            .optional()?;
        if let Some(last) = last {
            self.conn
                .prepare_cached("DELETE FROM audit WHERE org = ?1 AND seq <= ?2")?
                .execute(params![org, last])?;
        }
        Ok(())
    }

    /// Removes the organization's deeds from before a moment.
    pub fn expire_deeds(&self, org: Uuid, before: Timestamp) -> Result<usize, StoreError> {
        Ok(self
            .conn
            .prepare_cached("DELETE FROM audit WHERE org = ?1 AND at < ?2")?
            .execute(params![org.to_string(), before.0])?)
    }
}

/// A part of the deeds.
#[derive(Debug)]
pub struct DeedsPart {
    /// The deeds, newest first.
    pub deeds: Vec<Deed>,
    /// How many there are in all.
    pub total: u64,
    /// Whether there are older ones than these.
    pub more: bool,
}

impl View<'_> {
    /// A part of the deeds, newest first.
    pub fn deeds(&self, which: &Deeds, paging: Paging) -> Result<DeedsPart, StoreError> {
        let (mut clause, mut values) = which.clause();
        let total: i64 = self
            .conn
            .prepare_cached(&format!("SELECT count(*) FROM audit WHERE {clause}"))?
            .query_row(params_from_iter(values.clone()), |row| row.get(0))?;
        let size = paging.size();
        let offset = match paging {
            Paging::Number { page, .. } => u64::from(page.saturating_sub(1)) * u64::from(size),
            Paging::Offset { offset, .. } => offset,
            Paging::Cursor { before, .. } => {
                clause.push_str(" AND seq < ?");
                values.push(Sql::Integer(before.unwrap_or(i64::MAX)));
                0
            }
        };
        // One more than asked tells whether a next part exists.
        values.push(Sql::Integer(i64::from(size) + 1));
        values.push(Sql::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
        let sql = format!(
            "SELECT seq, id, org, workspace, at, action, actor, resource_type, resource_id, body FROM audit WHERE {clause} ORDER BY seq DESC LIMIT ? OFFSET ?"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut deeds = Vec::new();
        let uuid = |text: String| Uuid::parse_str(&text).unwrap_or_default();
        while let Some(row) = rows.next()? {
            deeds.push(Deed {
                seq: row.get(0)?,
                id: uuid(row.get(1)?),
                org: uuid(row.get(2)?),
                workspace: row.get::<_, Option<String>>(3)?.map(uuid),
                at: Timestamp(row.get(4)?),
                action: row.get(5)?,
                actor: uuid(row.get(6)?),
                resource_type: row.get(7)?,
                resource_id: row.get(8)?,
                facts: serde_json::from_str(&row.get::<_, String>(9)?)?,
            });
        }
        let more = deeds.len() > size as usize;
        deeds.truncate(size as usize);
        Ok(DeedsPart { deeds, total: u64::try_from(total).unwrap_or(0), more })
    }
}

impl Deeds {
    fn clause(&self) -> (String, Vec<Sql>) {
        let mut clause = String::from("org = ?");
        let mut values = vec![Sql::Text(self.org.to_string())];
        let mut and = |part: &str, value: Sql| {
            clause.push_str(" AND ");
            clause.push_str(part);
            values.push(value);
        };
        let text = |text: &String| Sql::Text(text.clone());
        if let Some(workspace) = self.workspace {
            and("workspace = ?", Sql::Text(workspace.to_string()));
        }
        if let Some(kind) = &self.resource_type {
            and("resource_type = ?", text(kind));
        }
        if let Some(id) = &self.resource_id {
            and("resource_id = ?", text(id));
        }
        if let Some(key) = self.key {
            and("? IN (actor, resource_id)", Sql::Text(key.to_string()));
        }
        if let Some(since) = self.since {
            and("at >= ?", Sql::Integer(since.0));
        }
        if let Some(until) = self.until {
            and("at < ?", Sql::Integer(until.0));
        }
        if self.done {
            and("json_extract(body, '$.status') < ?", Sql::Integer(400));
        }
        if let Some(actor) = &self.actor {
            and(
                "? IN (actor, json_extract(body, '$.user_id'), json_extract(body, '$.external_user_id'))",
                text(actor),
            );
        }
        if !self.actions.is_empty() {
            let any = vec!["action GLOB ?"; self.actions.len()].join(" OR ");
            clause.push_str(" AND (");
            clause.push_str(&any);
            clause.push(')');
            values.extend(self.actions.iter().map(|pattern| Sql::Text(pattern.clone())));
        }
        (clause, values)
    }
}
