//! Login of a program without a browser of its own (`/auth/cli/*`: miosa-cli-go; the device flow of RFC 8628).
//!
//! The program shows a short code; a person opens `/_emulator/device` and approves it; the program, which asks once a
//! second, gets a new key. The key is made when it is fetched, so that no secret lies about until then. Answers are in the
//! flow's own shape: its client reads `error` as a word.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::api_keys::{Wanted, issue};
use super::organizations::{self, Organization};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::route::Access;
use crate::http::{Answer, ApiError, ApiResult, Input, Route, codes};
use crate::ids;
use crate::proxy::address::{ClientHost, origin};
use crate::store::{Filter, Keys, Paging, Resource, Tx};

/// Seconds that a code lives.
const LIFE: i64 = 600;
/// Seconds between two questions of the program.
const INTERVAL: u32 = 1;
/// How many may be under way: who starts one needs no credential.
const MOST: u32 = 200;
/// Letters that are hard to mistake and spell no words (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    Pending,
    Approved,
    Denied,
    Consumed,
}

/// A login under way. It belongs to the default organization until somebody approves it for theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceLogin {
    id: Uuid,
    org: Uuid,
    /// What the person types.
    user_code: String,
    /// The fingerprint of what the program holds.
    fingerprint: String,
    state: Progress,
    /// For which organization it was approved.
    approved_for: Option<Uuid>,
    expires_at: Timestamp,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Resource for DeviceLogin {
    const KIND: &'static str = "device_login";
    const PLURAL: &'static str = "device_logins";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            slug: Some(&self.user_code),
            external: Some(&self.fingerprint),
            state: match self.state {
                Progress::Pending => "pending",
                Progress::Approved => "approved",
                Progress::Denied => "denied",
                Progress::Consumed => "consumed",
            },
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}

/// The routes. A program that logs in has no credential yet; its code is what nobody can guess.
pub fn routes() -> Vec<Route> {
    [Route::post("/auth/cli/start", start), Route::post("/auth/cli/token", token)]
        .into_iter()
        .map(|route| route.family("auth").access(Access::Open))
        .collect()
}

fn user_code() -> ApiResult<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| ApiError::internal(error.to_string()))?;
    let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()));
    let mut code: String = letters.map(|letter| char::from(*letter)).collect();
    code.insert(4, '-');
    Ok(code)
}

/// Nothing is needed to begin.
#[derive(Debug, Default, Deserialize)]
struct Start {}

async fn start(
    State(app): State<App>,
    ClientHost(host): ClientHost,
    Input(Start {}): Input<Start>,
) -> ApiResult<Answer> {
    let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
    let user_code = user_code()?;
    let org = organizations::default_id();
    let now = app.clock.now(org);
    let login = DeviceLogin {
        id: app.ids.next(),
        org,
        user_code: user_code.clone(),
        fingerprint: ids::fingerprint(&secret),
        state: Progress::Pending,
        approved_for: None,
        expires_at: now.plus_seconds(LIFE),
        created_at: now,
        updated_at: now,
    };
    app.store.write(move |tx| insert(tx, &login, now)).await?;
    let verify = format!("{}/_emulator/device", origin(&app, &host));
    Ok(Answer::Bare {
        status: StatusCode::OK,
        value: json!({
            "device_code": secret,
            "user_code": user_code,
            "verification_uri": verify,
            "verification_uri_complete": format!("{verify}?user_code={user_code}"),
            "expires_in": LIFE,
            "interval": INTERVAL,
        }),
    })
}

/// Adds it, and forgets those that ended.
fn insert(tx: &Tx<'_>, login: &DeviceLogin, now: Timestamp) -> ApiResult<()> {
    let filter = Filter { org: login.org, ..Filter::default() };
    let known = tx.page::<DeviceLogin>(&filter, Paging::Number { page: 1, size: MOST })?.items;
    let mut living = 0;
    for other in &known {
        // For a while longer than it lives: whoever asks once more is told that it has ended.
        if other.expires_at.plus_seconds(LIFE) <= now {
            tx.remove::<DeviceLogin>(other.org, other.id)?;
        } else {
            living += 1;
        }
    }
    if living >= MOST {
        return Err(ApiError::new(codes::RATE_LIMITED, "Too many logins are under way.")
            .retry_after(u64::try_from(LIFE).unwrap_or_default()));
    }
    Ok(tx.insert(login)?)
}

/// Which login.
#[derive(Debug, Deserialize)]
struct Which {
    device_code: String,
}

/// Why there is no key (yet), in the flow's own words.
fn refused(status: u16, error: &str, why: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Answer::Bare {
        status,
        value: json!({ "error": error, "code": error, "error_description": why, "message": why }),
    }
}

async fn token(State(app): State<App>, Input(which): Input<Which>) -> ApiResult<Answer> {
    let fingerprint = ids::fingerprint(&which.device_code);
    let of_app = app.clone();
    app.store.write(move |tx| fetch(tx, &of_app, &fingerprint)).await
}

fn fetch(tx: &Tx<'_>, app: &App, fingerprint: &str) -> ApiResult<Answer> {
    let Some(login) = tx.by_external_any::<DeviceLogin>(fingerprint)? else {
        return Ok(refused(400, "invalid_grant", "No login has this device code."));
    };
    let now = app.clock.now(login.org);
    let organization = match (login.state, login.approved_for) {
        (Progress::Consumed, _) => {
            return Ok(refused(409, "already_consumed", "This login has its key already."));
        }
        (Progress::Denied, _) => return Ok(refused(403, "access_denied", "The login was denied.")),
        _ if login.expires_at <= now => {
            return Ok(refused(410, "expired_token", "The code has expired. Begin anew."));
        }
        (Progress::Approved, Some(org)) => tx.get_any::<Organization>(org)?,
        (Progress::Pending | Progress::Approved, _) => None,
    };
    let Some(organization) = organization else {
        return Ok(refused(428, "authorization_pending", "Nobody has approved the login yet."));
    };
    let wanted = Wanted { name: format!("CLI login {}", login.user_code), ..Wanted::default() };
    let (key, secret) = issue(tx, app, organization.id, wanted, app.clock.now(organization.id))?;
    tx.modify::<DeviceLogin>(login.org, login.id, |login| {
        login.state = Progress::Consumed;
        login.updated_at = now;
    })?;
    Ok(Answer::Bare {
        status: StatusCode::OK,
        value: json!({
            "api_key": secret,
            "key": { "id": key.id, "name": key.name, "key_prefix": key.prefix },
            "tenant": {
                "id": organization.id, "slug": organization.slug, "name": organization.name,
            },
        }),
    })
}

/// Approves or denies the login that shows this code, for an organization. The code may be typed in small letters, and
/// without its dash.
///
/// # Errors
/// 404 when no such login waits; 409 when it was decided already.
pub async fn decide(app: &App, org: Uuid, typed: &str, approve: bool) -> ApiResult<Value> {
    let mut code: String =
        typed.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).collect();
    if code.len() == 8 {
        code.insert(4, '-');
    }
    let now = app.clock.now(organizations::default_id());
    app.store
        .write(move |tx| {
            let login = tx
                .by_slug_any::<DeviceLogin>(&code)?
                .filter(|login| login.expires_at > now)
                .ok_or_else(|| ApiError::not_found("login", &code))?;
            if login.state != Progress::Pending {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    "This login has been decided already.",
                ));
            }
            let state = if approve { Progress::Approved } else { Progress::Denied };
            tx.modify::<DeviceLogin>(login.org, login.id, |login| {
                login.state = state;
                login.approved_for = approve.then_some(org);
                login.updated_at = now;
            })?;
            Ok(json!({ "user_code": code, "state": state }))
        })
        .await
}
