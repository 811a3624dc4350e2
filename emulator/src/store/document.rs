//! Documents, typed.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{StoreError, Tx, View};
use crate::clock::Timestamp;

/// What the store must know of a document besides its body.
#[derive(Debug, Clone, Default)]
pub struct Keys<'a> {
    /// Its id.
    pub id: Uuid,
    /// The organization that owns it.
    pub org: Uuid,
    /// The workspace it belongs to.
    pub workspace: Option<Uuid>,
    /// The project it belongs to.
    pub project: Option<Uuid>,
    /// What it is a part of: a sandbox for its snapshots.
    pub parent: Option<Uuid>,
    /// Its name, unique where the schema says so.
    pub name: Option<&'a str>,
    /// Its slug, unique where the schema says so.
    pub slug: Option<&'a str>,
    /// Its external id (of an API key: the fingerprint of the secret).
    pub external: Option<&'a str>,
    /// Its state; kinds without one say `active`.
    pub state: &'a str,
    /// When policy time must look at it again.
    pub due_at: Option<Timestamp>,
}

/// A kind of document.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The kind, in the singular: `sandbox`. Errors say `sandbox_not_found`.
    const KIND: &'static str;
    /// The key that lists carry beside `data`.
    const PLURAL: &'static str;
    /// Whether `{id}` in a path may also be its slug or name.
    const BY_NAME: bool = false;
    /// What the store must know.
    fn keys(&self) -> Keys<'_>;
    /// When it was made.
    fn created_at(&self) -> Timestamp;
    /// When it was last changed.
    fn updated_at(&self) -> Timestamp;
}

/// A column that names a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Its display name.
    Name,
    /// Its slug.
    Slug,
    /// Its external id.
    External,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Slug => "slug",
            Self::External => "external",
        }
    }
}

impl View<'_> {
    /// The document with this id in this organization.
    pub fn get<R: Resource>(&self, org: Uuid, id: Uuid) -> Result<Option<R>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT body FROM documents WHERE kind = ?1 AND id = ?2 AND org = ?3",
        )?;
        let body: Option<String> = statement
            .query_row(params![R::KIND, id.to_string(), org.to_string()], |row| row.get(0))
            .optional()?;
        body.map(|body| serde_json::from_str(&body).map_err(StoreError::from)).transpose()
    }

    /// The document with this id, whoever owns it: for the reconciler and for credentials, never for a handler.
    pub fn get_any<R: Resource>(&self, id: Uuid) -> Result<Option<R>, StoreError> {
        self.one("id", &id.to_string())
    }

    /// The document whose external id is this, whoever owns it: for credentials.
    pub fn by_external_any<R: Resource>(&self, external: &str) -> Result<Option<R>, StoreError> {
        self.one("external IS NOT NULL AND trim(external)", external)
    }

    fn one<R: Resource>(&self, column: &str, value: &str) -> Result<Option<R>, StoreError> {
        let sql = one_sql(R::KIND, column);
        let body: Option<String> =
            self.conn.prepare_cached(&sql)?.query_row([value], |row| row.get(0)).optional()?;
        body.map(|body| serde_json::from_str(&body).map_err(StoreError::from)).transpose()
    }

    /// The document with this slug, whoever owns it: for organizations.
    pub fn by_slug_any<R: Resource>(&self, slug: &str) -> Result<Option<R>, StoreError> {
        self.one("slug IS NOT NULL AND trim(slug)", slug)
    }

    /// The newest document of the organization with this value in a column; `destroyed` ones are not found by name.
    fn by_column<R: Resource>(
        &self,
        org: Uuid,
        column: &str,
        value: &str,
    ) -> Result<Option<R>, StoreError> {
        self.within("org", org, column, value)
    }

    /// The newest document of the workspace whose `column` (`name`, `slug` or `external`) has this value.
    pub fn in_workspace<R: Resource>(
        &self,
        workspace: Uuid,
        column: Column,
        value: &str,
    ) -> Result<Option<R>, StoreError> {
        self.within("workspace", workspace, column.name(), value)
    }

    fn within<R: Resource>(
        &self,
        whose: &str,
        owner: Uuid,
        column: &str,
        value: &str,
    ) -> Result<Option<R>, StoreError> {
        let sql = within_sql(R::KIND, whose, column);
        let body: Option<String> = self
            .conn
            .prepare_cached(&sql)?
            .query_row(params![owner.to_string(), value.trim()], |row| row.get(0))
            .optional()?;
        body.map(|body| serde_json::from_str(&body).map_err(StoreError::from)).transpose()
    }

    /// The document with this name.
    pub fn by_name<R: Resource>(&self, org: Uuid, name: &str) -> Result<Option<R>, StoreError> {
        self.by_column(org, "name", name)
    }

    /// The document with this slug.
    pub fn by_slug<R: Resource>(&self, org: Uuid, slug: &str) -> Result<Option<R>, StoreError> {
        self.by_column(org, "slug", slug)
    }

    /// The document with this external id.
    pub fn by_external<R: Resource>(
        &self,
        org: Uuid,
        external: &str,
    ) -> Result<Option<R>, StoreError> {
        self.by_column(org, "external", external)
    }

    /// Every document of the kind, oldest first, in any organization: for the reconciler.
    pub fn all<R: Resource>(&self) -> Result<Vec<R>, StoreError> {
        let mut statement =
            self.conn.prepare_cached("SELECT body FROM documents WHERE kind = ?1 ORDER BY seq")?;
        let bodies = statement.query_map([R::KIND], |row| row.get::<_, String>(0))?;
        bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
    }

    /// The documents that policy time must look at by `now`, oldest due first.
    pub fn due<R: Resource>(
        &self,
        org: Uuid,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<R>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT body FROM documents WHERE kind = ?1 AND org = ?2 AND due_at <= ?3 ORDER BY due_at LIMIT ?4",
        )?;
        let bodies = statement
            .query_map(params![R::KIND, org.to_string(), now.0, limit], |row| {
                row.get::<_, String>(0)
            })?;
        bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
    }

    /// For each organization the moment its next document is due.
    pub fn next_due<R: Resource>(&self) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT org, min(due_at) FROM documents WHERE kind = ?1 AND due_at IS NOT NULL GROUP BY org",
        )?;
        let rows = statement
            .query_map([R::KIND], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
        let mut due = Vec::new();
        for row in rows {
            let (org, at) = row?;
            if let Ok(org) = Uuid::parse_str(&org) {
                due.push((org, Timestamp(at)));
            }
        }
        Ok(due)
    }
}

impl Tx<'_> {
    /// Adds a document.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when a unique name, slug or external id is taken.
    pub fn insert<R: Resource>(&self, resource: &R) -> Result<(), StoreError> {
        let mut columns = columns(resource)?;
        columns.push(resource.created_at().0.into());
        self.conn
            .prepare_cached(
                "INSERT INTO documents (kind, id, org, workspace, project, parent, name, slug, external, state, updated_at, due_at, body, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params_from_iter(columns))?;
        Ok(())
    }

    /// Replaces a document; `false` when it is gone.
    pub fn update<R: Resource>(&self, resource: &R) -> Result<bool, StoreError> {
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE documents SET workspace = ?4, project = ?5, parent = ?6, name = ?7, slug = ?8, external = ?9, state = ?10, updated_at = ?11, due_at = ?12, body = ?13
                 WHERE kind = ?1 AND id = ?2 AND org = ?3",
            )?
            .execute(params_from_iter(columns(resource)?))?;
        Ok(changed > 0)
    }

    /// Loads, changes and replaces a document in one step; `None` when it is gone.
    pub fn modify<R: Resource>(
        &self,
        org: Uuid,
        id: Uuid,
        change: impl FnOnce(&mut R),
    ) -> Result<Option<R>, StoreError> {
        let Some(mut resource) = self.get::<R>(org, id)? else { return Ok(None) };
        change(&mut resource);
        self.update(&resource)?;
        Ok(Some(resource))
    }

    /// Removes a document; `false` when it was gone already.
    pub fn remove<R: Resource>(&self, org: Uuid, id: Uuid) -> Result<bool, StoreError> {
        let removed = self
            .conn
            .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND id = ?2 AND org = ?3")?
            .execute(params![R::KIND, id.to_string(), org.to_string()])?;
        Ok(removed > 0)
    }

    /// Removes the documents of a kind that are parts of `parent`.
    pub fn remove_children<R: Resource>(
        &self,
        org: Uuid,
        parent: Uuid,
    ) -> Result<usize, StoreError> {
        Ok(self
            .conn
            .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND parent = ?2 AND org = ?3")?
            .execute(params![R::KIND, parent.to_string(), org.to_string()])?)
    }

    /// Removes everything that an organization owns, the records of its requests and its events included.
    /// The organization itself stays.
    pub fn remove_organization_content(&self, org: Uuid) -> Result<(), StoreError> {
        let org = org.to_string();
        self.conn
            .execute("DELETE FROM documents WHERE org = ?1 AND kind <> 'organization'", [&org])?;
        for table in ["idempotency", "events", "event_gaps", "audit", "logs"] {
            self.conn.execute(&format!("DELETE FROM {table} WHERE org = ?1"), [&org])?;
        }
        Ok(())
    }
}

/// What a document's row holds, in the order of the parameters `?1` to `?13` of both statements that write one.
fn columns<R: Resource>(resource: &R) -> Result<Vec<Value>, StoreError> {
    let keys = resource.keys();
    let id = |id: Option<Uuid>| Value::from(id.map(|id| id.to_string()));
    let text = |text: Option<&str>| Value::from(text.map(str::to_owned));
    Ok(vec![
        text(Some(R::KIND)),
        id(Some(keys.id)),
        id(Some(keys.org)),
        id(keys.workspace),
        id(keys.project),
        id(keys.parent),
        text(keys.name),
        text(keys.slug),
        text(keys.external),
        text(Some(keys.state)),
        resource.updated_at().0.into(),
        keys.due_at.map(|at| at.0).into(),
        serde_json::to_string(resource)?.into(),
    ])
}

// Kind and `IS NOT NULL` stand in the text of both, so that SQLite sees that the partial unique indexes apply.

fn one_sql(kind: &str, column: &str) -> String {
    format!("SELECT body FROM documents WHERE kind = '{kind}' AND {column} = ?1 LIMIT 1")
}

fn within_sql(kind: &str, whose: &str, column: &str) -> String {
    format!(
        "SELECT body FROM documents WHERE kind = '{kind}' AND {whose} = ?1 AND trim({column}) = ?2 AND {column} IS NOT NULL AND state <> 'destroyed' ORDER BY seq DESC LIMIT 1"
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// What a lookup by name costs must not grow with the number of documents.
    #[test]
    fn lookups_use_their_unique_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        drop(crate::store::Store::open(&path).unwrap());
        let conn = Connection::open(&path).unwrap();
        for (sql, index) in [
            (within_sql("sandbox", "org", "name"), "sandbox_name"),
            (within_sql("sandbox", "org", "slug"), "sandbox_slug"),
            (within_sql("template", "org", "slug"), "template_slug"),
            (within_sql("workspace", "org", "slug"), "workspace_slug"),
            (within_sql("workspace", "org", "external"), "workspace_external"),
            (within_sql("project", "workspace", "slug"), "project_slug"),
            (within_sql("project", "workspace", "external"), "project_external"),
            (one_sql("api_key", "external IS NOT NULL AND trim(external)"), "api_key_secret"),
            (one_sql("share", "external IS NOT NULL AND trim(external)"), "share_secret"),
            (one_sql("organization", "slug IS NOT NULL AND trim(slug)"), "organization_slug"),
            (one_sql("sandbox", "id"), "document_id"),
        ] {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let values = vec!["x"; statement.parameter_count()];
            let plan: Vec<String> = statement
                .query_map(params_from_iter(values), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert!(
                plan.iter().any(|step| step.contains(&format!("INDEX {index} "))),
                "{sql}: {plan:?}"
            );
        }
    }
}
