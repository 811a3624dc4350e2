//! `POST /workspaces/{id}/cleanup` (miosa-cli): removes what passes some filters. Nothing is removed without `force`, so
//! that whoever forgets it sees what would be.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Workspace;
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState, power};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped, codes, validation};
use crate::store::Filter;

/// No request removes more of a type.
const MOST: usize = 200;

/// Types of which this emulator has none (miosa-cli).
const ABSENT: [&str; 9] = [
    "deployments",
    "apps",
    "domains",
    "databases",
    "storage",
    "secrets",
    "functions",
    "cron",
    "computers",
];

/// Which ones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cleanup {
    /// One, or several with commas; sandboxes where none is named.
    resource_type: Option<String>,
    state: Option<String>,
    name_prefix: Option<String>,
    /// A tag, or `key=value`.
    tag: Option<String>,
    /// Made this long ago: `30m`, `2h`.
    older_than: Option<String>,
    limit: Option<usize>,
    dry_run: bool,
    force: bool,
}

impl Cleanup {
    /// Whether sandboxes are meant.
    ///
    /// # Errors
    /// 422 for a type that nobody knows, 501 for one that is not removed here.
    fn means_sandboxes(&self) -> ApiResult<bool> {
        let Some(types) = &self.resource_type else { return Ok(true) };
        let mut sandboxes = false;
        for named in types.split(',').map(|named| named.trim().to_lowercase()) {
            match named.as_str() {
                "sandboxes" | "sandbox" => sandboxes = true,
                "snapshots" | "checkpoints" => {
                    return Err(ApiError::new(
                        codes::not_emulated,
                        "Snapshots are not cleaned up by workspace; remove them with DELETE /snapshots/{id}.",
                    ));
                }
                absent if ABSENT.contains(&absent) => {}
                _ => {
                    return Err(ApiError::field(
                        "resource_type",
                        format!("{named:?} is no type of resource"),
                    ));
                }
            }
        }
        Ok(sandboxes)
    }

    /// Milliseconds that a resource must be old at least.
    fn age_ms(&self) -> ApiResult<i64> {
        let Some(text) = &self.older_than else { return Ok(0) };
        let wrong = || ApiError::field("older_than", "must be a number with s, m, h or d: 30m, 2h");
        let (number, unit) =
            text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let unit: i64 = match unit {
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        Ok(i64::from(number).saturating_mul(unit))
    }

    fn matches(&self, sandbox: &Sandbox, made_before: Timestamp) -> bool {
        let state = self.state.as_deref().is_none_or(|state| state == sandbox.state.as_str());
        let named = sandbox.name.as_deref().unwrap_or(&sandbox.slug);
        let prefix = self.name_prefix.as_deref().is_none_or(|prefix| named.starts_with(prefix));
        let tag = self.tag.as_deref().is_none_or(|tag| {
            sandbox
                .tags
                .iter()
                .any(|has| has == tag || has.split_once('=').is_some_and(|(key, _)| key == tag))
        });
        state && prefix && tag && sandbox.created_at <= made_before
    }
}

pub(super) async fn cleanup(
    State(app): State<App>,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    Input(body): Input<Cleanup>,
) -> ApiResult<CommittedAnswer> {
    let limit = body.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::field("limit", format!("must be 1 to {MOST}")));
    }
    if let Some(state) = &body.state {
        validation::text("state", state, 1, 32)?;
    }
    let now = app.clock.now(workspace.org);
    let made_before = Timestamp(now.0.saturating_sub(body.age_ms()?));
    let removes = body.force && !body.dry_run;
    let found = if body.means_sandboxes()? {
        let filter = Filter {
            org: workspace.org,
            workspace: Some(workspace.id),
            not_states: vec![SandboxState::Destroyed.as_str()],
            ..Filter::default()
        };
        let all =
            app.store.read(move |view| ApiResult::Ok(view.every::<Sandbox>(&filter)?)).await?;
        let found = all.into_iter().filter(|sandbox| body.matches(sandbox, made_before));
        found.take(limit).collect()
    } else {
        Vec::new()
    };
    let matched: Vec<Value> = found.iter().map(show).collect();
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for sandbox in found.iter().filter(|_| removes) {
        match power::remove(&app, (sandbox.org, sandbox.id), |_| Ok(())).await {
            Ok(()) => deleted.push(show(sandbox)),
            // Somebody else was quicker.
            Err(error) if error.code.status == 404 => {}
            Err(error) => failed.push(json!({
                "type": "sandbox", "id": sandbox.id, "code": error.code.name, "message": error.message,
            })),
        }
    }
    let answer = Answer::ok(&json!({
        "workspace_id": workspace.id,
        "dry_run": !removes,
        "matched": matched,
        "matched_count": matched.len(),
        "deleted": deleted,
        "deleted_count": deleted.len(),
        "failed": failed,
    }))?;
    app.store.write(move |tx| exchange.commit(tx, &answer)).await
}

fn show(sandbox: &Sandbox) -> Value {
    json!({
        "type": "sandbox",
        "id": sandbox.id,
        "name": sandbox.name.as_ref().unwrap_or(&sandbox.slug),
        "state": sandbox.state.as_str(),
        "created_at": sandbox.created_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_its_unit() {
        let age = |text: &str| {
            Cleanup { older_than: Some(text.to_owned()), ..Cleanup::default() }.age_ms()
        };
        assert_eq!((age("30m").unwrap(), age("2h").unwrap()), (1_800_000, 7_200_000));
        for bad in ["", "h", "2", "2w", "-1h", "1.5h", "2ä"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_that_cannot_be_here_match_nothing_and_unknown_ones_are_refused() {
        let means = |text: &str| {
            Cleanup { resource_type: Some(text.to_owned()), ..Cleanup::default() }.means_sandboxes()
        };
        assert!(Cleanup::default().means_sandboxes().unwrap());
        assert!(means("databases, sandboxes").unwrap());
        assert!(!means("databases").unwrap());
        assert_eq!(means("rockets").unwrap_err().code, codes::VALIDATION_FAILED);
    }
}
