//! What is kept of a process.

use miosa_agent::protocol::jobs::{JobInfo, JobState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::http::ownership::Owner;
use crate::store::{Keys, Resource};

/// Which family started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `/commands`.
    Command,
    /// `/processes`.
    Process,
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for; the machine has not answered yet.
    Starting,
    /// Runs, as far as is known.
    Running,
    /// Ended by itself.
    Exited,
    /// Ended because somebody asked for it, or with its machine.
    Stopped,
    /// Never ran.
    Failed,
}

impl State {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// A process as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Workspace, project and external ids: the sandbox's.
    #[serde(flatten)]
    pub owner: Owner,
    /// In which sandbox.
    pub sandbox_id: Uuid,
    /// Which family started it.
    pub origin: Origin,
    /// The client's own name for it.
    pub name: Option<String>,
    /// The line, or the program and its arguments.
    pub command: String,
    /// As asked.
    pub cwd: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Its number in the machine, once it has one.
    pub pid: Option<i32>,
    /// Where it stands.
    pub state: State,
    /// How it ended, where that is known.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether its timeout ended it.
    pub timed_out: bool,
    /// Why it ended, where its exit code does not say so.
    pub reason: Option<String>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended, where that is known.
    pub stopped_at: Option<Timestamp>,
    /// When the row was last changed.
    pub updated_at: Timestamp,
}

impl Process {
    /// What the agent knows it by.
    pub fn job(&self) -> String {
        job(self.id)
    }

    /// Whether it runs, or is about to, as far as the row knows.
    pub fn lives(&self) -> bool {
        matches!(self.state, State::Starting | State::Running)
    }

    /// Takes over what the agent says of it.
    pub fn learn(&mut self, job: &JobInfo, now: Timestamp) {
        self.pid = Some(job.pid);
        self.updated_at = now;
        if job.state != JobState::Ended {
            self.state = State::Running;
            return;
        }
        self.state = if job.stopped { State::Stopped } else { State::Exited };
        let ago = job.ended_ms_ago.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0);
        self.stopped_at = Some(Timestamp(now.0.saturating_sub(ago)).max(self.started_at));
        if let Some(exit) = &job.exit {
            self.exit_code = Some(if exit.timed_out { -1 } else { exit.exit_code });
            self.signal = exit.signal;
            self.timed_out = exit.timed_out;
        }
    }

    /// It is gone, and how it ended nobody can say.
    pub fn lost(&mut self, reason: &str, now: Timestamp) {
        self.state = if self.state == State::Starting { State::Failed } else { State::Stopped };
        self.reason = Some(reason.to_owned());
        self.updated_at = now;
    }
}

/// What the agent knows a process by.
pub fn job(id: Uuid) -> String {
    format!("process/{id}")
}

impl Resource for Process {
    const KIND: &'static str = "process";
    const PLURAL: &'static str = "processes";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: Some(self.sandbox_id),
            state: self.state.as_str(),
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.started_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}

#[cfg(test)]
mod tests {
    use miosa_agent::protocol::Exit;

    use super::*;

    fn running() -> Process {
        Process {
            id: Uuid::nil(),
            org: Uuid::nil(),
            owner: Owner::default(),
            sandbox_id: Uuid::nil(),
            origin: Origin::Process,
            name: None,
            command: "true".into(),
            cwd: None,
            tty: false,
            pid: Some(7),
            state: State::Running,
            exit_code: None,
            signal: None,
            timed_out: false,
            reason: None,
            started_at: Timestamp(1000),
            stopped_at: None,
            updated_at: Timestamp(1000),
        }
    }

    fn ended(exit: Exit, stopped: bool) -> JobInfo {
        JobInfo {
            id: String::new(),
            state: JobState::Ended,
            pid: 7,
            exit: Some(exit),
            stopped,
            restarts: 0,
            ended_ms_ago: Some(500),
            failure: None,
            log_end: 0,
            log_start: 0,
        }
    }

    #[test]
    fn the_end_says_how_and_when() {
        let exit = Exit { exit_code: 3, signal: None, timed_out: false, duration_ms: 1 };
        let mut process = running();
        process.learn(&ended(exit.clone(), false), Timestamp(9000));
        assert_eq!((process.state, process.exit_code), (State::Exited, Some(3)));
        assert_eq!(process.stopped_at, Some(Timestamp(8500)));
        let mut process = running();
        process.learn(&ended(Exit { timed_out: true, ..exit }, true), Timestamp(9000));
        assert_eq!((process.state, process.exit_code), (State::Stopped, Some(-1)));
    }

    #[test]
    fn one_that_is_gone_has_no_exit_code_and_a_reason() {
        let mut process = running();
        process.lost("its machine ended", Timestamp(9000));
        assert_eq!((process.state, process.exit_code), (State::Stopped, None));
        let mut process = Process { state: State::Starting, ..running() };
        process.lost("never started", Timestamp(9000));
        assert_eq!((process.state, process.stopped_at), (State::Failed, None));
    }
}
