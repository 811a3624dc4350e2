//! Looking at a terminal, and typing: raw bytes both ways on a WebSocket.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::Response;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::registry::Terminal;
use super::session::AHEAD;
use super::{open, session};
use crate::api::compute::exec_socket::resize;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::http::socket::{Closing, Heard, Listener, Upgrade, converse};
use crate::http::{ApiResult, Params, Scoped};

/// Somebody else looks at the terminal now.
const TAKEN_OVER: Closing = Closing { code: 4000, reason: "opened elsewhere" };

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    session_id: Option<String>,
}

/// Without a session the newest that nobody looks at, or a new one: miosa-python 2.19 opens a terminal, and then its
/// sandbox's stream.
pub(super) async fn stream(
    State(app): State<App>,
    upgrade: Upgrade,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    awake(&app, &sandbox).await?;
    let terminal = match query.session_id.as_deref().filter(|named| !named.is_empty()) {
        Some(named) => app.terminals.find(sandbox.id, session(named)?)?,
        None => match app.terminals.unseen(sandbox.id) {
            Some(terminal) => terminal,
            None => open::open(&app, &sandbox, open::Wanted::default()).await?,
        },
    };
    // Two that come at once are not given the same one.
    terminal.seen.store(true, Ordering::Relaxed);
    let of_talk = app.clone();
    Ok(upgrade.open(&app, |socket| talk(of_talk, sandbox.0, terminal, socket)))
}

async fn talk(app: App, sandbox: Sandbox, terminal: Arc<Terminal>, socket: WebSocket) {
    let (show, shown) = mpsc::channel(AHEAD);
    if terminal.viewers.send(show).await.is_err() {
        // It has just ended; the stream says so.
        tracing::debug!("a terminal ended while it was opened");
    }
    let keyboard = Keyboard { app: app.clone(), sandbox, terminal: terminal.clone() };
    converse(socket, said(shown, terminal), keyboard, &app.stopping).await;
}

/// What the terminal shows, and in the end why there is no more.
fn said(
    shown: mpsc::Receiver<bytes::Bytes>,
    terminal: Arc<Terminal>,
) -> impl Stream<Item = Message> + Send {
    let end = stream::once(async move {
        let over = terminal.ended.is_cancelled() || terminal.viewers.is_closed();
        if over { Closing::NORMAL.message() } else { TAKEN_OVER.message() }
    });
    ReceiverStream::new(shown).map(Message::Binary).chain(end)
}

struct Keyboard {
    app: App,
    sandbox: Sandbox,
    terminal: Arc<Terminal>,
}

impl Listener for Keyboard {
    /// Text or bytes are typed, but for the one JSON text that resizes.
    async fn hear(&mut self, heard: Heard) -> Result<(), Closing> {
        // Wakes a sandbox that rests, and counts as activity.
        let awake = awake(&self.app, &self.sandbox).await;
        awake.map_err(|_| Closing { code: 1011, reason: "the sandbox cannot be woken" })?;
        if let Heard::Text(text) = &heard
            && let Some(size) = resize(text)
        {
            self.terminal.resize(size).await;
        } else {
            // A shell that has ended reads nothing; its end is on its way.
            let _ = self.terminal.input.write(heard.into_bytes()).await;
        }
        Ok(())
    }
}
