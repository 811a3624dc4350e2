//! Every snapshot that the caller may see and no name keeps: flat, by machine, and one with what depends on it
//! (miosa-python 2.19, snapshot history).

use axum::extract::{RawQuery, State};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::record::PINNED;
use super::{Snapshot, dependents};
use crate::app::App;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Pages, Params, Scoped};
use crate::store::{Filter, Paging, View};

/// How many a part has unless asked otherwise, and at most.
const DEFAULT: u32 = 50;
const MOST: u32 = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    /// Of this machine.
    resource_id: Option<String>,
    /// In this workspace.
    workspace_id: Option<String>,
    /// Whose id, comment, or machine's name or id contains this, whatever its case.
    q: Option<String>,
}

impl Which {
    /// `None` when the caller can see nothing of it.
    fn filter(self, caller: &Caller) -> ApiResult<Option<Filter>> {
        let id = |name: &str, text: Option<String>| {
            text.map(|text| {
                Uuid::parse_str(&text).map_err(|_| ApiError::parameter(name, "must be a UUID"))
            })
            .transpose()
        };
        let asked = id("workspace_id", self.workspace_id)?;
        if let (Some(asked), Some(bound)) = (asked, caller.bound_workspace)
            && asked != bound
        {
            return Ok(None);
        }
        Ok(Some(Filter {
            org: caller.org,
            workspace: asked.or(caller.bound_workspace),
            parent: id("resource_id", self.resource_id)?,
            search: self.q.filter(|text| !text.is_empty()),
            not_states: vec![PINNED],
            ..Filter::default()
        }))
    }
}

/// `GET /snapshots`.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    RawQuery(query): RawQuery,
    Params(which): Params<Which>,
) -> ApiResult<Answer> {
    let pages = Pages::within(&query.unwrap_or_default(), DEFAULT, MOST)?;
    let Some(filter) = which.filter(&caller)? else {
        return Ok(Answer::whole(Vec::new(), "snapshots"));
    };
    let listing = pages.read::<Snapshot>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |snapshot| snapshot.show())
}

/// `GET /snapshots/groups`: one for each machine, the one with the newest snapshot first.
pub(super) async fn groups(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    Params(which): Params<Which>,
) -> ApiResult<Answer> {
    let pages = Pages::within(&query.unwrap_or_default(), DEFAULT, MOST)?;
    let size = pages.paging.size();
    let offset = match pages.paging {
        Paging::Number { page, size } => u64::from(page.saturating_sub(1)) * u64::from(size),
        Paging::Offset { offset, .. } => offset,
        Paging::Cursor { .. } => {
            return Err(ApiError::parameter("cursor", "groups have `page` and `offset` only"));
        }
    };
    let groups = match which.filter(&caller)? {
        Some(filter) => app.store.read(move |view| grouped(view, &filter)).await?,
        None => Vec::new(),
    };
    let total = groups.len() as u64;
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let items: Vec<Value> = groups.into_iter().skip(from).take(size as usize).collect();
    let mut answer = Answer::whole(items, "groups");
    if let Answer::List { total: all, page, size: part, next_cursor, .. } = &mut answer {
        (*all, *page, *part) = (total, pages.paging.page(), size);
        *next_cursor = None;
    }
    Ok(answer)
}

fn grouped(view: &View<'_>, filter: &Filter) -> ApiResult<Vec<Value>> {
    struct Group {
        newest: Snapshot,
        count: u64,
        bytes: u64,
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut before = None;
    loop {
        let part = view.page::<Snapshot>(filter, Paging::Cursor { before, size: MOST })?;
        for snapshot in part.items {
            let bytes = snapshot.size_bytes.unwrap_or(0);
            let of = groups.iter_mut().find(|group| group.newest.sandbox_id == snapshot.sandbox_id);
            match of {
                Some(group) => {
                    group.count += 1;
                    group.bytes += bytes;
                }
                None => groups.push(Group { newest: snapshot, count: 1, bytes }),
            }
        }
        before = part.next_cursor;
        if before.is_none() {
            break;
        }
    }
    Ok(groups
        .into_iter()
        .map(|Group { newest, count, bytes }| {
            json!({
                "resource_id": newest.sandbox_id,
                "resource": newest.resource(),
                "workspace_id": newest.owner.workspace_id,
                "snapshot_count": count,
                "count": count,
                "size_bytes": bytes,
                "last_snapshot_at": newest.created_at,
                "latest_snapshot": newest.show(),
            })
        })
        .collect())
}

/// `GET /snapshots/{id}` (miosa-cli-go), with what depends on it (miosa-python 2.19).
pub(super) async fn get(State(app): State<App>, snapshot: Scoped<Snapshot>) -> ApiResult<Answer> {
    let shown = snapshot.show();
    let found = app.store.read(move |view| dependents::all(view, &snapshot)).await?;
    Ok(Answer::ok(&shown)?.beside("dependents", found.into()))
}
