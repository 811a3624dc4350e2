//! The emulator as a user starts it: its own process, told apart from this one, ended by signals.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::missing_panics_doc, missing_docs)]

pub mod host;

use std::fs::OpenOptions;
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Client, Reply};

/// What is waited for comes within this, on a computer under load.
pub const BOUND: Duration = Duration::from_secs(60);

/// A data directory, and how emulators are started on it. When it is dropped, nothing of theirs is left.
pub struct Home {
    root: tempfile::TempDir,
    machines: &'static str,
}

impl Home {
    /// A fresh one, for machines of this kind.
    pub fn new(machines: &'static str) -> Self {
        // Machines run under other ids: they must be able to pass through.
        let open = std::fs::Permissions::from_mode(0o711);
        let root = tempfile::Builder::new().permissions(open).tempdir().unwrap();
        Self { root, machines }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data().join("state.db")
    }

    /// The database, opened: for what only a crash can bring about. No emulator may be running.
    pub fn state(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.database()).unwrap()
    }

    /// The id under which an engine knows what belongs to this directory.
    pub fn owner(&self) -> Option<String> {
        let state = rusqlite::Connection::open(self.database()).ok()?;
        state
            .query_row("SELECT value FROM settings WHERE key = 'data_id'", [], |row| row.get(0))
            .ok()
    }

    /// Where emulators write their log.
    pub fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// An emulator on this directory, ready.
    pub async fn start(&self) -> Program {
        let data = self.data();
        self.run(&["--data", data.to_str().unwrap()]).await
    }

    /// An emulator that keeps nothing.
    pub async fn ephemeral(&self) -> Program {
        self.run(&["--ephemeral"]).await
    }

    /// An emulator that cannot start: its exit code and what it says.
    pub async fn refused(&self) -> (i32, String) {
        let data = self.data();
        let mut command = self.command(&["--data", data.to_str().unwrap()]);
        command.stderr(Stdio::piped());
        let output = tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_miosa-emulator"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--rate-limit", "off"])
            .args(["--machines", self.machines])
            .args(arguments)
            .env("TMPDIR", self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Program {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut child = self.command(arguments).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(BOUND, lines.next_line()).await.expect("ready in time");
        let Some(line) = line.unwrap() else { panic!("no ready line:\n{}", self.tail()) };
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ready"], true, "{ready}");
        let address = ready["listen"].as_str().unwrap().parse().unwrap();
        Program { child, address, ready, log: self.log() }
    }

    /// The end of the log.
    pub fn tail(&self) -> String {
        tail(&self.log())
    }

    /// What is left in the directory beside the log.
    pub fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| *path != self.log()).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log's end:\n{}", self.tail());
        }
        if self.machines == "docker"
            && let Some(owner) = self.owner()
        {
            host::clear(owner);
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// An emulator that runs.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    /// Its ready line.
    pub ready: Value,
    log: PathBuf,
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// A client of it with this key.
    pub fn client(&self, key: &str) -> Client {
        Client::new(self.address, key)
    }

    /// `kill -9`. It is gone when this returns.
    pub async fn kill(mut self) {
        self.child.start_kill().unwrap();
        tokio::time::timeout(BOUND, self.child.wait()).await.unwrap().unwrap();
    }

    /// Says SIGTERM and goes on.
    pub fn tell_to_end(&self) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(mut self, within: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("no end within {within:?}:\n{}", tail(&self.log))).unwrap()
    }

    /// SIGTERM, and an end without a complaint.
    pub async fn terminate(self) {
        self.tell_to_end();
        let status = self.ended(Duration::from_secs(40)).await;
        assert!(status.success(), "{status}");
    }

    /// Ends it one way or the other.
    pub async fn end(self, how: End) {
        match how {
            End::Kill => self.kill().await,
            End::Terminate => self.terminate().await,
        }
    }
}

/// How an emulator ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `kill -9`.
    Kill,
    /// SIGTERM.
    Terminate,
}

/// Waits until `holds`, and no longer than [`BOUND`].
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the sandbox is in this state.
pub async fn until_state(client: &Client, id: &str, state: &str) -> Value {
    let path = format!("/sandboxes/{id}");
    until(&format!("{id} is {state}"), || async {
        client.get(&path).await.json()["data"]["state"] == state
    })
    .await;
    client.get(&path).await.data(200)
}

/// What a command in the sandbox says; it must succeed.
pub async fn said(client: &Client, id: &str, command: &str) -> String {
    let body = serde_json::json!({ "command": command });
    let done: Reply = client.post(&format!("/sandboxes/{id}/exec"), body).await;
    let done = done.data(200);
    assert_eq!(done["exit_code"], 0, "{command}: {done}");
    done["stdout"].as_str().unwrap().trim().to_owned()
}

/// The id of a record.
pub fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}
