//! The repository that a sandbox clones once (miosa-python 2.19: `github_repo_url`, `github_branch`, `github_clone_path`).

use std::time::Duration;

use miosa_agent::protocol::Command;
use serde::{Deserialize, Serialize};

use super::entrypoint::{line, tail};
use super::note;
use super::progress::Progress;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{ApiError, ApiResult, validation};
use crate::machines::Agent;

/// How long a clone may take.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What git can clone from.
const SCHEMES: [&str; 5] = ["https://", "http://", "ssh://", "git://", "file://"];

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Where from.
    pub url: String,
    /// Which branch; the repository's own default when absent.
    pub branch: Option<String>,
    /// Where to: absolute, or relative to `/workspace`.
    pub path: String,
    /// How far it has come.
    pub progress: Progress,
}

impl Repository {
    /// A repository that git can be asked for.
    ///
    /// # Errors
    /// 422 naming the field that is wrong.
    pub fn of(
        url: Option<String>,
        branch: Option<String>,
        path: Option<String>,
    ) -> ApiResult<Option<Self>> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (branch, path) = (given(branch), given(path));
        let Some(url) = given(url) else {
            return match (branch, path) {
                (None, None) => Ok(None),
                _ => Err(ApiError::field("github_repo_url", "is missing")),
            };
        };
        validation::text("github_repo_url", &url, 1, 2048)?;
        // `git@github.com:owner/name.git` is a place too.
        let scp = url.split_once(':').is_some_and(|(host, _)| host.contains('@'));
        if !(scp || SCHEMES.iter().any(|scheme| url.starts_with(scheme))) || url.contains('\n') {
            return Err(ApiError::field("github_repo_url", "must be the URL of a git repository"));
        }
        if let Some(branch) = &branch {
            validation::text("github_branch", branch, 1, 255)?;
            if branch.starts_with('-') {
                return Err(ApiError::field("github_branch", "must not begin with a dash"));
            }
        }
        let name = url.trim_end_matches('/').trim_end_matches(".git");
        let name = name.rsplit(['/', ':']).next().filter(|name| !name.is_empty());
        let path = path.unwrap_or_else(|| name.unwrap_or("repository").to_owned());
        validation::text("github_clone_path", &path, 1, 4095)?;
        Ok(Some(Self { url, branch, path, progress: Progress::default() }))
    }

    fn command(&self) -> Vec<String> {
        let branch = self.branch.iter().flat_map(|branch| ["--branch", branch]);
        let words = ["git", "clone", "--quiet"].into_iter().chain(branch);
        words.chain(["--", &self.url, &self.path]).map(str::to_owned).collect()
    }
}

/// Clones it, if that has not been done.
pub(super) async fn run(app: &App, sandbox: &Sandbox, agent: &Agent) -> ApiResult<()> {
    let key = (sandbox.org, sandbox.id);
    let begun = note(app, key, |startup, now| {
        let repository = startup.repository.as_mut()?;
        repository.progress.begin(now).then(|| repository.command())
    });
    let Some(command) = begun.await?.flatten() else { return Ok(()) };
    let outcome = execute(agent, command).await;
    note(app, key, |startup, now| {
        if let Some(repository) = &mut startup.repository {
            repository.progress.end(outcome, now);
        }
    })
    .await
    .map(drop)
}

async fn execute(agent: &Agent, command: Vec<String>) -> Result<(), String> {
    let mut exec = line(String::new(), LONGEST);
    exec.command = Command::Argv(command);
    // A question for a password would never be answered.
    exec.env.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
    let ended = agent.run(exec, None, 64 * 1024).await.map_err(|error| error.to_string())?;
    if ended.exit.timed_out {
        return Err(format!("git clone took longer than {} minutes", LONGEST.as_secs() / 60));
    }
    match ended.exit.exit_code {
        0 => Ok(()),
        code => Err(format!("git clone ended with {code}: {}", tail(&ended))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, branch: Option<&str>, path: Option<&str>) -> ApiResult<Option<Repository>> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Repository::of(text(Some(url)), text(branch), text(path))
    }

    #[test]
    fn a_clone_goes_where_git_would_put_it_unless_told() {
        let path = |url| of(url, None, None).unwrap().unwrap().path;
        assert_eq!(path("https://github.com/owner/name.git"), "name");
        assert_eq!(path("git@github.com:owner/name"), "name");
        let repository = of("https://x.test/a/b", Some("main"), Some("/opt/b")).unwrap().unwrap();
        assert_eq!(
            repository.command(),
            ["git", "clone", "--quiet", "--branch", "main", "--", "https://x.test/a/b", "/opt/b"]
        );
    }

    #[test]
    fn what_git_would_take_for_something_else_is_refused() {
        for (url, branch) in [
            ("--upload-pack=x", None),
            ("ext::sh -c x", None),
            ("/etc", None),
            ("https://x.test/a", Some("--orphan")),
        ] {
            assert_eq!(of(url, branch, None).unwrap_err().code.status, 422, "{url}");
        }
        assert!(Repository::of(None, Some("main".into()), None).is_err());
        assert_eq!(Repository::of(Some(String::new()), None, None).unwrap(), None);
    }
}
