//! Commands on WebSockets, in each dialect that a client speaks.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::Inside;
use super::said::{Said, bytes};
use super::way::Ask;
use crate::case::socket::Socket;
use crate::fault::Fault;

/// A message comes within this time.
pub const BOUND: Duration = Duration::from_secs(15);

/// How both ends write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `exec/stream`, subprotocol `miosa-exec-v1` (miosa-typescript, miosa-go 2.0).
    Frames,
    /// `exec/stream` without one (miosa-python 2.19).
    Json,
    /// `exec/spawn` (miosa-go 2.0).
    Spawn,
    /// `exec/ws` (miosa-elixir 1.1).
    Bare,
}

impl Dialect {
    /// What is typed, as messages.
    pub fn types(self, text: &[u8]) -> Message {
        match self {
            Self::Frames => Message::binary([&[0], text].concat()),
            Self::Json => {
                let data = String::from_utf8_lossy(text);
                Message::text(json!({ "type": "stdin", "data": data }).to_string())
            }
            Self::Spawn | Self::Bare => Message::binary(text.to_vec()),
        }
    }

    /// The end of what is typed; none where the dialect has no word for it.
    pub fn ends(self) -> Option<Message> {
        match self {
            Self::Frames => Some(Message::binary(vec![4])),
            Self::Json => Some(Message::text(json!({ "type": "stdin_close" }).to_string())),
            Self::Spawn | Self::Bare => None,
        }
    }
}

/// Opens the socket of a command.
///
/// # Errors
/// [`Fault::Broken`] when it is refused.
pub async fn open(inside: &Inside, dialect: Dialect, ask: &Ask) -> Result<Socket, Fault> {
    let (path, protocol) = match dialect {
        Dialect::Frames => ("stream", Some("miosa-exec-v1")),
        Dialect::Json => ("stream", None),
        Dialect::Spawn => ("spawn", None),
        Dialect::Bare => ("ws", None),
    };
    let path = inside.at(&format!("/exec/{path}?{}", ask.query()));
    match inside.client.socket(&path, protocol).await? {
        Ok(socket) => Ok(socket),
        Err(reply) => {
            let got = reply.summary();
            Err(reply.broken("101, a WebSocket", got))
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// [`Fault::Broken`] when the socket does not open, or not end.
pub async fn run(inside: &Inside, dialect: Dialect, ask: &Ask) -> Result<Said, Fault> {
    let mut socket = open(inside, dialect, ask).await?;
    if let Some(stdin) = &ask.stdin {
        socket.say(dialect.types(stdin.as_bytes())).await;
    }
    rest(socket, dialect).await
}

/// Reads a socket to its end.
///
/// # Errors
/// [`Fault::Broken`] when it does not end, or something comes after the exit.
pub async fn rest(mut socket: Socket, dialect: Dialect) -> Result<Said, Fault> {
    let mut said = Said::default();
    let mut late = None;
    let ended = loop {
        match socket.next(BOUND).await {
            Ok(Some(message)) => {
                if said.exit.is_some() && !message.is_close() {
                    late = Some(format!("{message:?}"));
                }
                hear(&mut said, dialect, &message);
            }
            Ok(None) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    said.at = socket.close();
    if let Err(Fault::Broken { expected, got, .. }) = ended {
        return Err(said.broken(expected, got));
    }
    match late {
        Some(message) => Err(said.broken("nothing after the exit code", message)),
        None => Ok(said),
    }
}

/// Takes a message in.
pub fn hear(said: &mut Said, dialect: Dialect, message: &Message) {
    match (dialect, message) {
        (Dialect::Frames | Dialect::Spawn, Message::Binary(frame)) => match frame.split_first() {
            Some((1, rest)) => said.stdout.extend_from_slice(rest),
            Some((2, rest)) => said.stderr.extend_from_slice(rest),
            Some((3, [a, b, c, d])) => {
                said.exit = Some(i64::from(i32::from_be_bytes([*a, *b, *c, *d])));
            }
            _ => {}
        },
        (Dialect::Json | Dialect::Spawn, Message::Text(text)) => {
            let value: Value = serde_json::from_str(text.as_str()).unwrap_or_default();
            match value["type"].as_str() {
                Some("stdout") => said.stdout.extend(bytes(&value, "data")),
                Some("stderr") => said.stderr.extend(bytes(&value, "data")),
                Some("exit") => {
                    let code = if dialect == Dialect::Json { "code" } else { "exit" };
                    said.exit = value[code].as_i64();
                }
                _ => {}
            }
        }
        (Dialect::Bare, Message::Binary(text)) => said.stdout.extend_from_slice(text),
        (Dialect::Bare, Message::Close(Some(close))) => {
            // Of a reserved code the library tells no more than that it is one.
            said.untold = u16::from(close.code) == 1002;
            said.exit = Some(i64::from(u16::from(close.code)) - 1000);
        }
        _ => {}
    }
}
