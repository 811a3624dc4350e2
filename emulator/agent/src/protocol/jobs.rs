//! Jobs: commands that outlive their request, keep what they say, and may be started again when they end.

use serde::{Deserialize, Serialize};

use super::{Exec, Exit, Failure};

/// How many jobs an agent knows, ended ones included; the oldest ended one makes room for a new one.
pub const MAX_JOBS: usize = 128;

/// The longest id, in bytes.
pub const MAX_ID: usize = 200;

/// The most that a job's log may hold, in bytes.
pub const MAX_LOG: usize = 8 * 1024 * 1024;

/// A job to start. Its id is the emulator's: one that runs under it already is `EXISTS`, one that has ended starts anew
/// and its log goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which one; any text.
    pub id: String,
    /// What to run. `detached` is implied.
    pub exec: Exec,
    /// How many bytes of its output are kept, the newest.
    pub log_bytes: usize,
    /// Whether it is started again when it ends.
    pub restart: Restart,
}

/// When a job is started again. Never after a stop that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When its exit code is not 0.
    OnFailure,
    /// Whenever it ends.
    Always,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Which one.
    pub id: String,
    /// Where it stands.
    pub state: JobState,
    /// The process that runs, or ran last.
    pub pid: i32,
    /// How the last process ended; absent while the first one runs.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Whether somebody asked for its end.
    pub stopped: bool,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// Milliseconds since its last process ended.
    #[serde(default)]
    pub ended_ms_ago: Option<u64>,
    /// Why it could not be started again.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Bytes of output so far.
    pub log_end: u64,
    /// Where the part of it begins that is still kept.
    pub log_start: u64,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its process is there.
    Running,
    /// Its process has ended; the next one starts in a moment.
    Waiting,
    /// It has ended for good.
    Ended,
}

/// Every job that the agent knows, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// The jobs.
    pub jobs: Vec<JobInfo>,
}
