//! The dialects of a conversation with a command.
//!
//! | dialect | where | output | exit | input |
//! |---|---|---|---|---|
//! | frames | subprotocol `miosa-exec-v1` | binary, one byte says what it is | frame 0x03 | the same frames |
//! | json | `exec/stream` without it (miosa-python 2.19) | JSON text | `{"type":"exit","code"}` | JSON text |
//! | spawn | `exec/spawn` (miosa-go 2.0) | binary, first byte the stream | JSON text `exit` | binary; JSON text to resize |
//! | bare | `exec/ws` (miosa-elixir 1.1) | binary as it is | close code 1000 + exit code | text as it is; JSON text to resize |

use axum::extract::ws::Message;
use bytes::Bytes;
use miosa_agent::protocol::TerminalSize;

use super::characters::Characters;
use super::{bare, frames, json, spawn};
use crate::http::socket::{Closing, Heard};
use crate::machines::agent::Output;

/// How both sides write what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Frames,
    Json,
    Spawn,
    Bare,
}

/// What is told to the client.
#[derive(Debug)]
pub(super) enum Event {
    /// Of the command.
    Output(Output),
    /// A port of the machine began to listen, or ended.
    Port { number: u16, open: bool },
}

/// What the client wants done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Input.
    Input(Bytes),
    /// The end of input.
    End,
    /// The terminal has another size.
    Resize(TerminalSize),
    /// A signal.
    Signal(i32),
}

impl Dialect {
    /// What a message orders; `None` for what has no meaning here.
    pub(super) fn hear(self, heard: Heard) -> Result<Option<Order>, Closing> {
        match self {
            Self::Frames => frames::hear(heard),
            Self::Json => json::hear(heard),
            Self::Spawn => spawn::hear(heard),
            Self::Bare => Ok(Some(bare::hear(heard))),
        }
    }

    /// Whether the opening and closing of ports can be told.
    pub(super) fn tells_ports(self) -> bool {
        matches!(self, Self::Frames | Self::Spawn)
    }
}

/// Writes events.
pub(super) struct Teller {
    pub(super) dialect: Dialect,
    pub(super) stdout: Characters,
    pub(super) stderr: Characters,
}

impl Teller {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, stdout: Characters::default(), stderr: Characters::default() }
    }

    /// The messages that tell of an event. The last of an exit closes the socket.
    pub(super) fn tell(&mut self, event: Event) -> Vec<Message> {
        match self.dialect {
            Dialect::Frames => frames::tell(event),
            Dialect::Json => json::tell(event, &mut self.stdout, &mut self.stderr),
            Dialect::Spawn => spawn::tell(event),
            Dialect::Bare => bare::tell(event),
        }
    }
}
