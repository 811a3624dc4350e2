//! The messages between emulator and agent.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/health` | | [`Health`] |
//! | `POST /v1/exec` | frames: [`frame::START`] with [`Exec`], then input | frames: `STARTED`, output, `EXIT` |
//! | `POST /v1/files/{op}` | [`FileOp`] as JSON (`op` names the variant) | JSON of the variant's answer |
//! | `GET /v1/content?path=` | | the file's bytes, fewer than its size where it shrank meanwhile; `x-entry` = [`Entry`] as JSON |
//! | `PUT /v1/content?path=&mode=` | the file's bytes | [`Entry`]; parents are made, the file appears whole or not at all |
//! | `GET /v1/pack?path=` | | frames of [`crate::packed`]: the file, or what the directory holds; `FAILED` where it breaks off |
//! | `PUT /v1/unpack?path=` | frames of [`crate::packed`] | [`crate::packed::Unpacked`]; the directory is made, nothing leaves it |
//! | `GET /v1/watch?path=&recursive=` | | [`Change`] as JSON, one a line, until the path is gone or the client is; told from the answer's head on |
//! | `POST /v1/tcp?port=` | bytes to the port | bytes from the port; 502 `CONNECTION_REFUSED` when nothing listens |
//! | `POST /v1/egress` | a verdict of [`egress`], then bytes from outside | waits for a connection to leave the machine, answers with `x-target: host:port` and its bytes |
//! | `POST /v1/signal` | [`Signal`] | 204; 404 when no such command of the agent runs |
//! | `PUT /v1/environment` | [`Environment`] | 204; of commands that start from now on |
//! | `GET /v1/ports` | | [`Ports`] |
//! | `GET /v1/usage` | | [`Usage`] |
//! | `POST /v1/jobs` | [`jobs::Job`] | [`jobs::JobInfo`] |
//! | `GET /v1/jobs` | | [`jobs::Jobs`] |
//! | `GET /v1/jobs/info?id=` | | [`jobs::JobInfo`] |
//! | `GET /v1/jobs/output?id=&from=&follow=` | | frames: output from byte `from` on, `LOST` where some is gone, [`frame::JOB`] last: at the end of what is kept, or with `follow` of the job |
//! | `POST /v1/jobs/stdin?id=&end=` | bytes for its standard input | 204; with `end` the input ends after them |
//! | `POST /v1/jobs/signal?id=&signal=` | | 204; 409 when its process does not run |
//! | `POST /v1/jobs/stop?id=&grace_ms=&forget=` | | [`jobs::JobInfo`] when it has ended: TERM, the grace, KILL |
//! | `POST /v1/freeze`, `/v1/thaw` | | 204; every process but the agent stops, or those that a freeze stopped go on |
//! | `POST /v1/shutdown?grace_ms=` | | 204, then TERM, the grace, KILL, and the agent ends |
//!
//! A failure is a non-2xx status with [`Failure`] as JSON. `mode` in a query is a decimal number, as in JSON.
//!
//! An exec answer is 200 also when nothing ran: its only frame is then `FAILED`. A request stream that is reset
//! ends a command that is not `detached`; one that merely ends closes its standard input.
//!
//! A job is a command that belongs to no request: only a stop, its own end, or the machine's ends it.
//!
//! A stream to the agent's socket (`miosa-agent connect`) starts with the 32 bytes of its secret, before HTTP/2.

pub mod jobs;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A frame on an exec stream: one byte of kind, four bytes of length (big endian), the payload.
pub mod frame {
    /// Bytes for standard input (emulator to agent).
    pub const STDIN: u8 = 0x00;
    /// Bytes of standard output (agent to emulator).
    pub const STDOUT: u8 = 0x01;
    /// Bytes of standard error (agent to emulator).
    pub const STDERR: u8 = 0x02;
    /// [`super::Exit`] as JSON; the last frame of an answer.
    pub const EXIT: u8 = 0x03;
    /// End of standard input (emulator to agent), no payload.
    pub const STDIN_END: u8 = 0x04;
    /// [`super::TerminalSize`] as JSON (emulator to agent).
    pub const RESIZE: u8 = 0x05;
    /// A signal's number as one byte (emulator to agent), sent to the whole process group.
    pub const SIGNAL: u8 = 0x06;
    /// [`super::Exec`] as JSON; the first frame of a request.
    pub const START: u8 = 0x10;
    /// [`super::Started`] as JSON; the first frame of an answer.
    pub const STARTED: u8 = 0x11;
    /// [`super::Failure`] as JSON instead of `STARTED`: nothing ran. Among packed files: it breaks off here.
    pub const FAILED: u8 = 0x12;
    /// Bytes of a job's output that are not kept any more, as eight bytes (agent to emulator).
    pub const LOST: u8 = 0x13;
    /// [`super::jobs::JobInfo`] as JSON; the last frame of a job's output.
    pub const JOB: u8 = 0x14;
    /// An entry of packed files.
    pub const ENTRY: u8 = 0x20;
    /// Bytes of the last entry.
    pub const DATA: u8 = 0x21;
    /// The end of packed files, no payload.
    pub const END: u8 = 0x22;
    /// The largest payload of one frame, in bytes.
    pub const MAX_PAYLOAD: usize = 64 * 1024;
}

/// Variables of the agent's environment that say how commands run when their request does not.
pub mod defaults {
    /// Who they run as: a user's name or number, with `:GROUP` or without.
    pub const USER: &str = "MIOSA_AGENT_USER";
    /// Where they run. Made, and given to the user, when the agent starts.
    pub const WORKDIR: &str = "MIOSA_AGENT_WORKDIR";
}

/// The first byte that the emulator sends on a `POST /v1/egress` stream that got a connection.
pub mod egress {
    /// The target is connected: bytes follow. The agent answers 200 to a `CONNECT`.
    pub const CONNECTED: u8 = 0x00;
    /// The policy forbids the target: the rest is a sentence, and the agent answers 403 with it.
    pub const FORBIDDEN: u8 = 0x01;
    /// The target cannot be reached: the rest is a sentence, and the agent answers 502 with it.
    pub const UNREACHABLE: u8 = 0x02;
    /// The header that names the target.
    pub const TARGET: &str = "x-target";
}

/// A signal to the process group of a command that the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The command, as [`Started`] named it.
    pub pid: i32,
    /// The signal's number.
    pub signal: i32,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A line for the shell (`bash -c` where there is one, else `sh -c`).
    Shell(String),
    /// A program and its arguments, looked up in `PATH`.
    Argv(Vec<String>),
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// What to run.
    pub command: Command,
    /// Working directory: absolute, or relative to `/workspace`; `None` is `/workspace`, or `/` in a machine
    /// that has none.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Added to the machine's own environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The process group is killed after this many milliseconds of monotonic time.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Whether input frames follow; without it standard input is empty.
    #[serde(default)]
    pub stdin: bool,
    /// A terminal instead of three streams; output comes as `STDOUT`.
    #[serde(default)]
    pub tty: Option<TerminalSize>,
    /// Whether the command outlives the request that started it. Otherwise a client that goes away ends it.
    #[serde(default)]
    pub detached: bool,
}

/// How the environment of commands differs from the one that the agent was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Variables that are set, whatever they were.
    pub set: BTreeMap<String, String>,
    /// Variables that are not there, unless they are set.
    pub unset: BTreeSet<String>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub cols: u16,
}

/// The command has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The process id inside the machine, also its process group.
    pub pid: i32,
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal's number when a signal ended it.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Whether `timeout_ms` ended it.
    #[serde(default)]
    pub timed_out: bool,
    /// Milliseconds from start to end.
    pub duration_ms: u64,
}

/// An operation on the machine's files. Paths are absolute, or relative to `/workspace`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum FileOp {
    /// Answers [`Entry`] (of the path itself: a link is not followed).
    Stat {
        /// The path.
        path: String,
    },
    /// Answers [`Listing`]: the entries of a directory by name; `depth` 1 is the directory alone, deeper ones follow their parents.
    List {
        /// The directory.
        path: String,
        /// How deep to go, 1 to 20.
        depth: u32,
    },
    /// Answers [`Tree`].
    Tree {
        /// The root of the tree.
        path: String,
        /// How deep to go, 1 to 20.
        depth: u32,
    },
    /// Answers [`Entry`] of the new directory.
    Mkdir {
        /// The directory.
        path: String,
        /// Also make its parents, and accept that it exists.
        recursive: bool,
        /// Permission bits, `0o755` when absent.
        #[serde(default)]
        mode: Option<u32>,
    },
    /// Answers `{}`. A directory needs `recursive`.
    Remove {
        /// The path.
        path: String,
        /// Also remove what a directory holds.
        recursive: bool,
    },
    /// Answers [`Entry`] of the destination; makes the destination's parents.
    Rename {
        /// From here.
        from: String,
        /// To there.
        to: String,
    },
    /// Answers [`Entry`] of the destination; makes the destination's parents.
    Copy {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// Needed for a directory.
        recursive: bool,
    },
    /// Answers [`Entry`].
    Chmod {
        /// The path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
}

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// The absolute path.
    pub path: String,
    /// Bytes (of a directory: 0).
    pub size: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Milliseconds since 1970, UTC.
    pub modified_at_ms: i64,
    /// Where a symbolic link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlink_target: Option<String>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Other,
}

/// The entries of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The directory's absolute path.
    pub path: String,
    /// Its entries, by name.
    pub entries: Vec<Entry>,
    /// Whether the agent stopped at its own bound of entries.
    pub truncated: bool,
}

/// A directory with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The node itself.
    #[serde(flatten)]
    pub entry: Entry,
    /// What it holds, by name; absent for a file and below `depth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<Vec<Tree>>,
    /// Whether the agent stopped at its own bound of entries.
    #[serde(default)]
    pub truncated: bool,
}

/// Something has changed below a path that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub event: ChangeKind,
    /// The absolute path that it happened to; of a rename the new one, of an overflow the watched one.
    pub path: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Where it was before a rename.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
}

/// What a [`Change`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is there now.
    Created,
    /// Its bytes are others.
    Modified,
    /// It is there no more.
    Deleted,
    /// It has another name, inside of what is watched.
    Renamed,
    /// Changes were lost, or some directories are not watched: there were too many.
    Overflow,
}

/// The agent is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The agent's version.
    pub version: String,
    /// Its process id; 1 in a machine.
    pub pid: u32,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
}

/// Ports that listen inside the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// By number.
    pub ports: Vec<Port>,
}

/// A listening port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// `tcp`.
    pub protocol: String,
    /// The address it listens on.
    pub address: String,
    /// Its number.
    pub port: u16,
    /// The process that listens, where it can be told.
    #[serde(default)]
    pub pid: Option<i32>,
    /// That process's name.
    #[serde(default)]
    pub process: Option<String>,
}

/// What the machine has used since it started. Measured, never estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all processes, ended ones included, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory of all processes but the agent, in bytes; what they share counts for each.
    pub memory_bytes: u64,
    /// Bytes received on all interfaces but `lo`; `None` where there is no other.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent on all interfaces but `lo`; `None` where there is no other.
    pub network_tx_bytes: Option<u64>,
    /// Processes now, the agent excluded.
    pub processes: u32,
}

/// Why the agent could not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub code: FailureCode,
    /// A sentence for the client.
    pub message: String,
}

/// The kinds of failure; the HTTP status follows from the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCode {
    /// 404: no such file, process or route.
    NotFound,
    /// 409: it exists already.
    Exists,
    /// 409: a directory where a file was meant.
    IsDirectory,
    /// 409: a file where a directory was meant.
    NotDirectory,
    /// 409: the directory holds something and `recursive` was not given.
    NotEmpty,
    /// 403: below `/proc`, `/sys` or `/dev`, or the permissions forbid it.
    ForbiddenPath,
    /// 400: empty, NUL inside, too long, or not absolute where it must be.
    InvalidPath,
    /// 400: the message could not be read.
    InvalidRequest,
    /// 409: its process does not run.
    NotRunning,
    /// 409: there are as many as there may be, and all of them run.
    TooMany,
    /// 502: nothing listens on the port.
    ConnectionRefused,
    /// 507: no space left.
    NoSpace,
    /// 500: the system refused for another reason.
    Io,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl FailureCode {
    /// The HTTP status that carries this failure.
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Exists
            | Self::IsDirectory
            | Self::NotDirectory
            | Self::NotEmpty
            | Self::NotRunning
            | Self::TooMany => 409,
            Self::ForbiddenPath => 403,
            Self::InvalidPath | Self::InvalidRequest => 400,
            Self::ConnectionRefused => 502,
            Self::NoSpace => 507,
            Self::Io => 500,
        }
    }
}
