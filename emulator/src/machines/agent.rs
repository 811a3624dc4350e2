//! The emulator's end of the stream to an agent.

use bytes::Bytes;
use miosa_agent::protocol::{Entry, Exec, Exit, FileOp, Health, Ports, TerminalSize, Usage};
use serde::de::DeserializeOwned;

use super::{AgentStream, MachineError};

/// A connected agent.
pub struct Agent;
/// A running command; dropping it kills the command.
pub struct Running {
    /// Its process id.
    pub pid: i32,
}
/// What a command says.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The end.
    Exit(Exit),
}
/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Standard output.
    pub stdout: Bytes,
    /// Standard error.
    pub stderr: Bytes,
    /// Whether it was cut.
    pub stdout_truncated: bool,
    /// Whether it was cut.
    pub stderr_truncated: bool,
    /// How it ended.
    pub exit: Exit,
}
/// A file's bytes.
pub type ContentStream = futures_util::stream::BoxStream<'static, Result<Bytes, MachineError>>;
/// Bytes to and from a port.
pub type Tunnel = tokio::io::DuplexStream;
/// A connection that wants to leave the machine.
pub struct Egress {
    /// `host:port`.
    pub target: String,
}
#[allow(missing_docs, unused_variables, clippy::unused_async)]
impl Egress {
    pub async fn accept(self) -> Result<Tunnel, MachineError> {
        todo()
    }
    pub async fn refuse(self, why: &str) -> Result<(), MachineError> {
        todo()
    }
}
fn todo<T>() -> Result<T, MachineError> {
    Err(MachineError::Unavailable("stub".into()))
}
#[allow(missing_docs, unused_variables, clippy::unused_async)]
impl Running {
    pub async fn next(&mut self) -> Option<Result<Output, MachineError>> {
        None
    }
    pub fn input(&self) -> Input {
        Input
    }
}
/// A running command's input.
#[derive(Clone)]
pub struct Input;
#[allow(missing_docs, unused_variables, clippy::unused_async)]
impl Input {
    pub async fn write(&self, bytes: Bytes) -> Result<(), MachineError> {
        todo()
    }
    pub async fn end(&self) -> Result<(), MachineError> {
        todo()
    }
    pub async fn resize(&self, size: TerminalSize) -> Result<(), MachineError> {
        todo()
    }
    pub async fn signal(&self, signal: i32) -> Result<(), MachineError> {
        todo()
    }
}
#[allow(missing_docs, unused_variables, clippy::unused_async)]
impl Agent {
    pub async fn connect(stream: AgentStream) -> Result<Self, MachineError> {
        todo()
    }
    pub async fn health(&self) -> Result<Health, MachineError> {
        todo()
    }
    pub async fn exec(&self, exec: Exec) -> Result<Running, MachineError> {
        todo()
    }
    pub async fn run(
        &self,
        exec: Exec,
        stdin: Option<Bytes>,
        max_output: usize,
    ) -> Result<Finished, MachineError> {
        todo()
    }
    pub async fn file_op<T: DeserializeOwned>(&self, op: &FileOp) -> Result<T, MachineError> {
        todo()
    }
    pub async fn read(&self, path: &str) -> Result<(Entry, ContentStream), MachineError> {
        todo()
    }
    pub async fn write(
        &self,
        path: &str,
        mode: Option<u32>,
        body: Bytes,
    ) -> Result<Entry, MachineError> {
        todo()
    }
    pub async fn tcp(&self, port: u16) -> Result<Tunnel, MachineError> {
        todo()
    }
    pub async fn accept_egress(&self) -> Result<Egress, MachineError> {
        todo()
    }
    pub async fn ports(&self) -> Result<Ports, MachineError> {
        todo()
    }
    pub async fn usage(&self) -> Result<Usage, MachineError> {
        todo()
    }
    pub fn is_closed(&self) -> bool {
        true
    }
    pub async fn closed(&self) {}
}
