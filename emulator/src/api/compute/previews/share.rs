//! Share tokens: `miosa_pv_…`, shown once (`develop/previews`, browser tokens).

use axum::extract::State;
use serde_json::json;

use super::show::show;
use super::{Preview, Ttl, of, probe, url};
use crate::api::compute::previews::record::Share;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped};
use crate::ids;
use crate::proxy::address::ClientHost;

/// The default of miosa-python 2.19.
const DEFAULT_TTL: i64 = 3600;
/// How many letters of a token are shown later (`develop/previews`).
const PREFIX: usize = 12;
/// How many tokens of one preview work at a time; the oldest makes room.
const MOST: usize = 32;

/// Mints a token. Earlier ones keep working.
pub(super) async fn create(
    State(app): State<App>,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    preview: Scoped<Preview, 1>,
    Input(ttl): Input<Ttl>,
) -> ApiResult<CommittedAnswer> {
    let preview = of(&sandbox, preview)?;
    let seconds = ttl.seconds()?.unwrap_or(DEFAULT_TTL);
    let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
    let token = format!("miosa_pv_{secret}");
    let now = app.clock.now(preview.org);
    let share = Share {
        fingerprint: ids::fingerprint(&token),
        prefix: token.get(..PREFIX).unwrap_or(&token).to_owned(),
        expires_at: now.plus_seconds(seconds),
    };
    let listening = probe::listening(&app, &sandbox).await.of(preview.port);
    let url = url(&app, &host, &preview);
    app.store
        .write(move |tx| {
            let shared = tx.modify::<Preview>(preview.org, preview.id, |preview| {
                preview.shares.retain(|share| share.expires_at > now);
                let over = (preview.shares.len() + 1).saturating_sub(MOST);
                preview.shares.drain(..over);
                preview.shares.push(share);
                preview.updated_at = now;
            })?;
            let shared = shared.ok_or_else(|| ApiError::not_found("preview", preview.id))?;
            let shown = show(&shared, &url, now, listening);
            let share_url = format!("{url}?{}={token}", crate::proxy::TOKEN_PARAMETER);
            let answer = Answer::ok(&shown)?
                .beside("preview", shown)
                .beside("preview_token", json!(token))
                .beside("share_url", json!(share_url));
            exchange.commit(tx, &answer)
        })
        .await
}

/// Revokes every token of the preview.
pub(super) async fn revoke(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    preview: Scoped<Preview, 1>,
) -> ApiResult<CommittedAnswer> {
    let preview = of(&sandbox, preview)?;
    let now = app.clock.now(preview.org);
    app.store
        .write(move |tx| {
            tx.modify::<Preview>(preview.org, preview.id, |preview| {
                preview.shares.clear();
                preview.updated_at = now;
            })?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}
