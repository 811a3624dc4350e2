//! `GET /workspaces/{id}/usage`: how long sandboxes ran, read off what happened. Nothing is estimated: what is not
//! measured is null and says so.

use std::collections::HashMap;

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::super::limits::{Usage, Whose};
use super::{Workspace, activity};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped};
use crate::store::View;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Events are read in parts of this many.
const PART: u32 = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    /// `7d`, `30d` and so on; everything where nothing is said.
    period: Option<String>,
    #[serde(alias = "period_start")]
    start: Option<Timestamp>,
    #[serde(alias = "period_end")]
    end: Option<Timestamp>,
}

impl Query {
    /// From when until when.
    ///
    /// # Errors
    /// 400 for a period that cannot be read.
    fn window(&self, made: Timestamp, now: Timestamp) -> ApiResult<(Timestamp, Timestamp)> {
        let end = self.end.unwrap_or(now).min(now);
        let Some(period) = self.period.as_deref().filter(|period| !period.is_empty()) else {
            return Ok((self.start.unwrap_or(made), end));
        };
        let wrong = || ApiError::parameter("period", "must be a number of days: 7d, 30d");
        let days: u32 = period.strip_suffix('d').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        Ok((Timestamp(end.0.saturating_sub(i64::from(days).saturating_mul(DAY_MS))), end))
    }
}

/// What the events of a time add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    ran_ms: i64,
    sandboxes: u64,
    snapshots: u64,
}

/// Adds events up, oldest first.
#[derive(Debug)]
struct Adding {
    start: Timestamp,
    end: Timestamp,
    /// Since when those run that run.
    running: HashMap<Uuid, Timestamp>,
    sum: Sum,
}

impl Adding {
    fn event(&mut self, kind: &str, subject: Uuid, at: Timestamp) {
        let within = (self.start..self.end).contains(&at);
        match kind {
            "sandbox.created" => self.sum.sandboxes += u64::from(within),
            "snapshot.created" => self.sum.snapshots += u64::from(within),
            "sandbox.ready" | "sandbox.resumed" => {
                self.running.entry(subject).or_insert(at);
            }
            "sandbox.paused" | "sandbox.destroyed" | "sandbox.error" => {
                if let Some(since) = self.running.remove(&subject) {
                    self.ran(since, at);
                }
            }
            _ => {}
        }
    }

    /// The part of a run that lies in the window.
    fn ran(&mut self, since: Timestamp, until: Timestamp) {
        let overlap = until.min(self.end).millis_since(since.max(self.start));
        self.sum.ran_ms = self.sum.ran_ms.saturating_add(overlap.max(0));
    }

    fn finish(mut self) -> Sum {
        for (_, since) in std::mem::take(&mut self.running) {
            self.ran(since, self.end);
        }
        self.sum
    }
}

/// The sum, and whether every event is still there to be added.
fn add_up(
    view: &View<'_>,
    workspace: &Workspace,
    (start, end): (Timestamp, Timestamp),
) -> ApiResult<(Sum, bool)> {
    let mut adding = Adding { start, end, running: HashMap::new(), sum: Sum::default() };
    let feed = activity::of(workspace);
    let (mut after, mut whole) = (0, true);
    loop {
        let part = view.feed(&feed, after, PART)?;
        whole &= !part.torn;
        for recorded in &part.events {
            let event = &recorded.event;
            adding.event(&event.kind, event.subject_id, event.at);
        }
        if part.events.len() < PART as usize {
            return Ok((adding.finish(), whole));
        }
        after = part.end;
    }
}

pub(super) async fn usage(
    State(app): State<App>,
    workspace: Scoped<Workspace>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let now = app.clock.now(workspace.org);
    let window = query.window(workspace.created_at, now)?;
    let workspace = workspace.0;
    let shown = app
        .store
        .read(move |view| -> ApiResult<_> {
            let (sum, whole) = add_up(view, &workspace, window)?;
            let usage = Usage::of(view, workspace.org, &Whose::Workspace(workspace.id))?;
            Ok(json!({
                "workspace_id": workspace.id,
                "period_start": window.0,
                "period_end": window.1,
                "sandbox_seconds": sum.ran_ms / 1000,
                "sandboxes_created": sum.sandboxes,
                "snapshots_created": sum.snapshots,
                "storage_bytes": usage.bytes,
                "running_sandboxes": usage.running,
                // Computers are not emulated.
                "computer_seconds": 0,
                "credit_cents": null,
                "measurement_status": {
                    // Older events make room for newer ones.
                    "sandbox_seconds": if whole { "measured" } else { "partial" },
                    "storage_bytes": "measured",
                    "credit_cents": "not_metered",
                },
            }))
        })
        .await?;
    Answer::ok(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_window_counts() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut adding = Adding {
            start: Timestamp(10_000),
            end: Timestamp(20_000),
            running: HashMap::new(),
            sum: Sum::default(),
        };
        for (kind, subject, at) in [
            ("sandbox.created", a, 5_000),
            ("sandbox.ready", a, 5_000),
            ("sandbox.paused", a, 12_000),    // 2 s in the window
            ("sandbox.destroyed", a, 13_000), // ran no more
            ("sandbox.created", b, 15_000),
            ("sandbox.ready", b, 15_000),
            ("sandbox.resumed", b, 16_000), // ran already
            ("snapshot.created", b, 30_000),
        ] {
            adding.event(kind, subject, Timestamp(at));
        }
        let sum = adding.finish();
        assert_eq!(sum, Sum { ran_ms: 7_000, sandboxes: 1, snapshots: 0 });
    }
}
