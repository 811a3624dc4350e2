//! `POST /bulk/policy/apply`: one change of policy for many workspaces or end users (miosa-python 2.19). All of them change,
//! or none does.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::ownership;
use super::{Tier, TierPolicy, may_manage};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Route, codes, validation};
use crate::store::View;

/// The most tiers that one request changes.
const MOST: usize = 1000;

pub(super) fn route() -> Route {
    Route::post("/bulk/policy/apply", apply).scope("projects:write").family("bulk")
}

/// Which kind of tier `ids` names.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Workspaces, by id or slug.
    Workspace,
    /// End users, by the client's own names.
    #[serde(alias = "user")]
    ExternalUser,
}

/// Whose policies change, and how.
#[derive(Debug, Deserialize)]
struct Apply {
    tier: Kind,
    policy: Map<String, Value>,
    ids: Option<Vec<String>>,
    filter: Option<Value>,
}

impl Kind {
    fn tier(self, view: &View<'_>, caller: &Caller, id: &str) -> ApiResult<Tier> {
        match self {
            Self::Workspace => ownership::named_workspace(view, caller.org, id)?
                .map(|workspace| Tier::Workspace(workspace.id))
                .ok_or_else(|| ApiError::not_found("workspace", id)),
            Self::ExternalUser => {
                validation::text("ids", id, 1, 255)?;
                Ok(Tier::User(id.to_owned()))
            }
        }
    }
}

async fn apply(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Apply>,
) -> ApiResult<CommittedAnswer> {
    if body.filter.is_some_and(|filter| !filter.is_null()) {
        return Err(ApiError::new(
            codes::not_emulated,
            "filter is not emulated: which conditions it takes is published nowhere. Send ids.",
        ));
    }
    let ids = body.ids.unwrap_or_default();
    if ids.is_empty() || ids.len() > MOST {
        return Err(ApiError::field("ids", format!("must name 1 to {MOST}")));
    }
    let now = app.clock.now(caller.org);
    app.store
        .write(move |tx| {
            for id in &ids {
                let tier = body.tier.tier(tx, &caller, id)?;
                may_manage(&caller, &tier)?;
                let policy = TierPolicy::read(tx, caller.org, &tier)?.merged(&body.policy)?;
                TierPolicy::write(tx, caller.org, tier, policy, now)?;
            }
            let applied = json!({ "applied": ids.len(), "ids": ids });
            exchange.commit(tx, &Answer::ok(&applied)?)
        })
        .await
}
