//! Append-only logs beside documents: what a build says while it runs. The document's row decides whether its log
//! exists; whoever removes the row removes the log in the same transaction.

use rusqlite::params;
use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, Tx, View};

/// An entry with its place in its log, from 1.
pub type Entry = (u64, Value);

impl Tx<'_> {
    /// Appends entries to the log of `owner`, the first in place `first`.
    pub fn append_log(
        &self,
        org: Uuid,
        owner: Uuid,
        first: u64,
        entries: &[Value],
    ) -> Result<(), StoreError> {
        let mut insert = self
            .conn
            .prepare_cached("INSERT INTO logs (owner, n, org, entry) VALUES (?1, ?2, ?3, ?4)")?;
        for (n, entry) in (first..).zip(entries) {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            insert.execute(params![owner.to_string(), n, org.to_string(), entry.to_string()])?;
        }
        Ok(())
    }

    /// Removes the log of `owner`.
    pub fn remove_log(&self, owner: Uuid) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("DELETE FROM logs WHERE owner = ?1")?
            .execute([owner.to_string()])?;
        Ok(())
    }
}

impl View<'_> {
    /// The place of the last entry; 0 when there is none.
    pub fn log_length(&self, owner: Uuid) -> Result<u64, StoreError> {
        let length: i64 = self
            .conn
            .prepare_cached("SELECT ifnull(max(n), 0) FROM logs WHERE owner = ?1")?
            .query_row([owner.to_string()], |row| row.get(0))?;
        Ok(u64::try_from(length).unwrap_or(0))
    }

    /// The entries after place `n`, oldest first.
    pub fn log_after(&self, owner: Uuid, n: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT n, entry FROM logs WHERE owner = ?1 AND n > ?2 ORDER BY n LIMIT ?3",
        )?;
        let after = i64::try_from(n).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![owner.to_string(), after, limit], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        rows.map(|row| {
            let (n, entry) = row?;
            Ok((u64::try_from(n).unwrap_or(0), serde_json::from_str(&entry)?))
        })
        .collect()
    }
}
