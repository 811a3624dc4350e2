//! A service as clients read it.

use miosa_agent::protocol::jobs::{JobInfo, JobState, Restart};
use serde_json::{Value, json};

use super::Service;
use super::run::Seen;

/// `starting` (about to run, or about to run again), `running`, `stopped` or `failed`, and why where the word does not say.
fn status(service: &Service, seen: &Seen) -> (&'static str, Option<String>) {
    if !service.wanted {
        return ("stopped", None);
    }
    let jobs = match seen {
        Seen::Jobs(jobs) => jobs,
        Seen::Frozen => return ("stopped", Some("its sandbox is paused".into())),
        Seen::Down => {
            return ("stopped", Some("its sandbox does not run; it starts with it".into()));
        }
        Seen::Unknown => return ("failed", Some("its sandbox's machine does not answer".into())),
    };
    match jobs.get(&service.job()) {
        None => match &service.trouble {
            Some(trouble) => ("failed", Some(trouble.clone())),
            None => ("starting", None),
        },
        Some(job) => of_job(job),
    }
}

fn of_job(job: &JobInfo) -> (&'static str, Option<String>) {
    let failure = job.failure.as_ref().map(|failure| failure.message.clone());
    let code = job.exit.as_ref().map_or(0, |exit| exit.exit_code);
    match job.state {
        JobState::Running => ("running", None),
        JobState::Waiting => ("starting", Some(format!("it ended with exit code {code}"))),
        JobState::Ended if failure.is_some() => ("failed", failure),
        JobState::Ended if code == 0 || job.stopped => ("stopped", None),
        JobState::Ended => ("failed", Some(format!("it ended with exit code {code}"))),
    }
}

/// The record, in every client's words.
pub fn show(service: &Service, seen: &Seen) -> Value {
    let (status, reason) = status(service, seen);
    let job = match seen {
        Seen::Jobs(jobs) => jobs.get(&service.job()),
        _ => None,
    };
    let running = job.filter(|job| job.state == JobState::Running);
    let exit = job.and_then(|job| job.exit.as_ref());
    json!({
        "id": service.id,
        "sandbox_id": service.sandbox_id,
        "tenant_id": service.org,
        "workspace_id": service.owner.workspace_id,
        "project_id": service.owner.project_id,
        "name": service.name,
        "command": service.command,
        "cwd": service.cwd,
        "working_dir": service.cwd,
        "env": service.env,
        "restart": service.restart,
        "restart_policy": service.restart,
        "auto_restart": service.restart != Restart::No,
        "port": service.port,
        "status": status,
        "state": status,
        "reason": reason,
        "desired_state": if service.wanted { "running" } else { "stopped" },
        "pid": running.map(|job| job.pid),
        "exit_code": exit.map(|exit| exit.exit_code),
        "restart_count": job.map_or(0, |job| job.restarts),
        "created_at": service.created_at,
        "updated_at": service.updated_at,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use miosa_agent::protocol::Exit;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::http::ownership::Owner;

    fn service(wanted: bool) -> Service {
        Service {
            id: Uuid::nil(),
            org: Uuid::nil(),
            owner: Owner::default(),
            sandbox_id: Uuid::nil(),
            name: "web".into(),
            command: "run".into(),
            cwd: None,
            env: BTreeMap::new(),
            restart: Restart::OnFailure,
            port: None,
            wanted,
            trouble: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn seen(state: JobState, exit_code: Option<i32>, stopped: bool) -> Seen {
        let exit = exit_code.map(|exit_code| Exit {
            exit_code,
            signal: None,
            timed_out: false,
            duration_ms: 0,
        });
        let id = service(true).job();
        let job = JobInfo {
            id: id.clone(),
            state,
            pid: 7,
            exit,
            stopped,
            restarts: 2,
            ended_ms_ago: None,
            failure: None,
            log_end: 0,
            log_start: 0,
        };
        Seen::Jobs(HashMap::from([(id, job)]))
    }

    #[test]
    fn the_status_is_what_is_the_case() {
        for (wanted, seen, status) in [
            (true, seen(JobState::Running, None, false), "running"),
            (true, seen(JobState::Waiting, Some(1), false), "starting"),
            (true, seen(JobState::Ended, Some(0), false), "stopped"),
            (true, seen(JobState::Ended, Some(1), false), "failed"),
            (true, seen(JobState::Ended, Some(143), true), "stopped"),
            (false, seen(JobState::Ended, Some(143), true), "stopped"),
            (true, Seen::Jobs(HashMap::new()), "starting"),
            (true, Seen::Frozen, "stopped"),
            (true, Seen::Down, "stopped"),
        ] {
            assert_eq!(show(&service(wanted), &seen)["status"], status);
        }
    }
}
