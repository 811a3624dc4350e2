//! Tickets for streams, for who cannot send a header: browsers, and the command line client on each reconnect.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::presented::Presented;
use crate::http::route::Access;
use crate::http::tickets::Purpose;
use crate::http::{Answer, ApiResult, Caller, Input, Route};

/// Seconds (`api-reference/events`).
const SHORT: i64 = 60;
/// Seconds (miosa-cli-go).
const LONG: i64 = 3600;

/// Every route of the family. `repeatable`: a ticket that was lost is as good as one that was never minted.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/auth/sse-ticket", short)
            .family("auth")
            .access(Access::AuthEndpoint)
            .repeatable(),
        Route::post("/sse/ticket", long).family("events").repeatable(),
    ]
}

async fn short(
    State(app): State<App>,
    caller: Caller,
    presented: Presented,
    Input(_): Input<Asked>,
) -> ApiResult<Answer> {
    mint(&app, &caller, presented, SHORT)
}

async fn long(
    State(app): State<App>,
    caller: Caller,
    presented: Presented,
    Input(_): Input<Asked>,
) -> ApiResult<Answer> {
    mint(&app, &caller, presented, LONG)
}

/// What a client may name. A ticket opens whatever its caller may see (miosa-python 2.19: ignored by the service, too).
#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(rename = "resource_type")]
    _resource_type: Option<Value>,
    #[serde(rename = "resource_id")]
    _resource_id: Option<Value>,
}

fn mint(app: &App, caller: &Caller, presented: Presented, seconds: i64) -> ApiResult<Answer> {
    let minted =
        app.tickets.mint(&app.clock, caller.org, presented, seconds, Purpose::AnyStream)?;
    Answer::ok(&json!({
        "ticket": minted.text, "expires_in": seconds, "expires_at": minted.expires_at,
    }))
}
