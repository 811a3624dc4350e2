//! The accept loop: HTTP/1.1 and HTTP/2 with prior knowledge on one port, until it is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::app::{App, Peer};
use crate::http::paths;
use crate::{api, proxy};

/// A request's head must arrive within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that are still busy this long after the stop are cut.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until [`App::stopping`](crate::app::Parts) is cancelled, then lets open requests end.
pub async fn serve(app: App, listener: TcpListener) {
    let router = api::router(&app);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = app.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(app.clone(), router.clone(), stream, peer));
            }
            Err(error) => {
                // Out of descriptors: existing connections must end before new ones can come.
                tracing::warn!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!("{} connections were cut at the end", connections.len());
    }
}

async fn connection(app: App, router: Router, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let stopping = app.stopping.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, router) = (app.clone(), router.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(app, router, request, peer).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(1000)
        .adaptive_window(true);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::trace!("connection from {peer}: {error}");
    }
}

async fn answer(
    app: App,
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> http::Response<Body> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(Peer(peer)));
    if let Some(preview) = proxy::target(&app, &request) {
        return proxy::forward(app, preview, request).await;
    }
    if let Some(uri) = paths::canonical(request.uri()) {
        *request.uri_mut() = uri;
    }
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
