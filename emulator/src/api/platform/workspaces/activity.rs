//! `GET /workspaces/{id}/activity` (miosa-cli): what happened in a workspace, newest first.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use super::Workspace;
use crate::app::App;
use crate::http::answer::to_value;
use crate::http::{Answer, ApiResult, Pages, Scoped};
use crate::store::feed::Feed;
use crate::store::outbox::Event;
use crate::store::{Paging, Tx};

/// Writes into the transaction that makes it true that something happened to a workspace.
pub(in super::super) fn note(
    tx: &Tx<'_>,
    app: &App,
    workspace: &Workspace,
    kind: &str,
    data: &impl Serialize,
) -> ApiResult<()> {
    tx.emit(&Event {
        seq: 0,
        id: app.ids.next(),
        org: workspace.org,
        workspace: Some(workspace.id),
        kind: kind.to_owned(),
        subject_kind: "workspace".to_owned(),
        subject_id: workspace.id,
        at: app.clock.now(workspace.org),
        data: to_value(data)?,
    })?;
    Ok(())
}

/// The words of an event in a list that people read.
fn show(event: &Event) -> Value {
    json!({
        "id": event.id,
        "type": event.kind,
        "resource_type": event.subject_kind,
        "resource_id": event.subject_id,
        "workspace_id": event.workspace,
        "data": event.data,
        "ts": event.at,
        "created_at": event.at,
    })
}

pub(super) async fn list(
    State(app): State<App>,
    workspace: Scoped<Workspace>,
    pages: Pages,
) -> ApiResult<Answer> {
    let feed = of(&workspace);
    let size = pages.paging.size();
    let (mut events, total) = app
        .store
        .read(move |view| -> ApiResult<_> {
            let (skip, before) = match pages.paging {
                Paging::Number { page, size } => {
                    (u64::from(page.saturating_sub(1)) * u64::from(size), None)
                }
                Paging::Offset { offset, .. } => (offset, None),
                Paging::Cursor { before, .. } => (0, before),
            };
            // Lasting events are capped, so that passing over the newer ones is cheap. One more than asked tells
            // whether a next part exists.
            let reach = u32::try_from(skip).unwrap_or(u32::MAX).saturating_add(size + 1);
            let mut events = view.feed_tail(&feed, before, reach)?;
            events.reverse();
            let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(events.len());
            Ok((events.split_off(skip), view.feed_count(&feed)?))
        })
        .await?;
    let more = events.len() > size as usize;
    events.truncate(size as usize);
    Ok(Answer::List {
        items: events.iter().map(|recorded| show(&recorded.event)).collect(),
        plural: "activity",
        total,
        page: pages.paging.page(),
        size,
        next_cursor: events.last().filter(|_| more).map(|last| last.event.seq.to_string()),
        meta: serde_json::Map::new(),
    })
}

/// What happened in a workspace.
pub(super) fn of(workspace: &Workspace) -> Feed {
    Feed { org: workspace.org, workspace: Some(workspace.id), ..Feed::default() }
}
