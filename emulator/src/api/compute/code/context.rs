//! Contexts: an interpreter each, known to the machine by language and name.

use std::collections::BTreeMap;
use std::time::Duration;

use miosa_agent::protocol::Exec;
use miosa_agent::protocol::jobs::{Job, JobInfo, JobState, MAX_LOG, Restart};

use super::language::Language;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::Agent;

/// How many interpreters a sandbox may have.
const MOST: usize = 16;

/// A context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its language.
    pub language: Language,
    /// Its name.
    pub name: String,
}

/// What a cell finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The interpreter of earlier cells.
    Known,
    /// A new one.
    New,
    /// A new one, since the one before had died.
    Anew,
}

impl Context {
    /// A context by its name.
    ///
    /// # Errors
    /// 422 for a name that none can have.
    pub fn new(language: Language, name: &str) -> ApiResult<Self> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fits {
            let rule = "must be 1 to 64 letters, digits, dashes, dots and underscores";
            return Err(ApiError::field("context", rule));
        }
        Ok(Self { language, name: name.to_owned() })
    }

    /// What the agent knows it by.
    pub fn job(&self) -> String {
        format!("code/{}/{}", self.language.name(), self.name)
    }

    fn of_job(id: &str) -> Option<Self> {
        let (language, name) = id.strip_prefix("code/")?.split_once('/')?;
        Some(Self { language: Language::named(language)?, name: name.to_owned() })
    }

    /// Its interpreter, started unless it runs.
    ///
    /// # Errors
    /// 409 when there are too many.
    pub async fn interpreter(&self, agent: &Agent) -> ApiResult<(JobInfo, Found)> {
        let id = self.job();
        let known = agent.jobs().await?;
        let found = match known.iter().find(|job| job.id == id) {
            Some(job) if job.state == JobState::Running => return Ok((job.clone(), Found::Known)),
            Some(_) => Found::Anew,
            None => Found::New,
        };
        let living = known
            .iter()
            .filter(|job| job.state != JobState::Ended && Self::of_job(&job.id).is_some());
        if living.count() >= MOST {
            let text = format!("A sandbox has at most {MOST} contexts; reset one of them first.");
            return Err(ApiError::new(codes::RESOURCE_STATE, text));
        }
        let exec = Exec {
            command: self.language.command(),
            cwd: None,
            env: BTreeMap::new(),
            timeout_ms: None,
            stdin: true,
            tty: None,
            detached: true,
        };
        let job = Job { id, exec, log_bytes: MAX_LOG, restart: Restart::No };
        Ok((agent.start_job(&job).await?, found))
    }

    /// Ends its interpreter.
    ///
    /// # Errors
    /// 502 when the agent does not answer.
    pub async fn end(&self, agent: &Agent) -> ApiResult<()> {
        agent.stop_job(&self.job(), Duration::ZERO, true).await?;
        Ok(())
    }
}

/// The contexts whose interpreters run.
///
/// # Errors
/// 502 when the agent does not answer.
pub async fn all(agent: &Agent, language: Option<Language>) -> ApiResult<Vec<Context>> {
    let jobs = agent.jobs().await?;
    let running = jobs.iter().filter(|job| job.state != JobState::Ended);
    let contexts = running.filter_map(|job| Context::of_job(&job.id));
    Ok(contexts
        .filter(|context| language.is_none_or(|language| context.language == language))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_found_by_the_name_of_its_job() {
        for language in [Language::Python, Language::JavaScript] {
            let context = Context::new(language, "a.b_c-1").unwrap();
            assert_eq!(Context::of_job(&context.job()), Some(context));
        }
        assert_eq!(Context::of_job("process/x"), None);
        for name in ["", "a/b", "a b", &"x".repeat(65)] {
            assert_eq!(Context::new(Language::Python, name).unwrap_err().code.status, 422);
        }
    }
}
