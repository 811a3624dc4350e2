//! WebSockets: what holds for each, whatever is said on it.
//!
//! What is said comes from a stream that is asked for no more than the client takes, what is heard goes to a listener that
//! may take its time: neither side grows memory. A client that is silent to three pings is gone. When the emulator stops,
//! every socket is closed.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::codes;
use super::error::ApiError;
use super::presented;
use crate::app::App;

/// The longest message that is heard: as much as a JSON body.
const MAX_MESSAGE: usize = super::route::JSON_LIMIT;

/// Between two pings.
const BEAT: Duration = Duration::from_secs(20);
/// So many pings may go without any sign of life.
const UNHEARD: u32 = 3;
/// A client that takes nothing may be pausing on purpose, but not for ever.
const STUCK: Duration = Duration::from_secs(900);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// A request that opens a WebSocket.
pub struct Upgrade {
    upgrade: WebSocketUpgrade,
    asked: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let asked = parts.headers.clone();
        match WebSocketUpgrade::from_request_parts(parts, state).await {
            Ok(upgrade) => Ok(Self { upgrade, asked }),
            Err(rejection) => {
                let message = format!("This is a WebSocket: {rejection}.");
                let mut refusal = ApiError::new(codes::UPGRADE_REQUIRED, message).into_response();
                refusal.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                Err(refusal)
            }
        }
    }
}

impl Upgrade {
    /// Speaks this subprotocol if it was asked for; whether it was.
    #[must_use]
    pub fn speaking(mut self, protocol: &'static str) -> (Self, bool) {
        let asked = presented::protocols(&self.asked).any(|asked| asked == protocol);
        if asked {
            self.upgrade = self.upgrade.protocols([protocol]);
        }
        (self, asked)
    }

    /// Answers the request and talks once the socket is open. What `talk` holds is dropped when it never opens.
    pub fn open<F, T>(self, app: &App, talk: F) -> Response
    where
        F: FnOnce(WebSocket) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let owned = app.tasks.token();
        let upgrade = self.upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
        upgrade.on_upgrade(|socket| async move {
            let _owned = owned;
            talk(socket).await;
        })
    }
}

/// What a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Heard {
    /// The bytes, of text as well.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Takes what a client sends.
pub trait Listener: Send {
    /// Takes one message; while it does, no other is read.
    ///
    /// # Errors
    /// Closes the socket.
    fn hear(&mut self, heard: Heard) -> impl Future<Output = Result<(), Closing>> + Send;
}

/// Why a socket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The code (RFC 6455, 7.4).
    pub code: u16,
    /// For people, at most 123 bytes.
    pub reason: &'static str,
}

impl Closing {
    /// All was said.
    pub const NORMAL: Self = Self { code: 1000, reason: "" };

    /// The message that closes.
    pub fn message(self) -> Message {
        let reason = Utf8Bytes::from_static(self.reason);
        Message::Close(Some(CloseFrame { code: self.code, reason }))
    }
}

/// How a conversation has ended.
enum Ended {
    /// The client has closed it, or is gone.
    Left,
    /// What was said broke off in the middle: no closing, so that nobody takes it for an end.
    Broken,
    /// We close it.
    Close(Message),
}

/// Talks until either side has ended. The last of `said` should close the socket; one that merely ends has broken off.
pub async fn converse<S>(
    socket: WebSocket,
    said: S,
    listener: impl Listener,
    stopping: &CancellationToken,
) where
    S: Stream<Item = Message> + Send,
{
    let (mut sink, mut stream) = socket.split();
    let pulse = Pulse::default();
    // What was said and heard is dropped with this: whoever works behind it ends at once.
    let ended = tokio::select! {
        ended = speak(&mut sink, said, &pulse) => ended,
        ended = listen(&mut stream, listener, &pulse) => ended,
        () = stopping.cancelled() => {
            Ended::Close(Closing { code: 1001, reason: "the emulator is stopping" }.message())
        }
    };
    let goodbye = async {
        match ended {
            Ended::Broken => return,
            Ended::Left => drop(sink.close().await),
            Ended::Close(message) => drop(sink.send(message).await),
        }
        // Closing on what the client still sends would reset the connection before it has read the end.
        while let Some(Ok(_)) = stream.next().await {}
    };
    let _ = timeout(GOODBYE, goodbye).await;
}

async fn speak<S>(sink: &mut SplitSink<WebSocket, Message>, said: S, pulse: &Pulse) -> Ended
where
    S: Stream<Item = Message> + Send,
{
    tokio::pin!(said);
    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = said.next() => match message {
                None => return Ended::Broken,
                Some(message @ Message::Close(_)) => return Ended::Close(message),
                Some(message) => message,
            },
            _ = beat.tick() => {
                if pulse.gone() {
                    return Ended::Broken;
                }
                Message::Ping(Bytes::new())
            }
        };
        if !matches!(timeout(STUCK, sink.send(message)).await, Ok(Ok(()))) {
            return Ended::Left;
        }
    }
}

async fn listen(
    stream: &mut SplitStream<WebSocket>,
    mut listener: impl Listener,
    pulse: &Pulse,
) -> Ended {
    const UNREADABLE: Closing = Closing { code: 1002, reason: "unreadable, or too large" };
    while let Some(message) = stream.next().await {
        pulse.heard();
        let heard = match message {
            Ok(Message::Text(text)) => Heard::Text(text),
            Ok(Message::Binary(bytes)) => Heard::Binary(bytes),
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(_)) => return Ended::Left,
            Err(_) => return Ended::Close(UNREADABLE.message()),
        };
        pulse.taking(true);
        let taken = listener.hear(heard).await;
        pulse.taking(false);
        if let Err(closing) = taken {
            return Ended::Close(closing.message());
        }
    }
    Ended::Left
}

/// Whether the client is there.
#[derive(Default)]
struct Pulse {
    unheard: AtomicU32,
    /// What it sent is being taken: nothing more is read, so nothing more can be heard.
    taking: AtomicBool,
}

impl Pulse {
    fn heard(&self) {
        self.unheard.store(0, Ordering::Relaxed);
    }

    fn taking(&self, taking: bool) {
        self.heard();
        self.taking.store(taking, Ordering::Relaxed);
    }

    /// Counts one more ping; whether too many have gone without an answer.
    fn gone(&self) -> bool {
        !self.taking.load(Ordering::Relaxed)
            && self.unheard.fetch_add(1, Ordering::Relaxed) >= UNHEARD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_gone_when_no_ping_is_answered_unless_we_do_not_listen() {
        let pulse = Pulse::default();
        assert_eq!([(); 4].map(|()| pulse.gone()), [false, false, false, true]);
        pulse.heard();
        assert!(!pulse.gone());
        pulse.taking(true);
        assert!([(); 9].iter().all(|()| !pulse.gone()));
        pulse.taking(false);
        assert_eq!([(); 4].map(|()| pulse.gone()), [false, false, false, true]);
    }
}
