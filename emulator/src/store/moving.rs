//! Moving documents to another workspace, whatever their kind.

use rusqlite::params;
use uuid::Uuid;

use super::{StoreError, Tx};

/// What moves: with each document go those that are parts of it.
#[derive(Debug, Clone, Copy)]
pub enum Moving {
    /// A project with everything in it.
    Project(Uuid),
    /// One document, into this project.
    One {
        /// Which.
        id: Uuid,
        /// The project that it is in from now on.
        into: Uuid,
    },
}

/// The documents that move, and their parts at any depth. Only what belongs to a workspace moves.
const MOVED: &str = "
WITH RECURSIVE moved(id) AS (
    SELECT id FROM documents WHERE org = ?1 AND (project = ?2 OR id = ?3)
    UNION
    SELECT part.id FROM documents part JOIN moved ON part.parent = moved.id WHERE part.org = ?1
)";

impl Tx<'_> {
    /// Moves them; answers how many documents have moved. Columns and bodies say the same afterwards: every kind that
    /// belongs to a workspace writes it as `workspace_id`.
    pub fn relocate(
        &self,
        org: Uuid,
        moving: Moving,
        workspace: Uuid,
        external: Option<&str>,
    ) -> Result<usize, StoreError> {
        let (project, one, into) = match moving {
            Moving::Project(project) => (Some(project.to_string()), None, None),
            Moving::One { id, into } => (None, Some(id.to_string()), Some(into.to_string())),
        };
        let sql = format!(
            "{MOVED} UPDATE documents SET
                 workspace = ?4,
                 project = CASE WHEN project IS NULL THEN NULL ELSE ifnull(?5, project) END,
                 body = json_replace(
                     body, '$.workspace_id', ?4, '$.external_workspace_id', ?6,
                     '$.project_id', ifnull(?5, json_extract(body, '$.project_id'))
                 )
             WHERE org = ?1 AND workspace IS NOT NULL AND id IN (SELECT id FROM moved)"
        );
        let moved = self.conn.prepare_cached(&sql)?.execute(params![
            org.to_string(),
            project,
            one,
            workspace.to_string(),
            into,
            external,
        ])?;
        Ok(moved)
    }
}
