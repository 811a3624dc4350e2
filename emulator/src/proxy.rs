//! Previews: from a host name, a loopback port or a path into a machine, and the way out of one.
//!
//! A preview has three addresses, and all of them are served at any time: `<port>-<slug>.localhost` (names that
//! browsers and curl resolve), a loopback port of its own (what works for every program on this computer) and the
//! path `/_preview/<slug>/<port>/` (what works through one published port). Which of them an answer names follows
//! from the `Host` of the request that it answers: see [`address`].
//!
//! Where a request may go is asked of the store each time; the table of [`ports`] only says which preview a place
//! belongs to. So a preview or sandbox that is gone is 404 at once, whoever removed it.

mod access;
pub mod address;
pub mod egress;
mod listener;
pub mod ports;
mod refusal;
mod relay;
mod rewrite;
mod upstream;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, Request, StatusCode, header};
use uuid::Uuid;

use crate::api::compute::previews::Preview;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::MachineError;
use crate::store::StoreError;

pub use access::TOKEN_PARAMETER;
pub use ports::PreviewPorts;

/// A port of a sandbox.
pub type Place = (Uuid, u16);

/// What a request to a preview means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewTarget {
    /// The place, when there is a preview of it.
    place: Option<Place>,
    /// As the client named it, for the error.
    name: String,
    /// The part of the path that is ours (`/_preview/<slug>/<port>`); the application sees what follows it.
    prefix: Option<String>,
}

impl PreviewTarget {
    /// The preview that a loopback port belongs to.
    fn of_listener(place: Place) -> Self {
        Self { place: Some(place), name: format!("port {}", place.1), prefix: None }
    }
}

/// The preview that a request's host or path names; `None` for the API's own.
pub fn target(app: &App, request: &Request<Body>) -> Option<PreviewTarget> {
    let host = address::host_of(request.headers(), request.uri());
    if let Some((label, port)) = address::in_host(&host) {
        let place = app.previews.find(label, port);
        return Some(PreviewTarget { place, name: host, prefix: None });
    }
    let (label, port, prefix) = address::in_path(request.uri().path())?;
    let place = port.and_then(|port| app.previews.find(label, port));
    Some(PreviewTarget { place, name: prefix.to_owned(), prefix: Some(prefix.to_owned()) })
}

/// Passes the request into the machine. What goes wrong on the way is told in the API's error shape, or as a
/// small page to a browser.
pub async fn forward(app: App, target: PreviewTarget, request: Request<Body>) -> Response {
    let asked = refusal::Asked::of(&app, &request);
    match pass(&app, &target, request).await {
        Ok(response) => response,
        Err(error) => asked.refuse(error),
    }
}

async fn pass(
    app: &App,
    target: &PreviewTarget,
    mut request: Request<Body>,
) -> ApiResult<Response> {
    let host = address::host_of(request.headers(), request.uri());
    // Each form of address passes here, and a name that somebody else controls could stand before any of them.
    if !app.config.allowed.host(&host) {
        return Err(ApiError::new(
            codes::HOST_NOT_ALLOWED,
            format!("The host {host:?} is not allowed."),
        ));
    }
    if request.method() == Method::CONNECT {
        let mut error = ApiError::new(codes::METHOD_NOT_ALLOWED, "A preview is no proxy.");
        error.allow = Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned());
        return Err(error);
    }
    let (preview, sandbox) = find(app, target).await?;
    if let Some(redirect) = to_directory(target, &request) {
        return Ok(redirect);
    }
    let way = rewrite::Way {
        port: preview.port,
        host,
        prefix: target.prefix.clone(),
        secure: app.config.public_url.as_deref().is_some_and(|url| url.starts_with("https:")),
    };
    let pass = access::admit(app, &preview, &mut request).await?;
    let agent = awake(app, &sandbox).await?;
    let held = upstream::Held {
        _active: hold(app, &sandbox),
        ended: app.previews.ended((sandbox.id, preview.port)).ok_or_else(|| missing(target))?,
    };
    let tunnel =
        agent.tcp(preview.port).await.map_err(|error| not_listening(preview.port, error))?;
    let mut response = upstream::send(app, tunnel, request, &way, held).await?;
    pass.remember(&way, response.headers_mut());
    Ok(response)
}

fn missing(target: &PreviewTarget) -> ApiError {
    ApiError::new(codes::not_found("preview"), format!("There is no preview at {}.", target.name))
}

/// The preview and its sandbox, as the store has them now.
async fn find(app: &App, target: &PreviewTarget) -> ApiResult<(Preview, Sandbox)> {
    let missing = || missing(target);
    let place = target.place.ok_or_else(missing)?;
    let (org, id) = app.previews.preview(place).ok_or_else(missing)?;
    let (preview, sandbox) = app
        .store
        .read(move |view| -> Result<_, StoreError> {
            Ok((view.get::<Preview>(org, id)?, view.get::<Sandbox>(org, place.0)?))
        })
        .await?;
    let Some(sandbox) = sandbox.filter(|sandbox| sandbox.state != State::Destroyed) else {
        app.previews.close(place.0);
        return Err(missing());
    };
    let preview = preview.ok_or_else(missing)?;
    if preview.expired(app.clock.now(org)) {
        return Err(ApiError::new(codes::not_found("preview"), "This preview has expired."));
    }
    Ok((preview, sandbox))
}

/// Relative links of a page need the slash at the end of the prefix.
fn to_directory(target: &PreviewTarget, request: &Request<Body>) -> Option<Response> {
    let prefix = target.prefix.as_deref().filter(|prefix| *prefix == request.uri().path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let location = HeaderValue::from_str(&format!("{prefix}/{query}")).ok()?;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

fn not_listening(port: u16, error: MachineError) -> ApiError {
    let error = ApiError::from(error);
    if error.code != codes::PREVIEW_NOT_LISTENING {
        return error;
    }
    ApiError::new(
        codes::PREVIEW_NOT_LISTENING,
        format!(
            "Nothing listens on port {port} in this sandbox. Start the server, then try again."
        ),
    )
    .retry_after(1)
}

/// The address of the sandbox's preview, for a client that reached us under `host`: of the port that its template
/// serves on, else of the lowest. `None` while it has no preview.
pub fn sandbox_url(app: &App, host: &str, sandbox: &Sandbox) -> Option<String> {
    let shown = app.previews.of_sandbox(sandbox.id, sandbox.usual_port())?;
    Some(address::url(app, host, &shown))
}

/// Opens the ports of the previews that the store knows. Called once at start, when it is known where the emulator
/// listens.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn restore(app: &App) -> Result<(), StoreError> {
    let known = app
        .store
        .read(|view| -> Result<_, StoreError> {
            let mut known = Vec::new();
            for preview in view.all::<Preview>()? {
                if let Some(sandbox) = view.get::<Sandbox>(preview.org, preview.sandbox_id)? {
                    known.push((preview, sandbox));
                }
            }
            Ok(known)
        })
        .await?;
    for (preview, sandbox) in known {
        let gone = sandbox.state == State::Destroyed || preview.expired(app.clock.now(preview.org));
        if gone {
            continue;
        }
        let wanted =
            ports::Wanted { label: Some(preview.label.clone()), loopback: preview.loopback_port };
        let Ok(shown) = app.previews.open(app, &sandbox, preview.port, wanted) else { continue };
        app.previews.assign((sandbox.id, preview.port), preview.id);
        if shown.loopback.is_some() && shown.loopback != preview.loopback_port {
            app.store
                .write(move |tx| {
                    tx.modify::<Preview>(preview.org, preview.id, |preview| {
                        preview.loopback_port = shown.loopback;
                    })
                    .map(drop)
                })
                .await?;
        }
    }
    Ok(())
}
