//! Records of requests that carry an idempotency key.
//!
//! A record is *claimed* before anything happens and *answered* in the transaction that commits the outcome. One
//! that is claimed and never answered belongs to a request that a crash cut off.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::{StoreError, Tx, View};
use crate::clock::Timestamp;

/// Who sent which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The organization: a key of one means nothing in another.
    pub org: Uuid,
    /// The header's value.
    pub key: String,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The status.
    pub status: u16,
    /// The headers that a replay repeats.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the request said, as a digest.
    pub fingerprint: Vec<u8>,
    /// The operation that the request began.
    pub operation: Uuid,
    /// When, in policy time.
    pub created_at: Timestamp,
    /// The request id of the original.
    pub request_id: String,
    /// Its answer, once there is one.
    pub answer: Option<Kept>,
}

impl View<'_> {
    /// The record of a key.
    pub fn idempotency(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT fingerprint, operation, created_at, request_id, status, headers, body FROM idempotency WHERE org = ?1 AND key = ?2",
        )?;
        let row = statement
            .query_row(params![key.org.to_string(), key.key], |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, Option<u16>>(4)?,
                    row.get::<_, Option<String>>(5)?,
                    row.get::<_, Option<Vec<u8>>>(6)?,
                ))
            })
            .optional()?;
        let Some((fingerprint, operation, created_at, request_id, status, headers, body)) = row
        else {
            return Ok(None);
        };
        let answer = match status {
            Some(status) => Some(Kept {
                status,
                headers: serde_json::from_str(headers.as_deref().unwrap_or("[]"))?,
                body: body.unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Some(Record {
            fingerprint,
            operation: Uuid::parse_str(&operation).unwrap_or_default(),
            created_at: Timestamp(created_at),
            request_id,
            answer,
        }))
    }

    /// The organizations that have records.
    pub fn idempotency_orgs(&self) -> Result<Vec<Uuid>, StoreError> {
        let mut statement = self.conn.prepare_cached("SELECT DISTINCT org FROM idempotency")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut orgs = Vec::new();
        for row in rows {
            orgs.extend(Uuid::parse_str(&row?));
        }
        Ok(orgs)
    }
}

impl Tx<'_> {
    /// Claims a key. `repeatable` says that running the request again after a crash does no harm.
    pub fn claim_idempotency(
        &self,
        key: &Key,
        record: &Record,
        repeatable: bool,
    ) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO idempotency (org, key, fingerprint, operation, created_at, request_id, repeatable)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                key.org.to_string(),
                key.key,
                record.fingerprint,
                record.operation.to_string(),
                record.created_at.0,
                record.request_id,
                repeatable,
            ])?;
        Ok(())
    }

    /// Keeps the answer.
    pub fn answer_idempotency(&self, key: &Key, kept: &Kept) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("UPDATE idempotency SET status = ?3, headers = ?4, body = ?5 WHERE org = ?1 AND key = ?2")?
            .execute(params![
                key.org.to_string(),
                key.key,
                kept.status,
                serde_json::to_string(&kept.headers)?,
                kept.body
            ])?;
        Ok(())
    }

    /// Forgets the key: the request was refused before anything happened, or may simply run again.
    pub fn release_idempotency(&self, key: &Key) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("DELETE FROM idempotency WHERE org = ?1 AND key = ?2")?
            .execute(params![key.org.to_string(), key.key])?;
        Ok(())
    }

    /// Forgets the records of an organization older than `before`.
    pub fn expire_idempotency(&self, org: Uuid, before: Timestamp) -> Result<usize, StoreError> {
        Ok(self
            .conn
            .prepare_cached("DELETE FROM idempotency WHERE org = ?1 AND created_at <= ?2")?
            .execute(params![org.to_string(), before.0])?)
    }

    /// After a crash: forgets unanswered claims that may run again, and of the operations in `undone`.
    pub fn forget_torn(&self, undone: &[Uuid]) -> Result<usize, StoreError> {
        let mut forgotten = self
            .conn
            .execute("DELETE FROM idempotency WHERE status IS NULL AND repeatable = 1", [])?;
        for operation in undone {
            forgotten += self.conn.execute(
                "DELETE FROM idempotency WHERE status IS NULL AND operation = ?1",
                [operation.to_string()],
            )?;
        }
        Ok(forgotten)
    }

    /// After a crash: the keys, operations and request ids that are still unanswered.
    pub fn torn(&self) -> Result<Vec<(Key, Uuid, String)>, StoreError> {
        let mut statement = self.conn.prepare(
            "SELECT org, key, operation, request_id FROM idempotency WHERE status IS NULL",
        )?;
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
            ))
        })?;
        let mut torn = Vec::new();
        for row in rows {
            let (org, key, operation, request_id) = row?;
            torn.push((
                Key { org: Uuid::parse_str(&org).unwrap_or_default(), key },
                Uuid::parse_str(&operation).unwrap_or_default(),
                request_id,
            ));
        }
        Ok(torn)
    }
}
