//! What the query of a socket asks to run, as each client writes it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use miosa_agent::protocol::{Exec, TerminalSize};

use super::dialect::Dialect;
use crate::api::compute::exec::request::{Words, agent, check_env, directory, words};
use crate::api::compute::exec::terminal_size;
use crate::http::exchange;
use crate::http::{ApiError, ApiResult, codes};

/// Names that are read; `args` and `env` may repeat.
const NAMES: [&str; 8] = ["command", "args", "env", "cwd", "tty", "pty", "rows", "cols"];

/// The pairs of the query.
#[derive(Debug, Default)]
pub(super) struct Asked(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        if let Ok(exchange) = exchange::of(&parts.extensions) {
            let unread = pairs.iter().map(|(name, _)| name.as_str());
            let unread = unread.filter(|name| !NAMES.contains(name)).map(|name| format!("?{name}"));
            exchange.note(|notes| {
                notes.query_read = true;
                notes.unread.extend(unread);
            });
        }
        Ok(Self(pairs))
    }
}

/// The same refusal, of a query instead of a body.
pub(super) fn of_query(mut error: ApiError) -> ApiError {
    if error.code == codes::VALIDATION_FAILED {
        error.code = codes::INVALID_PARAMETER;
    }
    error
}

impl Asked {
    /// The command.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub(super) fn exec(&self, dialect: Dialect, headers: &HeaderMap) -> ApiResult<Exec> {
        let command = self.one("command").map(|line| Words::Line(line.to_owned()));
        let env = self.env()?;
        let checked = words(command, None, self.args(dialect, headers))
            .and_then(|command| Ok((command, check_env(&env)?)))
            .and_then(|(command, ())| {
                Ok((command, directory(self.one("cwd").map(str::to_owned), None, None)?))
            });
        let (command, cwd) = checked.map_err(of_query)?;
        let tty = self.tty(dialect)?;
        Ok(Exec { command, cwd, env, timeout_ms: None, stdin: true, tty, detached: false })
    }

    fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.all(name).pop()
    }

    /// One by one (miosa-typescript), or all in one: joined by commas (miosa-python 2.19) or spaces (miosa-go 2.0).
    fn args(&self, dialect: Dialect, headers: &HeaderMap) -> Option<Vec<String>> {
        let args = self.all("args");
        let client = agent(headers);
        let go = client.starts_with("miosa-go") || client.starts_with("Go-http-client");
        let args: Vec<&str> = match args.as_slice() {
            [] => return None,
            [joined] if dialect == Dialect::Json => joined.split(',').collect(),
            [joined] if go => joined.split_ascii_whitespace().collect(),
            _ => args,
        };
        Some(args.into_iter().map(str::to_owned).collect())
    }

    /// `NAME=value`, repeated, or one JSON object (miosa-python 2.19).
    fn env(&self) -> ApiResult<BTreeMap<String, String>> {
        let mut env = BTreeMap::new();
        for given in self.all("env") {
            if given.starts_with('{') {
                let object: BTreeMap<String, String> =
                    serde_json::from_str(given).map_err(|error| {
                        ApiError::parameter("env", format!("is no object of texts: {error}"))
                    })?;
                env.extend(object);
            } else {
                let (name, value) = given
                    .split_once('=')
                    .ok_or_else(|| ApiError::parameter("env", "must be NAME=value"))?;
                env.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(env)
    }

    fn tty(&self, dialect: Dialect) -> ApiResult<Option<TerminalSize>> {
        let number = |name: &'static str| {
            let wrong = |_| ApiError::parameter(name, "must be a number of characters");
            self.one(name).map(|text| text.parse().map_err(wrong)).transpose()
        };
        let (rows, cols) = (number("rows")?, number("cols")?);
        let asked = match self.one("tty").or_else(|| self.one("pty")) {
            // Who gives a size and has no other word for it means a terminal (miosa-python 2.19).
            None => dialect == Dialect::Json && (rows.is_some() || cols.is_some()),
            Some("true" | "1" | "") => true,
            Some("false" | "0") => false,
            Some(_) => return Err(ApiError::parameter("tty", "must be true or false")),
        };
        asked.then(|| terminal_size(rows, cols).map_err(of_query)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::USER_AGENT;
    use miosa_agent::protocol::Command;

    use super::*;

    fn exec(dialect: Dialect, client: &'static str, query: &str) -> ApiResult<Exec> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(client));
        Asked(serde_urlencoded::from_str(query).unwrap()).exec(dialect, &headers)
    }

    fn argv(words: &[&str]) -> Command {
        Command::Argv(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn arguments_are_read_as_each_client_joins_them() {
        for (dialect, client, query, command) in [
            (Dialect::Frames, "", "command=ls+-l", Command::Shell("ls -l".into())),
            (Dialect::Frames, "node", "command=ls&args=-l&args=a+b", argv(&["ls", "-l", "a b"])),
            (Dialect::Frames, "node", "command=ls&args=a+b", argv(&["ls", "a b"])),
            (Dialect::Frames, "miosa-go/2.0.2", "command=ls&args=-l+-a", argv(&["ls", "-l", "-a"])),
            (Dialect::Json, "Python", "command=ls&args=-l,a b", argv(&["ls", "-l", "a b"])),
        ] {
            assert_eq!(exec(dialect, client, query).unwrap().command, command, "{query}");
        }
    }

    #[test]
    fn variables_are_pairs_or_an_object() {
        for query in [
            "command=x&env=A=1&env=B=a%3Db",
            "command=x&env=%7B%22A%22:%221%22,%22B%22:%22a=b%22%7D",
        ] {
            let env = exec(Dialect::Frames, "", query).unwrap().env;
            assert_eq!((env["A"].as_str(), env["B"].as_str()), ("1", "a=b"), "{query}");
        }
    }

    #[test]
    fn a_terminal_is_what_was_asked_for() {
        let size = |dialect, query: &str| {
            exec(dialect, "", query).unwrap().tty.map(|size| (size.rows, size.cols))
        };
        assert_eq!(size(Dialect::Frames, "command=x&rows=40&cols=90"), None);
        assert_eq!(size(Dialect::Frames, "command=x&tty=true&rows=40&cols=90"), Some((40, 90)));
        assert_eq!(size(Dialect::Frames, "command=x&tty=true"), Some((24, 80)));
        assert_eq!(size(Dialect::Json, "command=x&cols=90"), Some((24, 90)));
        assert_eq!(size(Dialect::Json, "command=x"), None);
        assert_eq!(size(Dialect::Bare, "command=x&pty=true"), Some((24, 80)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for query in [
            "",
            "command=",
            "command=x&env=A",
            "command=x&env=%7B",
            "command=x&env=1=2",
            "command=x&tty=perhaps",
            "command=x&tty=true&rows=0",
            "command=x&rows=many",
            "command=a%00",
        ] {
            let error = exec(Dialect::Frames, "", query).unwrap_err();
            assert_eq!(error.code, codes::INVALID_PARAMETER, "{query}");
        }
    }
}
