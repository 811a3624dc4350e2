//! The tables, and how an older file becomes a current one.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Each migration takes the file from version `index` to `index + 1`.
const MIGRATIONS: &[&str] = &[V1, V2, V3];

const V1: &str = "
CREATE TABLE documents (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL,
    id          TEXT NOT NULL,
    org         TEXT NOT NULL,
    workspace   TEXT,
    project     TEXT,
    parent      TEXT,
    name        TEXT,
    slug        TEXT,
    external    TEXT,
    state       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    due_at      INTEGER,
    body        TEXT NOT NULL
);
CREATE UNIQUE INDEX document_id ON documents (kind, id);
CREATE INDEX document_list ON documents (kind, org, seq);
CREATE INDEX document_parent ON documents (kind, parent, seq) WHERE parent IS NOT NULL;
CREATE INDEX document_workspace ON documents (kind, workspace, seq) WHERE workspace IS NOT NULL;
CREATE INDEX document_due ON documents (kind, org, due_at) WHERE due_at IS NOT NULL;

-- Expression indexes, because SQLite names an expression index in its error and a plain one not.
CREATE UNIQUE INDEX sandbox_name ON documents (org, trim(name)) WHERE kind = 'sandbox' AND name IS NOT NULL AND state <> 'destroyed';
CREATE UNIQUE INDEX sandbox_slug ON documents (org, trim(slug)) WHERE kind = 'sandbox' AND slug IS NOT NULL AND state <> 'destroyed';
CREATE UNIQUE INDEX workspace_slug ON documents (org, trim(slug)) WHERE kind = 'workspace' AND slug IS NOT NULL;
CREATE UNIQUE INDEX workspace_external ON documents (org, trim(external)) WHERE kind = 'workspace' AND external IS NOT NULL;
CREATE UNIQUE INDEX project_slug ON documents (workspace, trim(slug)) WHERE kind = 'project' AND slug IS NOT NULL;
CREATE UNIQUE INDEX project_external ON documents (workspace, trim(external)) WHERE kind = 'project' AND external IS NOT NULL;
CREATE UNIQUE INDEX api_key_secret ON documents (trim(external)) WHERE kind = 'api_key' AND external IS NOT NULL;
CREATE UNIQUE INDEX organization_slug ON documents (trim(slug)) WHERE kind = 'organization' AND slug IS NOT NULL;
CREATE UNIQUE INDEX organization_key ON documents (trim(external)) WHERE kind = 'organization' AND external IS NOT NULL;

-- Totals, kept by triggers in the transaction that changes them: no code path can forget one.
CREATE TABLE counters (
    kind TEXT NOT NULL, org TEXT NOT NULL, workspace TEXT NOT NULL, parent TEXT NOT NULL, state TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (kind, org, workspace, parent, state)
) WITHOUT ROWID;
CREATE TRIGGER count_insert AFTER INSERT ON documents BEGIN
    INSERT INTO counters VALUES (new.kind, new.org, ifnull(new.workspace, ''), ifnull(new.parent, ''), new.state, 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER count_delete AFTER DELETE ON documents BEGIN
    UPDATE counters SET n = n - 1 WHERE kind = old.kind AND org = old.org AND workspace = ifnull(old.workspace, '')
        AND parent = ifnull(old.parent, '') AND state = old.state;
    DELETE FROM counters WHERE kind = old.kind AND org = old.org AND workspace = ifnull(old.workspace, '')
        AND parent = ifnull(old.parent, '') AND state = old.state AND n <= 0;
END;
CREATE TRIGGER count_update AFTER UPDATE OF org, workspace, parent, state ON documents
WHEN new.state IS NOT old.state OR new.workspace IS NOT old.workspace OR new.parent IS NOT old.parent OR new.org IS NOT old.org BEGIN
    UPDATE counters SET n = n - 1 WHERE kind = old.kind AND org = old.org AND workspace = ifnull(old.workspace, '')
        AND parent = ifnull(old.parent, '') AND state = old.state;
    DELETE FROM counters WHERE kind = old.kind AND org = old.org AND workspace = ifnull(old.workspace, '')
        AND parent = ifnull(old.parent, '') AND state = old.state AND n <= 0;
    INSERT INTO counters VALUES (new.kind, new.org, ifnull(new.workspace, ''), ifnull(new.parent, ''), new.state, 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TABLE idempotency (
    org         TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    operation   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    request_id  TEXT NOT NULL,
    repeatable  INTEGER NOT NULL,
    status      INTEGER,
    headers     TEXT,
    body        BLOB,
    PRIMARY KEY (org, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (org, created_at);

CREATE TABLE events (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL,
    org           TEXT NOT NULL,
    workspace     TEXT,
    type          TEXT NOT NULL,
    subject_kind  TEXT NOT NULL,
    subject_id    TEXT NOT NULL,
    at            INTEGER NOT NULL,
    data          TEXT NOT NULL
);
CREATE INDEX event_org ON events (org, seq);
CREATE INDEX event_subject ON events (subject_id, seq);

CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// What is unique among the kinds that came after the first version.
const V2: &str = "
CREATE UNIQUE INDEX named_snapshot_name ON documents (org, trim(name)) WHERE kind = 'named_snapshot' AND name IS NOT NULL;
CREATE TABLE logs (
    owner TEXT NOT NULL, n INTEGER NOT NULL, org TEXT NOT NULL, entry TEXT NOT NULL,
    PRIMARY KEY (owner, n)
) WITHOUT ROWID;
CREATE UNIQUE INDEX template_slug ON documents (org, trim(slug)) WHERE kind = 'template' AND slug IS NOT NULL;
CREATE UNIQUE INDEX service_name ON documents (parent, trim(name)) WHERE kind = 'service' AND name IS NOT NULL;
CREATE UNIQUE INDEX api_key_preset_name ON documents (org, trim(name)) WHERE kind = 'api_key_preset' AND name IS NOT NULL;
CREATE UNIQUE INDEX device_login_code ON documents (trim(slug)) WHERE kind = 'device_login' AND slug IS NOT NULL;
CREATE UNIQUE INDEX device_login_secret ON documents (trim(external)) WHERE kind = 'device_login' AND external IS NOT NULL;
CREATE UNIQUE INDEX user_email ON documents (org, trim(external)) WHERE kind = 'user' AND external IS NOT NULL;
CREATE UNIQUE INDEX environment_slug ON documents (parent, trim(slug)) WHERE kind = 'project_environment' AND slug IS NOT NULL;
CREATE UNIQUE INDEX workspace_invite_token ON documents (trim(external)) WHERE kind = 'workspace_invite' AND external IS NOT NULL;
CREATE UNIQUE INDEX share_secret ON documents (trim(external)) WHERE kind = 'share' AND external IS NOT NULL;
CREATE UNIQUE INDEX quota_external ON documents (org, trim(external)) WHERE kind = 'quota' AND external IS NOT NULL;
";

/// Events get an order that clients can resume from, and caps; what was done, by whom, gets a table of its own.
const V3: &str = "
ALTER TABLE events ADD COLUMN class INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN tick INTEGER NOT NULL DEFAULT 0;
UPDATE events SET tick = at;
CREATE INDEX event_lasting ON events (org, seq) WHERE class = 0;
CREATE INDEX event_egress ON events (org, seq) WHERE class = 2;

-- Up to which event something was removed to make room: of an organization, or of one of its resources.
CREATE TABLE event_gaps (scope TEXT PRIMARY KEY, org TEXT NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE audit (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL,
    org           TEXT NOT NULL,
    workspace     TEXT,
    at            INTEGER NOT NULL,
    action        TEXT NOT NULL,
    actor         TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id   TEXT,
    body          TEXT NOT NULL
);
CREATE INDEX audit_org ON audit (org, seq);
CREATE INDEX audit_resource ON audit (resource_id, seq) WHERE resource_id IS NOT NULL;
";

/// Marks a database file as the emulator's (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x4D49_4F53; // "MIOS"

/// Per-connection settings.
pub(super) fn tune(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // In WAL mode NORMAL loses nothing when the process dies, only (the last moments) when the power goes.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Makes or migrates the file; refuses one that is newer or not ours without touching it.
pub(super) fn prepare(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let refuse = |why: String| StoreError::Refused(format!("{}: {why}", path.display()));
    let application: i32 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| refuse(format!("not a database that can be read ({error})")))?;
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = version as usize;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(refuse(
            "this database was not made by the emulator; choose another --data directory".into(),
        ));
    }
    if version > MIGRATIONS.len() {
        return Err(refuse(format!(
            "made by a newer emulator (schema {version}, this one knows {}); use that one, or another --data directory",
            MIGRATIONS.len()
        )));
    }
    conn.pragma_update(None, "journal_mode", "WAL")?;
    tune(conn)?;
    let tx = conn.transaction()?;
    for migration in MIGRATIONS.iter().skip(version) {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "user_version", MIGRATIONS.len() as u32)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_file_is_refused_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut conn = Connection::open(&path).unwrap();
        prepare(&mut conn, &path).unwrap();
        conn.pragma_update(None, "user_version", 99).unwrap();
        let error = prepare(&mut conn, &path).unwrap_err().to_string();
        assert!(error.contains("newer emulator"), "{error}");
        let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_foreign_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(
            prepare(&mut conn, &path).unwrap_err().to_string().contains("not made by the emulator")
        );
    }
}
