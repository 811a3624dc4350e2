//! The emulator's end of the stream to an agent.
//!
//! One HTTP/2 connection carries everything: dropping what a method gave back resets its stream, and the
//! agent ends what belonged to it. The connection lives as long as anything holds on to it.

mod content;
mod cut;
mod elf;
mod frames;
mod http_status;
mod jobs;
mod packed;
mod running;
mod tunnel;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use miosa_agent::packed::Unpacked;
use miosa_agent::protocol::{
    Change, Entry, Environment, Exec, Failure, FileOp, Health, Ports, Signal, Usage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{AgentStream, MachineError};

pub use content::ContentStream;
use cut::Cut;
pub use elf::{ELF, fingerprint};
pub use http_status::http_status;
pub use jobs::{JobOutput, JobSaid};
pub use packed::{PackedStream, Piece};
pub use running::{Finished, Input, Output, Running};
pub use tunnel::{Egress, Tunnel};

/// How long the first words with an agent may take: on a computer under load a program starts late.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a short question may take.
const CONTROL_TIME: Duration = Duration::from_secs(10);

/// How long the agent may work on files: a copy of a large directory takes its time.
const FILES_TIME: Duration = Duration::from_secs(120);

/// The longest answer in JSON, in bytes: a tree of 20 000 entries with long paths.
const MAX_JSON: usize = 256 * 1024 * 1024;

const STREAM_WINDOW: u32 = 256 * 1024;
/// A thousand stalled streams must not hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 1024;
/// Long paths travel in headers, percent-encoded.
const MAX_HEADERS: u32 = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A connected agent. Clones share the connection.
#[derive(Clone)]
pub struct Agent {
    connection: Arc<Connection>,
}

struct Connection {
    send: http2::SendRequest<Body>,
    closed: CancellationToken,
    /// Cancelled to end the connection at once, whoever still holds something that runs on it.
    cut: CancellationToken,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl Agent {
    /// Speaks first on a fresh stream: agrees on HTTP/2 and asks for the agent's health, within 10 s.
    pub async fn connect(stream: AgentStream) -> Result<Self, MachineError> {
        let cut = CancellationToken::new();
        // Should this take too long, or its caller go away.
        let given_up = cut.clone().drop_guard();
        let connecting = async {
            let stream = Cut::new(stream, cut.clone());
            let (send, driver) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_frame_size(64 * 1024)
                .max_header_list_size(MAX_HEADERS)
                .initial_max_send_streams(1000)
                .max_concurrent_reset_streams(1000)
                .max_send_buf_size(STREAM_WINDOW as usize)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(unreachable)?;
            let closed = CancellationToken::new();
            let ended = closed.clone().drop_guard();
            // Ends when the stream does, or is cut.
            tokio::spawn(async move {
                let _ended = ended;
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "the stream to an agent broke");
                }
            });
            let agent = Self { connection: Arc::new(Connection { send, closed, cut }) };
            agent.health().await?;
            Ok(agent)
        };
        let agent = bounded("connecting to the agent", CONNECT_TIME, connecting).await?;
        given_up.disarm();
        Ok(agent)
    }

    /// Asks whether the agent is well.
    pub async fn health(&self) -> Result<Health, MachineError> {
        self.ask("health", Method::GET, "/v1/health").await
    }

    /// Starts a command; it has started when this returns.
    pub async fn exec(&self, exec: Exec) -> Result<Running, MachineError> {
        bounded("starting a command", CONTROL_TIME, Running::start(self, exec)).await
    }

    /// Runs a command to its end. Of each stream the first `max_output` bytes are kept, the rest is read and
    /// thrown away. Bounded by the command's own timeout.
    pub async fn run(
        &self,
        exec: Exec,
        stdin: Option<Bytes>,
        max_output: usize,
    ) -> Result<Finished, MachineError> {
        let limit = exec.timeout_ms.map(|ms| Duration::from_millis(ms) + CONTROL_TIME);
        let running = running::run(self, exec, stdin, max_output);
        match limit {
            Some(limit) => bounded("a command", limit, running).await,
            None => running.await,
        }
    }

    /// Sends a signal to the process group of a command that runs.
    pub async fn signal(&self, pid: i32, signal: i32) -> Result<(), MachineError> {
        let body = to_json(&Signal { pid, signal })?;
        self.tell("a signal", Method::POST, "/v1/signal", body).await
    }

    /// Does something with files; `T` is the answer that [`FileOp`] names.
    pub async fn file_op<T: DeserializeOwned>(&self, op: &FileOp) -> Result<T, MachineError> {
        let body = to_json(op)?;
        let path = format!("/v1/files/{}", op_name(op));
        bounded("work on files", FILES_TIME, async {
            json(self.request(Method::POST, &path, whole(body)).await?).await
        })
        .await
    }

    /// Reads a file.
    pub async fn read(&self, path: &str) -> Result<(Entry, ContentStream), MachineError> {
        bounded("opening a file", CONTROL_TIME, content::read(self, path)).await
    }

    /// Writes a file, whole or not at all; `mode` is kept or `0o644` when absent.
    pub async fn write(
        &self,
        path: &str,
        mode: Option<u32>,
        body: Bytes,
    ) -> Result<Entry, MachineError> {
        bounded("writing a file", FILES_TIME, content::write(self, path, mode, whole(body))).await
    }

    /// Writes a file from a stream. An error in the stream leaves the file as it was. The caller bounds how
    /// long the stream may take.
    pub async fn write_from<S, E>(
        &self,
        path: &str,
        mode: Option<u32>,
        stream: S,
    ) -> Result<Entry, MachineError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        content::write(self, path, mode, streamed(stream)).await
    }

    /// A file, or what a directory holds, entry by entry.
    pub async fn pack(&self, path: &str) -> Result<PackedStream, MachineError> {
        bounded("packing files", CONTROL_TIME, packed::pack(self, path)).await
    }

    /// Unpacks frames of [`miosa_agent::packed`] below a directory, which is made. An error in the stream ends it; what
    /// was whole by then stays.
    pub async fn unpack<S, E>(&self, path: &str, frames: S) -> Result<Unpacked, MachineError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        packed::unpack(self, path, streamed(frames)).await
    }

    /// Follows changes of a file or below a directory: all of them from when this returns. Ends when the path is gone;
    /// losing the agent is an error. Dropping the stream stops watching; it does not keep the connection open.
    pub async fn watch(
        &self,
        path: &str,
        recursive: bool,
    ) -> Result<impl Stream<Item = Result<Change, MachineError>> + Send + use<>, MachineError> {
        bounded("starting to watch files", FILES_TIME, watch::start(self, path, recursive)).await
    }

    /// Connects to a port inside the machine.
    pub async fn tcp(&self, port: u16) -> Result<Tunnel, MachineError> {
        bounded("connecting to a port", CONTROL_TIME, tunnel::tcp(self, port)).await
    }

    /// Waits for a connection that wants to leave the machine. Dropping the future stops waiting.
    pub async fn accept_egress(&self) -> Result<Egress, MachineError> {
        tunnel::egress(self).await
    }

    /// Changes the environment of commands that start from now on.
    pub async fn set_environment(&self, to: &Environment) -> Result<(), MachineError> {
        self.tell("setting the environment", Method::PUT, "/v1/environment", to_json(to)?).await
    }

    /// The ports that listen.
    pub async fn ports(&self) -> Result<Ports, MachineError> {
        self.ask("ports", Method::GET, "/v1/ports").await
    }

    /// What the machine has used.
    pub async fn usage(&self) -> Result<Usage, MachineError> {
        self.ask("usage", Method::GET, "/v1/usage").await
    }

    /// Stops every process of the machine but the agent.
    pub async fn freeze(&self) -> Result<(), MachineError> {
        self.tell("freezing", Method::POST, "/v1/freeze", Bytes::new()).await
    }

    /// Lets them go on.
    pub async fn thaw(&self) -> Result<(), MachineError> {
        self.tell("thawing", Method::POST, "/v1/thaw", Bytes::new()).await
    }

    /// Asks the machine to end: TERM, `grace`, KILL. The stream closes when it has.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), MachineError> {
        let path = format!("/v1/shutdown?grace_ms={}", grace.as_millis());
        self.tell("shutting down", Method::POST, &path, Bytes::new()).await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.closed.is_cancelled()
    }

    /// Waits until the connection ends.
    pub async fn closed(&self) {
        self.connection.closed.cancelled().await;
    }

    /// A token that is cancelled when the connection ends; it does not keep the connection open.
    pub fn closing(&self) -> CancellationToken {
        self.connection.closed.clone()
    }

    /// Ends the connection, and with it what runs on it.
    pub fn close(&self) {
        self.connection.cut.cancel();
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
    ) -> Result<T, MachineError> {
        bounded(what, CONTROL_TIME, async {
            json(self.request(method, path, whole(Bytes::new())).await?).await
        })
        .await
    }

    async fn tell(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(), MachineError> {
        bounded(what, CONTROL_TIME, async {
            self.request(method, path, whole(body)).await.map(drop)
        })
        .await
    }

    /// Sends a request; an answer that is no success becomes the failure it tells of.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, MachineError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://agent{path}"))
            .body(body)
            .map_err(|error| MachineError::Host(error.to_string()))?;
        let mut send = self.connection.send.clone();
        send.ready().await.map_err(unreachable)?;
        let answer = send.send_request(request).await.map_err(unreachable)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let failure: Result<Failure, _> = json(answer).await;
        Err(match failure {
            Ok(failure) => MachineError::Agent(failure),
            Err(_) => MachineError::AgentUnreachable(format!("it answered {status}")),
        })
    }
}

fn op_name(op: &FileOp) -> &'static str {
    match op {
        FileOp::Stat { .. } => "stat",
        FileOp::List { .. } => "list",
        FileOp::Tree { .. } => "tree",
        FileOp::Mkdir { .. } => "mkdir",
        FileOp::Remove { .. } => "remove",
        FileOp::Rename { .. } => "rename",
        FileOp::Copy { .. } => "copy",
        FileOp::Chmod { .. } => "chmod",
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn streamed<S, E>(stream: S) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    StreamBody::new(stream.map_ok(Frame::data).map_err(Into::into)).boxed_unsync()
}

fn to_json(value: &impl Serialize) -> Result<Bytes, MachineError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| MachineError::Host(error.to_string()))
}

async fn json<T: DeserializeOwned>(answer: Response<Incoming>) -> Result<T, MachineError> {
    let body = Limited::new(answer.into_body(), MAX_JSON).collect().await.map_err(unreachable)?;
    serde_json::from_slice(&body.to_bytes()).map_err(unreachable)
}

fn unreachable(error: impl std::fmt::Display) -> MachineError {
    MachineError::AgentUnreachable(error.to_string())
}

async fn bounded<T>(
    what: &'static str,
    after: Duration,
    work: impl Future<Output = Result<T, MachineError>>,
) -> Result<T, MachineError> {
    tokio::time::timeout(after, work).await.unwrap_or(Err(MachineError::TimedOut { what, after }))
}
