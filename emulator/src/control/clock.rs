//! `/_emulator/clock`: policy time, read and moved. Expiry, idle pause, rate windows and idempotency follow it.

use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Operator;
use crate::app::App;
use crate::clock::Timestamp;
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

/// `1h30m` as a duration; `None` for anything else.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    for c in text.trim().chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && !text.trim().is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_nonsense_is_not() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(604_800)));
        for text in ["", "h", "3", "3x", "-1s", "1.5h", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
