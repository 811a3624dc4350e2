//! Filters and pages: newest first, by number, by offset or by cursor.
//!
//! Order is the order of insertion (`seq`), newest first. By number or offset an insert shifts older items towards
//! the end: one may be seen twice, none is missed. By cursor (the last `seq` seen) each item that lives
//! throughout comes exactly once.

use crate::defects::defect;
use rusqlite::params_from_iter;
use rusqlite::types::Value as Sql;
use uuid::Uuid;

use super::{Resource, StoreError, View};

/// Which documents.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this organization. Always set: there is no list over all.
    pub org: Uuid,
    /// In this workspace.
    pub workspace: Option<Uuid>,
    /// In this project.
    pub project: Option<Uuid>,
    /// Part of this.
    pub parent: Option<Uuid>,
    /// In one of these states; empty means any.
    pub states: Vec<String>,
    /// In none of these states.
    pub not_states: Vec<&'static str>,
    /// Whose body has this text at this JSON path (`$.template_id`).
    pub fields: Vec<(String, String)>,
    /// Whose body has all of these texts in the array at this path.
    pub members: Vec<(&'static str, String)>,
    /// Whose id, name or slug contains this, whatever its case.
    pub search: Option<String>,
    /// By name from a to z instead of newest first.
    pub by_name: bool,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// The page with this number (from 1) of this size.
    Number {
        /// From 1.
        page: u32,
        /// 1 to 100.
        size: u32,
    },
    /// `size` items after the first `offset`.
    Offset {
        /// How many to pass over.
        offset: u64,
        /// 1 to 200.
        size: u32,
    },
    /// `size` items older than the one that the cursor names.
    Cursor {
        /// The `seq` of the last item seen; `None` begins.
        before: Option<i64>,
        /// 1 to 200.
        size: u32,
    },
}

impl Paging {
    /// How many items at the most.
    pub fn size(self) -> u32 {
        match self {
            Self::Number { size, .. } | Self::Offset { size, .. } | Self::Cursor { size, .. } => {
                size
            }
        }
    }

    /// The number of the page, from 1.
    pub fn page(self) -> u64 {
        match self {
            Self::Number { page, .. } => u64::from(page),
            Self::Offset { offset, size } => offset / u64::from(size.max(1)) + 1,
            Self::Cursor { .. } => 1,
        }
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Listing<R> {
    /// The items.
    pub items: Vec<R>,
    /// How many there are in all.
    pub total: u64,
    /// What was asked for.
    pub paging: Paging,
    /// Where the next part begins; `None` at the end.
    pub next_cursor: Option<i64>,
}

impl View<'_> {
    /// A part of the list of documents that pass the filter.
    pub fn page<R: Resource>(
        &self,
        filter: &Filter,
        paging: Paging,
    ) -> Result<Listing<R>, StoreError> {
        let (mut clause, mut values) = filter.clause::<R>();
        let total = self.total::<R>(filter, &clause, &values)?;
        let size = paging.size();
        let offset = match paging {
            Paging::Number { page, size } => {
                let first = u64::from(page.saturating_sub(1)) * u64::from(size);
                match () {
                    () if defect!(PageBeginsLate) && page > 1 => first + 1,
                    () if defect!(ProjectPagesOverlap) && R::KIND == "project" => {
                        first.saturating_sub(1)
                    }
                    () => first,
                }
            }
            Paging::Offset { offset, .. } => offset,
            Paging::Cursor { before, .. } => {
                if let Some(before) = before {
                    clause.push_str(" AND seq < ?");
                    values.push(Sql::Integer(before));
                }
                0
            }
        };
        let order = match filter.by_name {
            true => "ifnull(name, slug), seq",
            false if defect!(OldestFirst) && R::KIND == "workspace" => "seq",
            false => "seq DESC",
        };
        // One more than asked tells whether a next part exists.
        let sql = format!(
            "SELECT seq, body FROM documents WHERE {clause} ORDER BY {order} LIMIT ? OFFSET ?"
        );
        values.push(Sql::Integer(i64::from(size) + 1));
        values.push(Sql::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        let mut items = Vec::new();
        let mut last = None;
        let mut more = false;
        for row in rows {
            let (seq, body) = row?;
            if items.len() == size as usize {
                more = true;
                defect!(CursorSkips => last = Some(seq));
                break;
            }
            last = Some(seq);
            items.push(serde_json::from_str(&body)?);
        }
        Ok(Listing { items, total, paging, next_cursor: if more { last } else { None } })
    }

    /// How many documents pass the filter.
    pub fn count<R: Resource>(&self, filter: &Filter) -> Result<u64, StoreError> {
        let (clause, values) = filter.clause::<R>();
        self.total::<R>(filter, &clause, &values)
    }

    /// Every document that passes the filter, newest first: for what is small by nature (the keys of a workspace).
    pub fn every<R: Resource>(&self, filter: &Filter) -> Result<Vec<R>, StoreError> {
        let mut items = Vec::new();
        let mut before = None;
        loop {
            let part = self.page::<R>(filter, Paging::Cursor { before, size: 200 })?;
            items.extend(part.items);
            before = part.next_cursor;
            if before.is_none() {
                return Ok(items);
            }
        }
    }

    /// How many documents that pass the filter are in each state.
    pub fn count_states<R: Resource>(
        &self,
        filter: &Filter,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let (clause, values) = filter.clause::<R>();
        let sql = format!(
            "SELECT state, count(*) FROM documents WHERE {clause} GROUP BY state ORDER BY state"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The sum of a number in the bodies of the documents that pass the filter; where it is null it counts nothing.
    pub fn sum<R: Resource>(&self, filter: &Filter, path: &str) -> Result<u64, StoreError> {
        let (clause, values) = filter.clause::<R>();
        let sql =
            format!("SELECT ifnull(sum(json_extract(body, ?)), 0) FROM documents WHERE {clause}");
        let values = std::iter::once(Sql::Text(path.to_owned())).chain(values);
        let sum: i64 = self
            .conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(u64::try_from(sum).unwrap_or(0))
    }

    fn total<R: Resource>(
        &self,
        filter: &Filter,
        clause: &str,
        values: &[Sql],
    ) -> Result<u64, StoreError> {
        let total: i64 = if filter.has_counter() || defect!(TotalUnfiltered) {
            let (mut clause, values) = filter.counter_clause::<R>();
            if defect!(ForeignTotal) && R::KIND == "workspace" {
                clause = clause.replacen("org = ?", "(org = ? OR true)", 1);
            }
            let sql = format!("SELECT ifnull(sum(n), 0) FROM counters WHERE {clause}");
            self.conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?
        } else {
            let sql = format!("SELECT count(*) FROM documents WHERE {clause}");
            self.conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?
        };
        Ok(u64::try_from(total).unwrap_or(0))
    }
}

impl Filter {
    /// Whether the total is kept, so that nothing has to be counted.
    fn has_counter(&self) -> bool {
        self.project.is_none()
            && self.fields.is_empty()
            && self.members.is_empty()
            && self.search.is_none()
    }

    fn counter_clause<R: Resource>(&self) -> (String, Vec<Sql>) {
        let mut clause = String::from("kind = ? AND org = ?");
        if defect!(ForeignProjectsListed) && R::KIND == "project" {
            clause = String::from("kind = ? AND (org = ? OR true)");
        }
        let mut values = vec![Sql::Text(R::KIND.into()), Sql::Text(self.org.to_string())];
        for (column, id) in [("workspace", self.workspace), ("parent", self.parent)] {
            if let Some(id) = id {
                clause.push_str(" AND ");
                clause.push_str(column);
                clause.push_str(" = ?");
                values.push(Sql::Text(id.to_string()));
            }
        }
        if !defect!(StateIgnored) {
            self.state_clause(&mut clause, &mut values);
        }
        (clause, values)
    }

    fn clause<R: Resource>(&self) -> (String, Vec<Sql>) {
        let (mut clause, mut values) = self.counter_clause::<R>();
        if let Some(project) = self.project {
            clause.push_str(" AND project = ?");
            values.push(Sql::Text(project.to_string()));
        }
        for (path, text) in &self.fields {
            clause.push_str(if defect!(ExternalByPrefix) && path.contains("external_") {
                " AND instr(json_extract(body, ?), ?) = 1"
            } else {
                " AND json_extract(body, ?) = ?"
            });
            values.push(Sql::Text(path.clone()));
            values.push(Sql::Text(text.clone()));
        }
        for (path, text) in &self.members {
            clause.push_str(
                " AND EXISTS (SELECT 1 FROM json_each(body, ?) WHERE json_each.value = ?)",
            );
            values.push(Sql::Text((*path).into()));
            values.push(Sql::Text(text.clone()));
        }
        if let Some(search) = &self.search {
            clause.push_str(" AND (instr(lower(id), ?) OR instr(lower(ifnull(name, '')), ?) OR instr(lower(ifnull(slug, '')), ?))");
            let needle = Sql::Text(search.to_lowercase());
            values.extend([needle.clone(), needle.clone(), needle]);
        }
        (clause, values)
    }

    fn state_clause(&self, clause: &mut String, values: &mut Vec<Sql>) {
        if !self.states.is_empty() {
            clause.push_str(" AND state IN (");
            clause.push_str(&vec!["?"; self.states.len()].join(", "));
            clause.push(')');
            values.extend(self.states.iter().map(|state| Sql::Text(state.clone())));
        }
        for state in &self.not_states {
            clause.push_str(" AND state <> ?");
            values.push(Sql::Text((*state).into()));
        }
    }
}
