//! `/_emulator/clock`: policy time, read and moved. Expiry, idle pause, rate windows and idempotency follow it.

use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Operator;
use crate::app::App;
use crate::clock::{Timestamp, duration};
use crate::http::{Answer, ApiError, ApiResult, Input};

/// Past this, a time on the wire is no longer one that clients can read.
const LAST: Timestamp = Timestamp(253_402_300_799_000); // 9999-12-31T23:59:59Z

/// How far, in one of two spellings.
#[derive(Debug, Deserialize)]
pub(super) struct Advance {
    /// Whole seconds.
    advance_seconds: Option<u64>,
    /// `90s`, `15m`, `24h`, `7d`, or several: `1h30m`.
    advance: Option<String>,
}

pub(super) async fn get(State(app): State<App>, operator: Operator) -> ApiResult<Answer> {
    show(&app, operator.org)
}

pub(super) async fn post(
    State(app): State<App>,
    operator: Operator,
    Input(body): Input<Advance>,
) -> ApiResult<Answer> {
    let by = match (body.advance_seconds, body.advance.as_deref()) {
        (Some(seconds), None) => Some(Duration::from_secs(seconds)),
        (None, Some(text)) => duration(text),
        _ => None,
    };
    let now = app.clock.now(operator.org);
    let room = Duration::from_millis(u64::try_from(LAST.millis_since(now)).unwrap_or(0));
    let by = by.filter(|by| *by <= room).ok_or_else(|| {
        ApiError::field(
            "advance",
            "say advance_seconds (a whole number) or advance (90s, 15m, 24h, 7d, 1h30m), up to the year 9999",
        )
    })?;
    app.clock.advance(operator.org, by);
    let (key, offset) =
        (clock_setting(operator.org), app.clock.offset_ms(operator.org).to_string());
    // Kept, or time would run backwards over a restart.
    app.store.write(move |tx| tx.set_setting(&key, &offset).map_err(ApiError::from)).await?;
    app.due.notify_one();
    show(&app, operator.org)
}

/// The setting that keeps an organization's offset.
fn clock_setting(org: Uuid) -> String {
    format!("clock:{org}")
}

fn show(app: &App, org: Uuid) -> ApiResult<Answer> {
    Answer::ok(&json!({
        "organization_id": org,
        "now": app.clock.now(org),
        "offset_seconds": app.clock.offset_ms(org) / 1000,
        "seeded": app.clock.seeded(),
    }))
}
