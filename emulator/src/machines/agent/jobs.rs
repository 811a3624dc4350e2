//! Jobs: commands that belong to the machine and keep what they say.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use miosa_agent::protocol::FailureCode;
use miosa_agent::protocol::frame;
use miosa_agent::protocol::jobs::{Job, JobInfo, Jobs};

use super::content::query;
use super::running::{Frames, parse};
use super::{Agent, CONTROL_TIME, MachineError, bounded, json, to_json, unreachable, whole};

/// A part of what a job said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobSaid {
    /// Bytes of standard output, or of the terminal.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// This many bytes are not kept any more.
    Lost(u64),
    /// How it stands; nothing follows.
    Stands(JobInfo),
}

/// What a job said, part by part. Dropping it changes nothing for the job.
pub struct JobOutput {
    frames: Frames,
    over: bool,
    // The connection lives at least as long as what runs on it.
    _agent: Agent,
}

impl JobOutput {
    /// The next part; `None` after the last. Losing the agent is an error, never a silent end.
    pub async fn next(&mut self) -> Option<Result<JobSaid, MachineError>> {
        if self.over {
            return None;
        }
        let said = self.frames.next().await.and_then(|next| match next {
            Some((frame::STDOUT, bytes)) => Ok(JobSaid::Stdout(bytes)),
            Some((frame::STDERR, bytes)) => Ok(JobSaid::Stderr(bytes)),
            Some((frame::LOST, bytes)) => {
                let bytes = bytes.as_ref().try_into().map_err(unreachable)?;
                Ok(JobSaid::Lost(u64::from_be_bytes(bytes)))
            }
            Some((frame::JOB, job)) => Ok(JobSaid::Stands(parse(&job)?)),
            Some((kind, _)) => Err(unreachable(format_args!("unknown frame {kind}"))),
            None => Err(unreachable("the stream ended before the job")),
        });
        self.over = !matches!(said, Ok(JobSaid::Stdout(_) | JobSaid::Stderr(_) | JobSaid::Lost(_)));
        Some(said)
    }
}

impl Agent {
    /// Starts a job.
    pub async fn start_job(&self, job: &Job) -> Result<JobInfo, MachineError> {
        let body = to_json(job)?;
        bounded("starting a job", CONTROL_TIME, async {
            json(self.request(Method::POST, "/v1/jobs", whole(body)).await?).await
        })
        .await
    }

    /// Every job of the machine, oldest first.
    pub async fn jobs(&self) -> Result<Vec<JobInfo>, MachineError> {
        self.ask::<Jobs>("jobs", Method::GET, "/v1/jobs").await.map(|jobs| jobs.jobs)
    }

    /// How a job stands; `None` when the machine does not know it.
    pub async fn job(&self, id: &str) -> Result<Option<JobInfo>, MachineError> {
        let path = format!("/v1/jobs/info?{}", query(&[("id", id)])?);
        known(self.ask("a job", Method::GET, &path).await)
    }

    /// What a job said from byte `from` on: what is kept, or with `follow` what comes until it has ended.
    pub async fn job_output(
        &self,
        id: &str,
        from: u64,
        follow: bool,
    ) -> Result<JobOutput, MachineError> {
        let (from, follow) = (from.to_string(), follow.to_string());
        let asked = query(&[("id", id), ("from", &from), ("follow", &follow)])?;
        let path = format!("/v1/jobs/output?{asked}");
        let answer = bounded("a job's output", CONTROL_TIME, async {
            self.request(Method::GET, &path, whole(Bytes::new())).await
        });
        Ok(JobOutput { frames: Frames::of(answer.await?), over: false, _agent: self.clone() })
    }

    /// Writes to a job's standard input; with `end` it ends after that.
    pub async fn job_input(&self, id: &str, bytes: Bytes, end: bool) -> Result<(), MachineError> {
        let end = end.to_string();
        let path = format!("/v1/jobs/stdin?{}", query(&[("id", id), ("end", &end)])?);
        self.tell("input", Method::POST, &path, bytes).await
    }

    /// Sends a signal to the process group of a job.
    pub async fn signal_job(&self, id: &str, signal: i32) -> Result<(), MachineError> {
        let signal = signal.to_string();
        let path = format!("/v1/jobs/signal?{}", query(&[("id", id), ("signal", &signal)])?);
        self.tell("a signal", Method::POST, &path, Bytes::new()).await
    }

    /// Ends a job for good: TERM, `grace`, KILL. With `forget` the machine does not know it any more. `None` when it did
    /// not before.
    pub async fn stop_job(
        &self,
        id: &str,
        grace: Duration,
        forget: bool,
    ) -> Result<Option<JobInfo>, MachineError> {
        let (ms, forget) = (grace.as_millis().to_string(), forget.to_string());
        let asked = query(&[("id", id), ("grace_ms", &ms), ("forget", &forget)])?;
        let path = format!("/v1/jobs/stop?{asked}");
        let stopped = bounded("stopping a job", grace + CONTROL_TIME, async {
            json(self.request(Method::POST, &path, whole(Bytes::new())).await?).await
        });
        known(stopped.await)
    }
}

fn known(answer: Result<JobInfo, MachineError>) -> Result<Option<JobInfo>, MachineError> {
    match answer {
        Ok(job) => Ok(Some(job)),
        Err(MachineError::Agent(failure)) if failure.code == FailureCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
