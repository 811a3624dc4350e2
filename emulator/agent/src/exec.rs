//! Commands: each a session of its own, fed from one stream of frames and answered with another.
//!
//! One task owns a command from its start to its last frame. Memory stays bounded because output is read
//! only when the stream has room: a client that reads slowly slows the command down, as a pipe would.

pub mod input;
mod output;
pub mod start;

use std::convert::Infallible;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::codec::{Decoder, encode};
use miosa_agent::protocol::{Exec, Exit, Failure, Started, frame};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::answer::{Outcome, invalid, streamed};
use crate::family::kill_session;
use crate::machine::Machine;
use start::Command;

/// How long the first frame may take.
const START_TIME: Duration = Duration::from_secs(10);

/// How many frames of output wait for room on the connection.
const FRAMES_AHEAD: usize = 8;

pub async fn run(machine: Arc<Machine>, body: Incoming) -> Outcome {
    let mut frames = Frames { body, decoder: Decoder::default() };
    let first = tokio::time::timeout(START_TIME, frames.next()).await.map_err(invalid)?;
    let Some((frame::START, start)) = first? else {
        return Err(invalid("the first frame must be START"));
    };
    let exec: Exec = serde_json::from_slice(&start).map_err(invalid)?;
    let (frames_out, mut out) = mpsc::channel(FRAMES_AHEAD);
    match start::start(&machine, &exec) {
        Ok(command) => {
            let _ = frames_out.try_send(message(frame::STARTED, &Started { pid: command.pid }));
            // Ends with the command: at its exit, its timeout, or when the client has gone.
            tokio::spawn(supervise(machine, exec, command, frames, frames_out));
        }
        Err(failure) => {
            let _ = frames_out.try_send(message(frame::FAILED, &failure));
        }
    }
    Ok(streamed(futures_util::stream::poll_fn(move |cx| out.poll_recv(cx).map(|f| f.map(Ok)))))
}

async fn supervise(
    machine: Arc<Machine>,
    exec: Exec,
    command: Command,
    frames: Frames,
    out: mpsc::Sender<Bytes>,
) {
    let Command { pid, exited, outputs, input } = command;
    let feeding = input::feed(&machine, pid, frames, input);
    let exit = see_through(&machine, &exec, (pid, exited, outputs), feeding, &out).await;
    let _ = out.send(message(frame::EXIT, &exit)).await;
}

/// Runs a command that has started to its end: feeds it, passes its output on, ends it when it must.
pub async fn see_through(
    machine: &Machine,
    exec: &Exec,
    (pid, exited, outputs): (i32, oneshot::Receiver<ExitStatus>, output::Outputs),
    feeding: impl Future<Output = Infallible>,
    out: &mpsc::Sender<Bytes>,
) -> Exit {
    let started = Instant::now();
    let kill = || machine.reaper.while_running(pid, || kill_session(pid));
    let (tell, told) = oneshot::channel();
    let watch = async {
        let ending = end(exec, exited, out, &kill);
        let ended = tokio::select! {
            ended = ending => ended,
            never = feeding => match never {},
        };
        let _ = tell.send(());
        ended
    };
    let ((status, timed_out), ()) = tokio::join!(watch, output::pump(outputs, out, told));
    let signal = status.and_then(|status| status.signal());
    let code = status.and_then(|status| status.code());
    Exit {
        // A status that was lost is told as a kill: the command did not end well as far as we know.
        exit_code: code.unwrap_or(128 + signal.unwrap_or(9)),
        signal: signal.or(if code.is_none() { Some(9) } else { None }),
        timed_out,
        duration_ms: started.elapsed().as_millis() as u64,
    }
}

/// Waits for the end of the command, or brings it about. Whether the timeout did.
async fn end(
    exec: &Exec,
    mut exited: oneshot::Receiver<ExitStatus>,
    out: &mpsc::Sender<Bytes>,
    kill: &impl Fn() -> Option<()>,
) -> (Option<ExitStatus>, bool) {
    let timeout = async {
        match exec.timeout_ms {
            Some(limit) => tokio::time::sleep(Duration::from_millis(limit)).await,
            None => std::future::pending().await,
        }
    };
    let timed_out = tokio::select! {
        biased;
        status = &mut exited => return (status.ok(), false),
        () = timeout => true,
        () = out.closed(), if !exec.detached => false,
    };
    // Without effect when the command has just ended by itself: then it did not time out.
    let killed = kill().is_some();
    (exited.await.ok(), timed_out && killed)
}

/// A frame with a message as JSON.
pub fn message(kind: u8, message: &impl Serialize) -> Bytes {
    encode(kind, &serde_json::to_vec(message).unwrap_or_default())
}

/// The frames of a request.
pub struct Frames {
    body: Incoming,
    decoder: Decoder,
}

impl Frames {
    /// The next frame; `None` at the end of the request.
    pub async fn next(&mut self) -> Result<Option<(u8, Bytes)>, Failure> {
        loop {
            if let Some(frame) = self.decoder.frame().map_err(invalid)? {
                return Ok(Some(frame));
            }
            let Some(bytes) = self.body.frame().await else { return Ok(None) };
            if let Ok(bytes) = bytes.map_err(invalid)?.into_data() {
                self.decoder.feed(&bytes);
            }
        }
    }
}
