//! A loopback port that leads into one place and nowhere else: neither the API nor `/_emulator` is behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Place, PreviewTarget, forward};
use crate::app::{App, Peer};

/// A request's head must arrive within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that are under way at the end may take this long.
const GRACE: Duration = Duration::from_secs(1);
/// How many connections one port takes at a time.
const CONNECTIONS: usize = 512;

/// Serves the place on the listener until `ended`.
pub(super) fn run(
    app: &App,
    listener: std::net::TcpListener,
    place: Place,
    ended: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let owner = app.clone();
    app.tasks.spawn(async move { accept(owner, listener, place, ended).await });
    Ok(())
}

async fn accept(app: App, listener: TcpListener, place: Place, ended: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = ended.cancelled() => return,
            accepted = async {
                let room = room.clone().acquire_owned().await;
                (listener.accept().await, room)
            } => accepted,
        };
        match accepted {
            (Ok((stream, peer)), Ok(room)) => {
                let connection = serve(app.clone(), stream, peer, place, ended.clone());
                app.tasks.spawn(async move {
                    connection.await;
                    drop(room);
                });
            }
            (Err(error), _) => {
                // Out of descriptors: existing connections must end before new ones can come.
                tracing::warn!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // The semaphore is never closed.
            (_, Err(_)) => return,
        }
    }
}

async fn serve(
    app: App,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    ended: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(Peer(peer)));
            let target = PreviewTarget::of_listener(place);
            Ok::<_, std::convert::Infallible>(forward(app, target, request).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::trace!("preview connection from {peer}: {error}");
    }
}
