//! One request into the machine: HTTP/1.1 over a tunnel of its own, streaming both ways, upgrades included.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::relay::relay;
use super::rewrite::{self, Way};
use crate::api::compute::sandboxes::awake::ActivityGuard;
use crate::app::{App, Peer};
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::agent::Tunnel;

/// How long an application may think before it answers: long polls are shorter.
const ANSWER: Duration = Duration::from_secs(300);
/// How long the two ends of an upgrade may take to let go of HTTP.
const UPGRADE: Duration = Duration::from_secs(10);
/// An upgraded connection on which nothing moves for this long is given up.
const IDLE: Duration = Duration::from_secs(3600);

/// What a connection holds on to while it lasts.
pub(super) struct Held {
    /// The sandbox is not idle.
    pub _active: ActivityGuard,
    /// The end of the place.
    pub ended: CancellationToken,
}

/// Sends the request through the tunnel. The connection ends with the answer's body, when the client goes away, or
/// with the place.
pub(super) async fn send(
    app: &App,
    tunnel: Tunnel,
    mut request: Request<Body>,
    way: &Way,
    held: Held,
) -> ApiResult<Response> {
    let (mut sender, connection) =
        http1::handshake::<_, Body>(TokioIo::new(tunnel)).await.map_err(|error| broken(&error))?;
    let until = held.ended.clone();
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::select! {
            driven = connection.with_upgrades() => {
                if let Err(error) = driven {
                    tracing::trace!("a preview's connection broke: {error}");
                }
            }
            () = until.cancelled() => {}
        }
    }));
    let wanted = rewrite::upgrade_of(request.headers());
    let client = wanted.is_some().then(|| hyper::upgrade::on(&mut request));
    let request = inwards(request, way)?;
    let mut answer = match tokio::time::timeout(ANSWER, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(|error| broken(&error))?,
        Err(_) => {
            return Err(ApiError::new(
                codes::PREVIEW_TIMEOUT,
                format!("The application took longer than {} s to answer.", ANSWER.as_secs()),
            ));
        }
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return Err(broken(&"it changed the protocol without being asked"));
        };
        let inside = hyper::upgrade::on(&mut answer);
        app.tasks.spawn(async move {
            let both = async { tokio::try_join!(client, inside) };
            let upgraded = tokio::time::timeout(UPGRADE, both).await;
            // The whole of it: the sandbox stays active while the connection lasts.
            let held = held;
            drop(driver);
            match upgraded {
                Ok(Ok((client, inside))) => {
                    relay(TokioIo::new(client), TokioIo::new(inside), IDLE, &held.ended).await;
                }
                Ok(Err(error)) => tracing::debug!("an upgrade failed: {error}"),
                Err(_) => tracing::debug!("an upgrade took too long"),
            }
        });
        let mut answer = answer.map(|_| Body::empty());
        way.outwards(StatusCode::SWITCHING_PROTOCOLS, answer.headers_mut());
        return Ok(answer);
    }
    let mut answer = answer.map(|body| Body::new(Owned { body, _driver: driver, _held: held }));
    // Of another connection than the client's.
    *answer.version_mut() = Version::default();
    answer.extensions_mut().clear();
    way.outwards(answer.status(), answer.headers_mut());
    Ok(answer)
}

fn inwards(request: Request<Body>, way: &Way) -> ApiResult<Request<Body>> {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|peer| peer.0.0.ip());
    way.inwards(&mut parts.headers, peer);
    let target = way.target(parts.uri.path(), parts.uri.query());
    let uri = Uri::try_from(target).map_err(|error| {
        ApiError::new(codes::INVALID_PATH, format!("The path cannot be passed on: {error}"))
    })?;
    let mut inwards = Request::new(body);
    *inwards.method_mut() = parts.method;
    *inwards.uri_mut() = uri;
    *inwards.headers_mut() = parts.headers;
    Ok(inwards)
}

fn broken(error: &impl std::fmt::Display) -> ApiError {
    ApiError::new(
        codes::PREVIEW_BROKEN,
        format!("The application broke off the connection: {error}."),
    )
}

/// A body and the connection that it comes from.
struct Owned {
    body: Incoming,
    _driver: AbortOnDropHandle<()>,
    _held: Held,
}

impl hyper::body::Body for Owned {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
