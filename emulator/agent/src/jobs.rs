//! Jobs: commands that belong to the machine, not to a request.
//!
//! The table holds each under the id that the emulator gave it. A task of its own sees a job through to its end, the ends
//! in between included; whoever wants to know looks at the shared part or follows its log.

mod life;
mod log;
mod output;
pub mod routes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use miosa_agent::protocol::jobs::{Job as Wanted, JobInfo, JobState, MAX_ID, MAX_JOBS, MAX_LOG};
use miosa_agent::protocol::{Exit, Failure, FailureCode};
use tokio::sync::{mpsc, watch};

use crate::answer::invalid;
use crate::exec::start;
use crate::machine::Machine;
use log::Log;

/// How many writes to a job's input wait while it does not read.
const INPUT_AHEAD: usize = 16;

/// Every job, oldest first.
#[derive(Default)]
pub struct Table(Mutex<Vec<Arc<Job>>>);

/// A job as everybody sees it.
pub struct Job {
    id: String,
    status: Mutex<Status>,
    log: Mutex<Log>,
    /// Counts changes of either.
    changed: watch::Sender<u64>,
    /// Whether it shall end for good.
    stop: watch::Sender<bool>,
    /// The way to its input; `None` is the end of it.
    input: mpsc::Sender<Option<Bytes>>,
}

struct Status {
    state: JobState,
    pid: i32,
    exit: Option<Exit>,
    restarts: u32,
    ended: Option<Instant>,
    failure: Option<Failure>,
}

impl Table {
    fn jobs(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<Job>, Failure> {
        let found = self.jobs().iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| Failure::new(FailureCode::NotFound, format!("there is no job {id}")))
    }

    fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().clone()
    }

    fn forget(&self, id: &str) {
        self.jobs().retain(|job| job.id != id);
    }
}

/// Starts a job. Not async: two that want one id must not come between each other.
fn start(machine: &Arc<Machine>, mut wanted: Wanted) -> Result<JobInfo, Failure> {
    if wanted.id.is_empty() || wanted.id.len() > MAX_ID {
        return Err(invalid(format_args!("an id has 1 to {MAX_ID} bytes")));
    }
    wanted.exec.detached = true;
    let mut jobs = machine.jobs.jobs();
    let mut log = Log::new(wanted.log_bytes.min(MAX_LOG));
    if let Some(before) = jobs.iter().position(|job| job.id == wanted.id) {
        let known = jobs.get(before).filter(|job| job.status().state != JobState::Ended);
        if known.is_some() {
            return Err(Failure::new(FailureCode::Exists, format!("job {} runs", wanted.id)));
        }
        std::mem::swap(&mut *jobs.remove(before).log(), &mut log);
    } else if jobs.len() >= MAX_JOBS {
        let ended = jobs.iter().position(|job| job.status().state == JobState::Ended);
        let ended = ended.ok_or_else(|| {
            let text = format!("{MAX_JOBS} jobs run already; stop one of them");
            Failure::new(FailureCode::TooMany, text)
        })?;
        jobs.remove(ended);
    }
    let command = start::start(machine, &wanted.exec)?;
    let (input, typed) = mpsc::channel(INPUT_AHEAD);
    let job = Arc::new(Job {
        id: wanted.id.clone(),
        status: Mutex::new(Status {
            state: JobState::Running,
            pid: command.pid,
            exit: None,
            restarts: 0,
            ended: None,
            failure: None,
        }),
        log: Mutex::new(log),
        changed: watch::channel(0).0,
        stop: watch::channel(false).0,
        input,
    });
    jobs.push(job.clone());
    let info = job.info();
    // Ends with the job.
    tokio::spawn(life::live(machine.clone(), job, wanted, command, typed));
    Ok(info)
}

impl Job {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how it stands, and tells who waits.
    fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status());
        self.tell();
    }

    /// Adds to what it said.
    fn said(&self, kind: u8, bytes: &[u8]) {
        self.log().push(kind, bytes);
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Its process, while it is there: between two of them the number may be another's.
    fn running(&self) -> Option<i32> {
        let status = self.status();
        (status.state == JobState::Running).then_some(status.pid)
    }

    fn info(&self) -> JobInfo {
        let status = self.status();
        let (log_start, log_end) = self.log().range();
        JobInfo {
            id: self.id.clone(),
            state: status.state,
            pid: status.pid,
            exit: status.exit.clone(),
            stopped: *self.stop.borrow(),
            restarts: status.restarts,
            ended_ms_ago: status.ended.map(|at| at.elapsed().as_millis() as u64),
            failure: status.failure.clone(),
            log_end,
            log_start,
        }
    }

    /// Waits until it has ended for good.
    async fn ended(&self) {
        let mut changes = self.changed.subscribe();
        while self.status().state != JobState::Ended {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
