//! An agent as an ordinary process, and what its tests share.
#![allow(dead_code, unused_imports)] // each test file uses a part of it

pub use std::path::{Path, PathBuf};
pub use std::process::Stdio;
pub use std::time::{Duration, Instant};

pub use bytes::Bytes;
pub use futures_util::StreamExt as _;
pub use miosa_agent::protocol::{
    Change, Command, Entry, Exec, FailureCode, FileOp, Listing, TerminalSize,
};
pub use miosa_emulator::machines::agent::{Output, Running, Tunnel};
pub use miosa_emulator::machines::{Agent, AgentStream, MachineError};
pub use nix::sys::signal::{Signal, kill};
pub use nix::unistd::Pid;
pub use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
pub use tokio::net::{TcpListener, UnixStream};
pub use tokio::process::{Child, Command as Process};

pub const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub const BOUND: Duration = Duration::from_secs(20);

/// An agent with a workspace of its own.
pub struct Room {
    pub agent: Agent,
    pub process: Child,
    pub dir: tempfile::TempDir,
}

impl Room {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

pub fn program(dir: &Path, mode: &str, args: &[&str]) -> Process {
    let mut process = Process::new(env!("MIOSA_AGENT_ELF"));
    process.arg(mode).args(args).env("MIOSA_AGENT_SECRET", SECRET);
    // The end of its stream makes any other end in order, with what it started.
    process.kill_on_drop(args.contains(&"--linger"));
    if mode == "serve" {
        process.arg("--group-only").arg("--workspace").arg(dir);
    }
    process
}

/// The process and the stream to it over a pair of pipes.
pub fn piped(mut process: Process) -> (Child, AgentStream) {
    let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, Box::new(tokio::io::join(stdout, stdin)))
}

pub async fn room_with(args: &[&str]) -> Room {
    let dir = tempfile::tempdir().unwrap();
    let (process, stream) = piped(program(dir.path(), "serve", args));
    Room { agent: Agent::connect(stream).await.unwrap(), process, dir }
}

pub async fn room() -> Room {
    room_with(&[]).await
}

pub fn shell(line: &str) -> Exec {
    exec(Command::Shell(line.to_owned()))
}

pub fn exec(command: Command) -> Exec {
    Exec {
        command,
        cwd: None,
        env: std::collections::BTreeMap::new(),
        timeout_ms: Some(15_000),
        stdin: false,
        tty: None,
        detached: false,
    }
}

pub async fn said(agent: &Agent, line: &str) -> String {
    let finished = agent.run(shell(line), None, 1 << 20).await.unwrap();
    assert_eq!(finished.exit.exit_code, 0, "{finished:?}");
    String::from_utf8(finished.stdout.to_vec()).unwrap()
}

pub fn code<T: std::fmt::Debug>(outcome: Result<T, MachineError>) -> FailureCode {
    match outcome.unwrap_err() {
        MachineError::Agent(failure) => failure.code,
        other => panic!("{other:?}"),
    }
}

/// Waits for a condition on the outside.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Reads output until it holds `text`.
pub async fn read_until(running: &mut Running, text: &str) -> String {
    let mut all = String::new();
    tokio::time::timeout(BOUND, async {
        while !all.contains(text) {
            match running.next().await {
                Some(Ok(Output::Stdout(bytes))) => all.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("{other:?} after {all:?}"),
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {text:?}"));
    all
}
