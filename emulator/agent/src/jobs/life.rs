//! A job's life: process after process, until it ends for good.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miosa_agent::codec::split;
use miosa_agent::protocol::Exit;
use miosa_agent::protocol::jobs::{Job as Wanted, JobInfo, JobState, Restart};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::Job;
use crate::exec::input::Input;
use crate::exec::see_through;
use crate::exec::start::{self, Command};
use crate::family::kill_session;
use crate::machine::Machine;
use crate::routes::signal_group;

/// The pause before the first restart; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A process that ran this long was no failed start: the pauses begin anew.
const SETTLED: Duration = Duration::from_secs(10);

/// How many pieces of output wait to be kept.
const PIECES_AHEAD: usize = 8;

/// How often a job that waits looks whether the machine is still frozen.
const FROZEN_LOOK: Duration = Duration::from_millis(50);

pub async fn live(
    machine: Arc<Machine>,
    job: Arc<Job>,
    wanted: Wanted,
    mut command: Command,
    mut typed: mpsc::Receiver<Option<Bytes>>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let exit = run(&machine, &job, &wanted, command, &mut typed).await;
        let again = again(wanted.restart, &exit) && !*job.stop.borrow();
        job.change(|status| {
            status.exit = Some(exit);
            status.ended = Some(Instant::now());
            status.state = if again { JobState::Waiting } else { JobState::Ended };
        });
        if !again {
            return;
        }
        if began.elapsed() >= SETTLED {
            pause = FIRST_PAUSE;
        }
        if !rest(&machine, &job, pause).await {
            return job.change(|status| status.state = JobState::Ended);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        command = match start::start(&machine, &wanted.exec) {
            Ok(next) => next,
            Err(failure) => {
                return job.change(|status| {
                    status.failure = Some(failure);
                    status.state = JobState::Ended;
                });
            }
        };
        let pid = command.pid;
        job.change(|status| {
            status.state = JobState::Running;
            status.pid = pid;
            status.restarts = status.restarts.saturating_add(1);
        });
        // A stop that came in between found nothing to end.
        if *job.stop.borrow() {
            end(&machine, pid, Signal::SIGTERM);
        }
    }
}

fn again(restart: Restart, exit: &Exit) -> bool {
    match restart {
        Restart::No => false,
        Restart::OnFailure => exit.exit_code != 0,
        Restart::Always => true,
    }
}

/// Waits out the pause, and a freeze. Whether the job shall go on.
async fn rest(machine: &Machine, job: &Job, pause: Duration) -> bool {
    let mut stop = job.stop.subscribe();
    let over = async {
        tokio::time::sleep(pause).await;
        while machine.frozen() {
            tokio::time::sleep(FROZEN_LOOK).await;
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => false,
        () = over => true,
    }
}

/// One process, from its start to its end.
async fn run(
    machine: &Machine,
    job: &Job,
    wanted: &Wanted,
    command: Command,
    typed: &mut mpsc::Receiver<Option<Bytes>>,
) -> Exit {
    let Command { pid, exited, outputs, input } = command;
    let (out, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let process = (pid, exited, outputs);
    let ending = async {
        // Dropped with the end of the process: then the pieces end too.
        let out = out;
        see_through(machine, &wanted.exec, process, feed(typed, input), &out).await
    };
    let keeping = async {
        while let Some(piece) = pieces.recv().await {
            if let Some((kind, bytes)) = split(piece) {
                job.said(kind, &bytes);
            }
        }
    };
    tokio::join!(ending, keeping).0
}

/// Feeds a process for as long as it runs. What is left unread waits for the next one.
async fn feed(typed: &mut mpsc::Receiver<Option<Bytes>>, mut input: Input) -> Infallible {
    while let Some(bytes) = typed.recv().await {
        match bytes {
            Some(bytes) => input.write(&bytes).await,
            None => input.end().await,
        }
    }
    std::future::pending().await
}

fn end(machine: &Machine, pid: i32, signal: Signal) {
    if signal == Signal::SIGKILL {
        machine.reaper.while_running(pid, || kill_session(pid));
    } else {
        // Gone already is as good.
        let _ = signal_group(machine, pid, signal as i32);
    }
}

/// Ends a job for good: asks, waits for `grace` at most, kills.
pub async fn stop(machine: &Machine, job: &Job, grace: Duration) -> JobInfo {
    if job.status().state == JobState::Ended {
        return job.info();
    }
    job.stop.send_replace(true);
    if let Some(pid) = job.running() {
        end(machine, pid, Signal::SIGTERM);
    }
    if tokio::time::timeout(grace, job.ended()).await.is_err() {
        if let Some(pid) = job.running() {
            end(machine, pid, Signal::SIGKILL);
        }
        job.ended().await;
    }
    job.info()
}
