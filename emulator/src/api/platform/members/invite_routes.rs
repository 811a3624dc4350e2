//! `/workspaces/{id}/invites`, and `/workspace-invites/{token}` for whoever was invited.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::organizations::Organization;
use super::super::workspaces::{Workspace, note};
use super::{Invite, Role, User, roster};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::paths::BASE;
use crate::http::route::Access;
use crate::http::scoped::PathValues;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Route, Scoped, codes, validation,
};
use crate::ids;
use crate::proxy::address::{self, ClientHost};
use crate::store::{Filter, Tx, View};

/// How long an invite can be accepted: a week.
const LIFE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Every route of invites. `repeatable`: each change is one transaction with its answer.
pub(super) fn routes() -> Vec<Route> {
    [
        Route::get("/workspaces/{id}/invites", list).scope("projects:read"),
        Route::post("/workspaces/{id}/invites", create).scope("projects:write"),
        Route::delete("/workspaces/{id}/invites/{invite_id}", revoke).scope("projects:write"),
        // The token is the credential of who has none yet.
        Route::get("/workspace-invites/{token}", preview).access(Access::Open),
        Route::post("/workspace-invites/{token}/accept", accept),
    ]
    .into_iter()
    .map(|route| route.family("workspaces").repeatable())
    .collect()
}

/// An address, as far as it can be told from its looks.
fn mail_address(email: &str) -> ApiResult<String> {
    validation::text("email", email, 3, 254)?;
    let email = email.trim().to_lowercase();
    let whole = email.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && !email.contains(char::is_whitespace)
    });
    if whole { Ok(email) } else { Err(ApiError::field("email", "must be an address: name@host")) }
}

#[derive(Debug, Deserialize)]
struct Create {
    email: String,
    role: Option<String>,
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    workspace: Scoped<Workspace>,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    let role = Role::named(body.role.as_deref())?;
    send(app, caller, exchange, host, workspace.0, &body.email, role).await
}

/// Takes in who is of the organization already, and makes an invite for anybody else: it takes the place of one that
/// is pending for the same address.
pub(super) async fn send(
    app: App,
    caller: Caller,
    exchange: ExchangeRef,
    host: String,
    workspace: Workspace,
    email: &str,
    role: Role,
) -> ApiResult<CommittedAnswer> {
    let email = mail_address(email)?;
    let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
    let token = format!("miv_{secret}");
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            if let Some(user) = User::by_email(tx, caller.org, &email)? {
                let by = Some(caller.user_id);
                let member = roster::add(tx, &workspace, &user, role, by, now)?;
                let shown = member.show(Some(&user));
                note(tx, &app, &workspace, "workspace.member_added", &shown)?;
                let location = format!("/workspaces/{}/members/{}", workspace.id, user.id);
                let answer = Answer::created(&shown, location)?.beside("type", "added".into());
                return exchange.commit(tx, &answer);
            }
            for earlier in tx.every::<Invite>(&pending(&workspace))? {
                if earlier.email == email {
                    tx.update(&Invite { revoked_at: Some(now), updated_at: now, ..earlier })?;
                }
            }
            let invite = Invite {
                id: app.ids.next(),
                org: caller.org,
                workspace_id: workspace.id,
                email,
                role,
                fingerprint: ids::fingerprint(&token),
                invited_by: caller.user_id,
                expires_at: now.plus_seconds(LIFE_SECONDS),
                accepted_at: None,
                revoked_at: None,
                created_at: now,
                updated_at: now,
            };
            tx.insert(&invite)?;
            let mut shown = invite.show(now);
            note(tx, &app, &workspace, "workspace.invited", &shown)?;
            if let Value::Object(shown) = &mut shown {
                let origin = address::origin(&app, &host);
                let url = format!("{origin}{BASE}/workspace-invites/{token}");
                shown.insert("invite_url".into(), url.into());
                shown.insert("token".into(), token.into());
            }
            let location = format!("/workspaces/{}/invites/{}", workspace.id, invite.id);
            let answer = Answer::created(&shown, location)?.beside("type", "invited".into());
            exchange.commit(tx, &answer)
        })
        .await
}

fn pending(workspace: &Workspace) -> Filter {
    Filter {
        org: workspace.org,
        parent: Some(workspace.id),
        states: vec!["pending".to_owned()],
        ..Filter::default()
    }
}

async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    pages: Pages,
) -> ApiResult<Answer> {
    let now = app.clock.now(workspace.org);
    let listing = pages.read::<Invite>(&app.store, pending(&workspace), &exchange).await?;
    Answer::list(listing, |invite| invite.show(now))
}

async fn revoke(
    State(app): State<App>,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    invite: Scoped<Invite, 1>,
) -> ApiResult<CommittedAnswer> {
    let (workspace, id) = (workspace.0, invite.id);
    let now = app.clock.now(workspace.org);
    app.clone()
        .store
        .write(move |tx| {
            let invite = tx
                .get::<Invite>(workspace.org, id)?
                .filter(|invite| invite.workspace_id == workspace.id)
                .ok_or_else(|| ApiError::not_found("invite", id))?;
            if invite.accepted_at.is_some() {
                return Err(accepted());
            }
            let gone = json!({
                "ok": true,
                "success": true,
                "deleted": true,
                "revoked": true,
                "id": id,
                "invite_id": id,
                "workspace_id": workspace.id,
            });
            // Once more changes nothing.
            if invite.revoked_at.is_none() {
                tx.update(&Invite { revoked_at: Some(now), updated_at: now, ..invite })?;
                note(tx, &app, &workspace, "workspace.invite_revoked", &gone)?;
            }
            exchange.commit(tx, &Answer::ok(&gone)?)
        })
        .await
}

fn accepted() -> ApiError {
    ApiError::new(codes::ALREADY_ACCEPTED, "This invite has been accepted.")
}

/// The invite with this token, whichever organization it is to.
fn by_token(view: &View<'_>, token: &str) -> ApiResult<Invite> {
    view.by_external_any::<Invite>(&ids::fingerprint(token))?.ok_or_else(|| {
        ApiError::new(codes::not_found("workspace_invite"), "There is no invite with this token.")
    })
}

async fn preview(State(app): State<App>, path: PathValues) -> ApiResult<Answer> {
    let token = path.at(0).to_owned();
    let (invite, workspace, organization) = app
        .store
        .read(move |view| -> ApiResult<_> {
            let invite = by_token(view, &token)?;
            let workspace = view.get::<Workspace>(invite.org, invite.workspace_id)?;
            Ok((invite.clone(), workspace, view.get_any::<Organization>(invite.org)?))
        })
        .await?;
    let now = app.clock.now(invite.org);
    Answer::ok(&json!({
        "workspace_name": workspace.map(|workspace| workspace.name),
        "tenant_name": organization.map(|organization| organization.name),
        "role": invite.role,
        "email": invite.email,
        "expires_at": invite.expires_at,
        "expired": invite.is_expired(now),
        "revoked": invite.revoked_at.is_some(),
        "accepted": invite.accepted_at.is_some(),
    }))
}

async fn accept(
    State(app): State<App>,
    exchange: ExchangeRef,
    path: PathValues,
) -> ApiResult<CommittedAnswer> {
    app.clone()
        .store
        .write(move |tx| {
            let invite = by_token(tx, path.at(0))?;
            let now = app.clock.now(invite.org);
            acceptable(&invite, now)?;
            let missing = || ApiError::not_found("workspace", invite.workspace_id);
            let workspace =
                tx.get::<Workspace>(invite.org, invite.workspace_id)?.ok_or_else(missing)?;
            let user = person(tx, &app, &invite, now)?;
            let by = Some(invite.invited_by);
            let member = roster::add(tx, &workspace, &user, invite.role, by, now)?;
            tx.update(&Invite { accepted_at: Some(now), updated_at: now, ..invite.clone() })?;
            note(tx, &app, &workspace, "workspace.invite_accepted", &member.show(Some(&user)))?;
            let answer = Answer::ok(&json!({
                "accepted": true,
                "workspace_id": workspace.id,
                "tenant_id": invite.org,
                "user_id": user.id,
                "role": invite.role,
            }))?;
            exchange.commit(tx, &answer)
        })
        .await
}

fn acceptable(invite: &Invite, now: Timestamp) -> ApiResult<()> {
    if invite.accepted_at.is_some() {
        return Err(accepted());
    }
    if invite.revoked_at.is_some() {
        return Err(ApiError::new(codes::REVOKED, "This invite has been taken back."));
    }
    if invite.is_expired(now) {
        return Err(ApiError::new(
            codes::EXPIRED,
            format!("This invite could be accepted until {}.", invite.expires_at),
        ));
    }
    Ok(())
}

/// Who was invited, as a person of the organization from now on.
fn person(tx: &Tx<'_>, app: &App, invite: &Invite, now: Timestamp) -> ApiResult<User> {
    if let Some(known) = User::by_email(tx, invite.org, &invite.email)? {
        return Ok(known);
    }
    let user = User {
        id: app.ids.next(),
        org: invite.org,
        email: invite.email.clone(),
        name: None,
        created_at: now,
    };
    tx.insert(&user)?;
    Ok(user)
}
