//! Exports: paths set aside for download. Nothing is copied: a download has the files as they are by then.
//!
//! One file is its bytes; several paths, or a directory, are an archive (miosa-python 2.19).

mod download;
mod record;

use axum::extract::State;
use miosa_agent::protocol::FailureCode;
use serde::Deserialize;
use serde_json::Value;

pub use record::{Export, Exported, filename};

use super::path::{Named, SafePath};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Route, Scoped, validation};
use crate::machines::{Agent, MachineError};
use crate::store::page::{Filter, Paging};
use crate::store::{Tx, View};
use uuid::Uuid;

/// The most paths of one export.
const MAX_PATHS: usize = 100;

/// The most exports of one sandbox; the oldest makes room.
const MAX_EXPORTS: u32 = 100;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/exports", create).scope("sandboxes:write"),
        Route::get("/sandboxes/{id}/exports/download", download::download).scope("sandboxes:read"),
    ]
}

#[derive(Debug, Deserialize)]
struct Create {
    #[serde(default)]
    path: Named,
    paths: Option<Vec<Named>>,
    label: Option<String>,
    filename: Option<String>,
}

impl Create {
    fn paths(&self) -> ApiResult<Vec<SafePath>> {
        let paths = match (&self.paths, self.path.is_given()) {
            (None, _) => vec![self.path.required()?],
            (Some(_), true) => return Err(ApiError::field("paths", "send it or path, not both")),
            (Some(paths), false) => paths.iter().map(Named::required).collect::<ApiResult<_>>()?,
        };
        checked(paths)
            .ok_or_else(|| ApiError::field("paths", format!("must have 1 to {MAX_PATHS} paths")))
    }
}

/// Each path once, and none that lies below another; `None` when there are too many or none.
fn checked(mut paths: Vec<SafePath>) -> Option<Vec<SafePath>> {
    if paths.is_empty() || paths.len() > MAX_PATHS {
        return None;
    }
    let all = paths.clone();
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| {
        let below = all.iter().any(|other| other != path && path.is_below(other.as_str()));
        !below && seen.insert(path.to_string())
    });
    Some(paths)
}

/// `POST /sandboxes/{id}/exports`.
async fn create(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    let paths = body.paths()?;
    if let Some(label) = &body.label {
        validation::text("label", label, 0, 200)?;
    }
    let filename = body.filename.as_deref().map(filename).transpose()?;
    let agent = awake(&app, &sandbox).await?;
    let mut files = Vec::new();
    for path in paths {
        files.push(look(&agent, &path).await?);
    }
    let export = Export {
        id: app.ids.next(),
        org: sandbox.org,
        workspace_id: sandbox.owner.workspace_id,
        sandbox_id: sandbox.id,
        label: body.label,
        filename,
        files,
        created_at: app.clock.now(sandbox.org),
    };
    let shown = record::show(&export);
    app.store
        .write(move |tx| {
            make_room(tx, &export)?;
            tx.insert(&export)?;
            exchange.commit(tx, &Answer::created(&shown, export.archive_path())?)
        })
        .await
}

/// Whether there is something, and what: one file, or a directory.
async fn look(agent: &Agent, path: &SafePath) -> ApiResult<Exported> {
    let size_bytes = match agent.read(path.as_str()).await {
        Ok((entry, _)) => Some(entry.size),
        Err(MachineError::Agent(failure)) if failure.code == FailureCode::IsDirectory => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Exported { path: path.to_string(), size_bytes })
}

fn make_room(tx: &Tx<'_>, export: &Export) -> ApiResult<()> {
    let all = newest(tx, export.org, export.sandbox_id)?;
    for oldest in all.iter().skip(MAX_EXPORTS as usize - 1) {
        tx.remove::<Export>(oldest.org, oldest.id)?;
    }
    Ok(())
}

/// The exports of a sandbox, newest first.
fn newest(view: &View<'_>, org: Uuid, sandbox: Uuid) -> ApiResult<Vec<Export>> {
    let filter = Filter { org, parent: Some(sandbox), ..Filter::default() };
    Ok(view.page::<Export>(&filter, Paging::Number { page: 1, size: MAX_EXPORTS })?.items)
}

/// The exports of a sandbox as clients read them, newest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn of(app: &App, sandbox: &Sandbox) -> ApiResult<Vec<Value>> {
    let (org, id) = (sandbox.org, sandbox.id);
    let all = app.store.read(move |view| newest(view, org, id)).await?;
    Ok(all.iter().map(record::show).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Option<Vec<String>> {
        let paths = paths.iter().map(|path| SafePath::parse(path).unwrap()).collect();
        checked(paths).map(|paths| paths.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_path_is_exported_once() {
        let all = names(&["a", "/workspace/a", "a/b", "ab", "/workspace/c"]);
        assert_eq!(all.unwrap(), ["/workspace/a", "/workspace/ab", "/workspace/c"]);
        assert_eq!(names(&[]), None);
        assert_eq!(names(&["/tmp", "/"]).unwrap(), ["/"]);
    }
}
