//! What the client sends to a command: bytes, the end of them, a new size, signals.

use std::convert::Infallible;

use miosa_agent::protocol::{Failure, TerminalSize, frame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;

use crate::answer::invalid;
use crate::exec::Frames;
use crate::machine::Machine;
use crate::raw;
use crate::stream::Stream;

/// Where input goes.
pub enum Input {
    /// Nowhere.
    None,
    /// A pipe, closed at the end of input.
    Pipe(Stream),
    /// A terminal, where the end of input is a key.
    Terminal(Stream),
}

/// Control-D.
const END_KEY: u8 = 4;

/// Feeds a command for as long as it runs.
pub async fn feed(machine: &Machine, pid: i32, mut frames: Frames, mut input: Input) -> Infallible {
    loop {
        match frames.next().await {
            Ok(Some((kind, payload))) => {
                if apply(machine, pid, &mut input, kind, &payload).await.is_err() {
                    break;
                }
            }
            // The request ended: so does the input, but not the command.
            Ok(None) => {
                input.end().await;
                break;
            }
            // Reset: who watches the answer will see it. Unreadable: nothing that follows can be trusted.
            Err(_) => break,
        }
    }
    std::future::pending().await
}

async fn apply(
    machine: &Machine,
    pid: i32,
    input: &mut Input,
    kind: u8,
    payload: &[u8],
) -> Result<(), Failure> {
    match kind {
        frame::STDIN => input.write(payload).await,
        frame::STDIN_END => input.end().await,
        frame::RESIZE => {
            let size: TerminalSize = serde_json::from_slice(payload).map_err(invalid)?;
            if let Input::Terminal(terminal) = input {
                let _ = raw::set_terminal_size(terminal, size);
            }
        }
        frame::SIGNAL => {
            let number = payload.first().copied().ok_or_else(|| invalid("no signal"))?;
            let signal = Signal::try_from(i32::from(number)).map_err(invalid)?;
            machine.reaper.while_running(pid, || kill(Pid::from_raw(-pid), signal));
        }
        _ => return Err(invalid(format_args!("unknown frame {kind}"))),
    }
    Ok(())
}

impl Input {
    /// A command that does not read any more (closed its end) loses the bytes, as with a pipe.
    pub async fn write(&mut self, bytes: &[u8]) {
        if let Self::Pipe(stream) | Self::Terminal(stream) = self
            && stream.write_all(bytes).await.is_err()
        {
            *self = Self::None;
        }
    }

    /// Ends it; on a terminal that is a key.
    pub async fn end(&mut self) {
        match self {
            Self::Terminal(terminal) => {
                let _ = terminal.write_all(&[END_KEY]).await;
            }
            Self::Pipe(_) | Self::None => *self = Self::None,
        }
    }
}
