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
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::app::{App, Peer};
use crate::defects::defect;
use crate::http::paths;
use crate::{api, proxy};

/// Serves until [`App::stopping`](crate::app::Parts) is cancelled, then lets open requests end.
pub async fn serve(app: App, listener: TcpListener) {
    serve_router(app.clone(), listener, api::router(&app)).await;
}

/// Serves a router that was made from [`api::router_with`].
pub async fn serve_router(app: App, listener: TcpListener, router: Router) {
    /// A connection that is being cut needs a moment to go.
    const MARGIN: Duration = Duration::from_millis(500);
    let grace = app.config.patience.grace;
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
    if tokio::time::timeout(grace + MARGIN, connections.wait()).await.is_err() {
        tracing::warn!("{} connections were cut at the end", connections.len());
    }
}

async fn connection(app: App, router: Router, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let (stopping, patience) = (app.stopping.clone(), app.config.patience);
    let (spoken, has_spoken) = watch::channel(false);
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, router) = (app.clone(), router.clone());
        spoken.send_replace(true);
        async move { Ok::<_, std::convert::Infallible>(answer(app, router, request, peer).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.head).keep_alive(true);
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
        () = silence(patience.head, has_spoken) => {
            tracing::trace!("connection from {peer}: no request");
            return;
        }
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(patience.grace, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::trace!("connection from {peer}: {error}");
    }
}

/// Ends when no request has come within the bound; never once one has. Before the protocol is known nothing else bounds
/// a connection that says nothing.
async fn silence(bound: Duration, mut spoken: watch::Receiver<bool>) {
    let heard = async { spoken.wait_for(|spoken| *spoken).await.is_ok() };
    if tokio::time::timeout(bound, heard).await.is_ok() {
        std::future::pending::<()>().await;
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
    let sent = paths::Sent::of(request.uri());
    request.extensions_mut().insert(sent);
    if let Some(uri) = paths::canonical(request.uri()) {
        *request.uri_mut() = uri;
    }
    match router.oneshot(request).await {
        // The router adds the header where it is missing, so this fault is made outside of it.
        Ok(response) => {
            defect!(MethodWithoutAllow, crate::defects::names::no_methods(response), response)
        }
        Err(never) => match never {},
    }
}
