//! A connection to a port of the sandbox, as bytes on a WebSocket.

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::Response;
use futures_util::{Stream, StreamExt as _, stream};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, WriteHalf, split};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::sandboxes::Sandbox;
use super::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::socket::{Closing, Heard, Listener, Upgrade, converse};
use crate::http::{ApiError, ApiResult, Route, Scoped};
use crate::machines::agent::Tunnel;

/// The subprotocol that some clients ask for (miosa-cli).
const PROTOCOL: &str = "miosa-tunnel-v1";
/// The most that one message carries.
const PIECE: usize = 64 * 1024;
/// How long the port may take to read what was sent before its client left.
const LAST: Duration = Duration::from_secs(5);

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sandboxes/{id}/tunnel/{port}", tunnel)
            .family("sandboxes")
            .scope("sandboxes:exec")
            .ticketed(),
    ]
}

async fn tunnel(
    State(app): State<App>,
    upgrade: Upgrade,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<Response> {
    let port: u16 = values
        .at(1)
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| ApiError::parameter("port", "must be a number from 1 to 65535"))?;
    let agent = awake(&app, &sandbox).await?;
    let inside = agent.tcp(port).await?;
    let active = hold(&app, &sandbox);
    let (upgrade, _) = upgrade.speaking(PROTOCOL);
    let stopping = app.stopping.clone();
    Ok(upgrade.open(&app, |socket| async move {
        let _active = active;
        relay(socket, inside, stopping).await;
    }))
}

async fn relay(socket: WebSocket, inside: Tunnel, stopping: CancellationToken) {
    let (mut from, to) = split(inside);
    let mut port = Port(to);
    converse(socket, said(&mut from), &mut port, &stopping).await;
    // Dropping the connection now would lose what the client sent last.
    let last = async {
        let _ = port.0.shutdown().await;
        let mut rest = [0; 4096];
        while let Ok(1..) = from.read(&mut rest).await {}
    };
    let _ = tokio::time::timeout(LAST, last).await;
}

/// What the port sends; its end closes the socket, and a break does not.
fn said(from: &mut (impl AsyncRead + Unpin + Send)) -> impl Stream<Item = Message> + Send {
    let pieces =
        ReaderStream::with_capacity(from, PIECE).map(|piece| piece.ok().map(Message::Binary));
    let all = pieces.chain(stream::iter([Some(Closing::NORMAL.message())]));
    // The first error ends it.
    Box::pin(all.take_while(|piece| std::future::ready(piece.is_some())))
        .filter_map(std::future::ready)
}

struct Port(WriteHalf<Tunnel>);

impl Listener for &mut Port {
    async fn hear(&mut self, heard: Heard) -> Result<(), Closing> {
        // A port that no longer reads may still send.
        let _ = self.0.write_all(&heard.into_bytes()).await;
        Ok(())
    }
}
