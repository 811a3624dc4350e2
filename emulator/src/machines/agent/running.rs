//! Commands that run, as the emulator holds them.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Method, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::codec::{Decoder, encode};
use miosa_agent::protocol::{Exec, Exit, Failure, Started, TerminalSize, frame};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frames::written;
use super::{Agent, MachineError, to_json, unreachable};

/// A piece of what a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes of standard output, or of the terminal.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// It has ended; nothing follows.
    Exit(Exit),
}

/// A command that runs. Dropping it ends the command, unless it is detached.
pub struct Running {
    /// The process id inside the machine, also its process group.
    pub pid: i32,
    frames: Frames,
    input: Input,
    broken: CancellationToken,
    detached: bool,
    ended: bool,
    // The connection lives at least as long as what runs on it.
    _agent: Agent,
}

impl Running {
    pub(super) async fn start(agent: &Agent, exec: Exec) -> Result<Self, MachineError> {
        let broken = CancellationToken::new();
        // Should the caller give up while this waits.
        let given_up = broken.clone().drop_guard();
        let (write, body) = written(broken.clone());
        let start = encode(frame::START, &to_json(&exec)?);
        write.try_send(start).map_err(unreachable)?;
        let answer = agent.request(Method::POST, "/v1/exec", body).await?;
        let mut frames = Frames::of(answer);
        let started: Started = match frames.next().await? {
            Some((frame::STARTED, started)) => parse(&started)?,
            Some((frame::FAILED, failure)) => {
                return Err(MachineError::Agent(parse::<Failure>(&failure)?));
            }
            _ => return Err(unreachable("it did not say whether the command started")),
        };
        given_up.disarm();
        Ok(Self {
            pid: started.pid,
            frames,
            input: Input { write },
            broken,
            detached: exec.detached,
            ended: false,
            _agent: agent.clone(),
        })
    }

    /// The next piece; `None` after the exit. Losing the agent is an error, never a silent end.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Output, MachineError>> {
        if self.ended {
            return None;
        }
        let output = self.frames.next().await.and_then(|next| match next {
            Some((frame::STDOUT, bytes)) => Ok(Output::Stdout(bytes)),
            Some((frame::STDERR, bytes)) => Ok(Output::Stderr(bytes)),
            Some((frame::EXIT, exit)) => Ok(Output::Exit(parse(&exit)?)),
            Some((kind, _)) => Err(unreachable(format_args!("unknown frame {kind}"))),
            None => Err(unreachable("the stream ended before the command")),
        });
        self.ended = !matches!(output, Ok(Output::Stdout(_) | Output::Stderr(_)));
        Some(output)
    }

    /// The way in; it may be cloned and used while `next` waits.
    pub fn input(&self) -> Input {
        self.input.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A request that breaks off is what tells the agent, even while a clone of the input lives.
        if self.ended || !self.detached {
            self.broken.cancel();
        }
    }
}

/// The way into a command that runs. Its methods fail once the command has ended.
#[derive(Debug, Clone)]
pub struct Input {
    write: mpsc::Sender<Bytes>,
}

impl Input {
    /// Writes to standard input. Waits while the command does not read.
    pub async fn write(&self, bytes: Bytes) -> Result<(), MachineError> {
        for piece in bytes.chunks(frame::MAX_PAYLOAD) {
            self.send(encode(frame::STDIN, piece)).await?;
        }
        Ok(())
    }

    /// Ends standard input (on a terminal: control-D).
    pub async fn end(&self) -> Result<(), MachineError> {
        self.send(encode(frame::STDIN_END, &[])).await
    }

    /// Tells the terminal its size.
    pub async fn resize(&self, size: TerminalSize) -> Result<(), MachineError> {
        self.send(encode(frame::RESIZE, &to_json(&size)?)).await
    }

    /// Sends a signal to the process group, after the input that was written before.
    /// [`Agent::signal`] does not wait for that.
    pub async fn signal(&self, signal: u8) -> Result<(), MachineError> {
        self.send(encode(frame::SIGNAL, &[signal])).await
    }

    async fn send(&self, frame: Bytes) -> Result<(), MachineError> {
        self.write.send(frame).await.map_err(|_| unreachable("the command has ended"))
    }
}

pub(super) struct Frames {
    body: Incoming,
    decoder: Decoder,
}

impl Frames {
    pub(super) fn of(answer: Response<Incoming>) -> Self {
        Self { body: answer.into_body(), decoder: Decoder::default() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<(u8, Bytes)>, MachineError> {
        loop {
            if let Some(frame) = self.decoder.frame().map_err(unreachable)? {
                return Ok(Some(frame));
            }
            let Some(bytes) = self.body.frame().await else { return Ok(None) };
            if let Ok(bytes) = bytes.map_err(unreachable)?.into_data() {
                self.decoder.feed(&bytes);
            }
        }
    }
}

pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, MachineError> {
    serde_json::from_slice(json).map_err(unreachable)
}

/// A command that has ended, with what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The beginning of standard output.
    pub stdout: Bytes,
    /// The beginning of standard error.
    pub stderr: Bytes,
    /// Whether there was more standard output than was asked for.
    pub stdout_truncated: bool,
    /// Whether there was more standard error than was asked for.
    pub stderr_truncated: bool,
    /// How it ended.
    pub exit: Exit,
}

pub(super) async fn run(
    agent: &Agent,
    mut exec: Exec,
    stdin: Option<Bytes>,
    max_output: usize,
) -> Result<Finished, MachineError> {
    exec.stdin = stdin.is_some();
    let mut running = agent.exec(exec).await?;
    let input = running.input();
    let feed = async {
        if let Some(bytes) = stdin {
            // A command may end without reading all of it.
            let _ = input.write(bytes).await;
            let _ = input.end().await;
        }
        std::future::pending().await
    };
    let collect = async {
        let (mut stdout, mut stderr) = (Kept::default(), Kept::default());
        while let Some(output) = running.next().await {
            match output? {
                Output::Stdout(bytes) => stdout.keep(&bytes, max_output),
                Output::Stderr(bytes) => stderr.keep(&bytes, max_output),
                Output::Exit(exit) => {
                    return Ok(Finished {
                        stdout: stdout.bytes.freeze(),
                        stderr: stderr.bytes.freeze(),
                        stdout_truncated: stdout.truncated,
                        stderr_truncated: stderr.truncated,
                        exit,
                    });
                }
            }
        }
        Err(unreachable("the stream ended before the command"))
    };
    tokio::select! {
        finished = collect => finished,
        never = feed => match never {},
    }
}

#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    truncated: bool,
}

impl Kept {
    fn keep(&mut self, bytes: &[u8], most: usize) {
        let room = most.saturating_sub(self.bytes.len()).min(bytes.len());
        let (kept, rest) = bytes.split_at(room);
        self.bytes.put_slice(kept);
        self.truncated |= !rest.is_empty();
    }
}
