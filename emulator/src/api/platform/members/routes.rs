//! `/workspaces/{id}/members`.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::super::workspaces::{Workspace, note};
use super::{Member, Role, User, invite_routes, roster};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Pages, Route, Scoped, codes};
use crate::proxy::address::ClientHost;
use crate::store::Paging;

/// Every route of members. `repeatable`: each change is one transaction with its answer.
pub(super) fn routes() -> Vec<Route> {
    let write = "projects:write";
    [
        Route::get("/workspaces/{id}/members", list).scope("projects:read"),
        Route::post("/workspaces/{id}/members", add).scope(write),
        Route::patch("/workspaces/{id}/members/{user_id}", change).scope(write),
        Route::patch("/workspaces/{id}/members/{member_id}/role", change).scope(write),
        Route::delete("/workspaces/{id}/members/{user_id}", remove).scope(write),
    ]
    .into_iter()
    .map(|route| route.family("workspaces").repeatable())
    .collect()
}

async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    pages: Pages,
) -> ApiResult<Answer> {
    let of_read = workspace.0.clone();
    let (listing, users) = app
        .store
        .read(move |view| -> ApiResult<_> {
            let mut listing = view.page::<Member>(&roster::filter(&of_read), pages.paging)?;
            if listing.total == 0 {
                let first = match pages.paging {
                    Paging::Number { page, .. } => page == 1,
                    Paging::Offset { offset, .. } => offset == 0,
                    Paging::Cursor { before, .. } => before.is_none(),
                };
                listing.items = first.then(|| roster::founder(&of_read)).into_iter().collect();
                listing.total = 1;
            }
            let mut users = Vec::new();
            for member in &listing.items {
                users.extend(User::by_id(view, member.org, member.user_id)?);
            }
            Ok((listing, users))
        })
        .await?;
    exchange.flag_left_out(pages, &listing);
    Answer::list(listing, |member| member.show(users.iter().find(|user| user.id == member.user_id)))
}

#[derive(Debug, Deserialize)]
struct Add {
    user_id: Option<String>,
    email: Option<String>,
    role: Option<String>,
}

/// By id a person of the organization; by address one who is there, and else an invite (miosa-python 2.19:
/// `members.invite`).
async fn add(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    workspace: Scoped<Workspace>,
    Input(body): Input<Add>,
) -> ApiResult<CommittedAnswer> {
    let role = Role::named(body.role.as_deref())?;
    let named = match (body.user_id, body.email) {
        (Some(id), _) => id,
        (None, Some(email)) => {
            return invite_routes::send(app, caller, exchange, host, workspace.0, &email, role)
                .await;
        }
        (None, None) => return Err(ApiError::field("user_id", "say user_id or email")),
    };
    let now = app.clock.now(caller.org);
    let workspace = workspace.0;
    app.clone()
        .store
        .write(move |tx| {
            let user = match Uuid::parse_str(&named) {
                Ok(id) => User::by_id(tx, caller.org, id)?,
                Err(_) => None,
            };
            let user = user.ok_or_else(|| {
                ApiError::new(
                    codes::NOT_TENANT_MEMBER,
                    format!(
                        "user_id: {named} is nobody in this organization. Invite them by address."
                    ),
                )
            })?;
            let by = Some(caller.user_id);
            let member = roster::add(tx, &workspace, &user, role, by, now)?;
            let shown = member.show(Some(&user));
            note(tx, &app, &workspace, "workspace.member_added", &shown)?;
            let location = format!("/workspaces/{}/members/{}", workspace.id, user.id);
            exchange.commit(tx, &Answer::created(&shown, location)?)
        })
        .await
}

#[derive(Debug, Deserialize)]
struct Change {
    role: String,
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
    workspace: Scoped<Workspace>,
    Input(body): Input<Change>,
) -> ApiResult<CommittedAnswer> {
    let role = Role::named(Some(&body.role))?;
    let now = app.clock.now(caller.org);
    let workspace = workspace.0;
    app.clone()
        .store
        .write(move |tx| {
            roster::found(tx, &workspace)?;
            let member = roster::named(tx, &workspace, path.at(1))?;
            if role != Role::Owner {
                roster::may_go(tx, &workspace, &member)?;
            }
            let changed = Member { role, updated_at: now, ..member };
            tx.update(&changed)?;
            let user = User::by_id(tx, caller.org, changed.user_id)?;
            let shown = changed.show(user.as_ref());
            note(tx, &app, &workspace, "workspace.member_changed", &shown)?;
            exchange.commit(tx, &Answer::ok(&shown)?)
        })
        .await
}

async fn remove(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
    workspace: Scoped<Workspace>,
) -> ApiResult<CommittedAnswer> {
    let workspace = workspace.0;
    app.clone()
        .store
        .write(move |tx| {
            roster::found(tx, &workspace)?;
            let member = roster::named(tx, &workspace, path.at(1))?;
            roster::may_go(tx, &workspace, &member)?;
            tx.remove::<Member>(workspace.org, member.id)?;
            let gone = json!({
                "ok": true,
                "success": true,
                "deleted": true,
                "id": member.id,
                "user_id": member.user_id,
                "workspace_id": workspace.id,
            });
            note(tx, &app, &workspace, "workspace.member_removed", &gone)?;
            exchange.commit(tx, &Answer::ok(&gone)?)
        })
        .await
}
