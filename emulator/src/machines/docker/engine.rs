//! The connection to the engine: every call has a bound, and every failure is one of a few kinds.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::machines::MachineError;

/// Bound of a call that only asks.
pub const ASK: Duration = Duration::from_secs(10);
/// Bound of a call that makes, starts or removes something.
pub const ACT: Duration = Duration::from_secs(60);
/// Bound of a call that copies a machine's files.
pub const COPY: Duration = Duration::from_secs(15 * 60);

/// Why a call failed.
#[derive(Debug)]
pub enum Failed {
    /// The engine refused: HTTP status and message.
    Refused(u16, String),
    /// No answer within the bound.
    TimedOut(&'static str, Duration),
    /// The way to the engine broke.
    Broken(&'static str, String),
}

impl Failed {
    /// 404.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(404, _))
    }

    /// 409: in use, already in that state, or the name is taken.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(409, _))
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(status, message) => write!(f, "Docker refused ({status}): {message}"),
            Self::TimedOut(what, after) => write!(f, "{what} took longer than {after:?}"),
            Self::Broken(what, cause) => write!(f, "{what}: {cause}"),
        }
    }
}

impl From<Failed> for MachineError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::TimedOut(what, after) => Self::TimedOut { what, after },
            other => Self::Host(other.to_string()),
        }
    }
}

/// Waits for a call of the engine, `after` at most.
pub async fn bounded<T>(
    what: &'static str,
    after: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(after, call).await {
        Err(_) | Ok(Err(Error::RequestTimeoutError)) => Err(Failed::TimedOut(what, after)),
        Ok(Err(Error::DockerResponseServerError { status_code, message })) => {
            Err(Failed::Refused(status_code, message.trim().to_owned()))
        }
        Ok(Err(error)) => Err(Failed::Broken(what, cause(&error))),
        Ok(Ok(value)) => Ok(value),
    }
}

/// The failure with what lies below it, each said once.
fn cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        let more = below.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = below.source();
    }
    text
}

/// Connects to the engine of `host` (a `DOCKER_HOST`, or the local socket) and speaks its version of the API.
pub async fn connect(host: Option<&str>) -> Result<Docker, MachineError> {
    let host = match host {
        Some(host) => host.to_owned(),
        None => {
            std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()).unwrap_or_default()
        }
    };
    let shown = if host.is_empty() { "unix:///var/run/docker.sock" } else { &host };
    let unavailable = |why: String| {
        MachineError::Unavailable(format!(
            "no Docker engine at {shown}: {why}. Set DOCKER_HOST to an engine that runs, or use --machines namespace"
        ))
    };
    // The TLS of tcp:// is not compiled in; speaking plain text to a TLS port would only fail later and unclearly.
    if host.starts_with("https://")
        || host.starts_with("ssh://")
        || (host.starts_with("tcp://") && std::env::var_os("DOCKER_TLS_VERIFY").is_some())
    {
        return Err(unavailable(
            "TLS and ssh are not supported; forward its socket (ssh -L /tmp/d.sock:/var/run/docker.sock HOST) and set \
             DOCKER_HOST=unix:///tmp/d.sock"
                .to_owned(),
        ));
    }
    let made = match host.strip_prefix("tcp://").or(host.strip_prefix("http://")) {
        Some(address) => over_tcp(address),
        None => Docker::connect_with_host(shown),
    };
    let docker = made.map_err(|error| match error {
        Error::SocketNotFoundError(path) => unavailable(format!("there is no socket {path}")),
        other => unavailable(cause(&other)),
    })?;
    // The bound of bollard itself must not be below ours.
    let docker = docker.with_timeout(COPY);
    bounded("asking the Docker engine for its version", ASK, docker.negotiate_version())
        .await
        .map_err(|failed| {
            let text = failed.to_string();
            let hint = if text.contains("Permission denied") {
                " (add your user to the group docker)"
            } else if text.contains("refused") {
                " (the socket is there, the daemon is not; start it)"
            } else {
                ""
            };
            unavailable(format!("{text}{hint}"))
        })
}

/// An engine on a TCP port. bollard's own transport leaves Nagle's algorithm on, which makes every command through an
/// agent wait for a delayed acknowledgement (56 ms instead of 2, measured).
fn over_tcp(address: &str) -> Result<Docker, Error> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // A connection that was handed over to an agent must not come back.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(Error::from) }
    };
    let address = format!("http://{address}");
    Docker::connect_with_custom_transport(
        transport,
        Some(address),
        COPY.as_secs(),
        API_DEFAULT_VERSION,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absent_socket_is_said_with_what_to_do() {
        let Err(error) = connect(Some("unix:///nowhere/docker.sock")).await else {
            panic!("there is no engine");
        };
        let text = error.to_string();
        assert!(text.contains("no socket /nowhere/docker.sock"), "{text}");
        assert!(text.contains("DOCKER_HOST"), "{text}");
    }

    #[tokio::test]
    async fn a_socket_without_a_daemon_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let Err(error) = connect(Some(&format!("unix://{}", path.display()))).await else {
            panic!("nobody listens");
        };
        assert!(error.to_string().contains("the daemon is not"), "{error}");
    }

    #[tokio::test]
    async fn a_scheme_that_is_not_compiled_in_is_refused_before_any_byte() {
        let Err(error) = connect(Some("ssh://somewhere")).await else { panic!("unsupported") };
        assert!(error.to_string().contains("not supported"), "{error}");
    }

    #[tokio::test]
    async fn a_call_that_hangs_ends_at_its_bound() {
        let hangs = std::future::pending::<Result<(), Error>>();
        let failed = bounded("hanging", Duration::from_millis(1), hangs).await.unwrap_err();
        assert!(matches!(failed, Failed::TimedOut("hanging", _)));
    }
}
