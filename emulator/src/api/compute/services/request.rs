//! What a client asks to be kept running, in the words of every client.

use std::collections::BTreeMap;

use miosa_agent::protocol::Command;
use miosa_agent::protocol::jobs::Restart;
use serde::Deserialize;
use serde_json::Value;

use super::record::{self, Service};
use crate::api::compute::exec::request::{Words, check_env, directory, words};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::store::Tx;

/// The body (`api-reference/services`; `working_dir`, `restart_policy`: miosa-python 2.19; `auto_restart`: miosa-elixir 1.1).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Body {
    name: Option<String>,
    command: Option<Words>,
    cwd: Option<String>,
    working_dir: Option<String>,
    env: Option<BTreeMap<String, String>>,
    restart: Option<String>,
    restart_policy: Option<String>,
    auto_restart: Option<bool>,
    port: Option<i64>,
}

/// A service that may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// A line for the shell.
    pub command: String,
    /// Where it runs.
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    pub env: BTreeMap<String, String>,
    /// When it is started again.
    pub restart: Restart,
    /// The port that it serves.
    pub port: Option<u16>,
}

impl Body {
    /// Checks it field by field.
    ///
    /// # Errors
    /// 422 naming the field.
    pub fn check(self) -> ApiResult<Wanted> {
        let name = self.name.clone().ok_or_else(|| ApiError::field("name", "is missing"))?;
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !starts || !fits || name.len() > 63 {
            let rule =
                "must be a lower-case letter, then up to 62 lower-case letters, digits and dashes";
            return Err(ApiError::field("name", rule));
        }
        let restart = self.restart()?;
        let port = match self.port {
            None => None,
            Some(port) => Some(
                u16::try_from(port)
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| ApiError::field("port", "must be 1 to 65535"))?,
            ),
        };
        let env = self.env.unwrap_or_default();
        check_env(&env)?;
        let Command::Shell(command) = words(self.command, None, None)? else {
            return Err(ApiError::field("command", "must be a line for the shell"));
        };
        let cwd = directory(self.cwd, self.working_dir, None)?;
        Ok(Wanted { name, command, cwd, env, restart, port })
    }

    fn restart(&self) -> ApiResult<Restart> {
        let read = |field, value: &Option<String>| match value.as_deref() {
            None => Ok(None),
            Some("always") => Ok(Some(Restart::Always)),
            Some("on-failure" | "on_failure") => Ok(Some(Restart::OnFailure)),
            Some("no" | "never") => Ok(Some(Restart::No)),
            Some(_) => Err(ApiError::field(field, "must be always, on-failure or no")),
        };
        let restart = read("restart", &self.restart)?;
        let policy = read("restart_policy", &self.restart_policy)?;
        if let (Some(one), Some(other)) = (restart, policy)
            && one != other
        {
            return Err(ApiError::field("restart_policy", "contradicts restart; send one of them"));
        }
        let named = restart.or(policy);
        match (named, self.auto_restart) {
            (Some(named), Some(auto)) if auto == (named == Restart::No) => {
                Err(ApiError::field("auto_restart", "contradicts restart; send one of them"))
            }
            (Some(named), _) => Ok(named),
            (None, Some(true)) => Ok(Restart::Always),
            (None, Some(false)) => Ok(Restart::No),
            (None, None) => Ok(Restart::OnFailure),
        }
    }
}

/// The services that a create asks for.
///
/// # Errors
/// 422 naming the field, or for too many.
pub fn of_create(asked: Option<Value>) -> ApiResult<Vec<Wanted>> {
    let Some(asked) = asked.filter(|asked| !matches!(asked, Value::Null | Value::Bool(false)))
    else {
        return Ok(Vec::new());
    };
    let bodies: Vec<Body> = serde_json::from_value(asked)
        .map_err(|error| ApiError::field("services", error.to_string()))?;
    if bodies.len() as u64 > super::MOST {
        return Err(ApiError::field("services", format!("must be at most {}", super::MOST)));
    }
    let checked = bodies.into_iter().enumerate().map(|(at, body)| {
        body.check().map_err(|error| ApiError::field(&format!("services[{at}]"), error.message))
    });
    checked.collect()
}

/// Writes the rows of services that start with their sandbox.
///
/// # Errors
/// 409 for a name that is there twice.
pub fn intend(tx: &Tx<'_>, app: &App, sandbox: &Sandbox, wanted: &[Wanted]) -> ApiResult<()> {
    for one in wanted {
        let service: Service =
            record::new(app.ids.next(), sandbox, one.clone(), sandbox.created_at);
        tx.insert(&service)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value) -> ApiResult<Wanted> {
        serde_json::from_value::<Body>(value).unwrap().check()
    }

    #[test]
    fn every_spelling_of_a_policy_is_read() {
        for (fields, restart) in [
            (json!({}), Restart::OnFailure),
            (json!({ "restart": "always" }), Restart::Always),
            (json!({ "restart_policy": "no" }), Restart::No),
            (json!({ "restart": "no", "restart_policy": "no" }), Restart::No),
            (json!({ "auto_restart": true }), Restart::Always),
            (json!({ "auto_restart": false }), Restart::No),
            (json!({ "restart": "on-failure", "auto_restart": true }), Restart::OnFailure),
        ] {
            let mut body = json!({ "name": "web", "command": "run" });
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            assert_eq!(check(body).unwrap().restart, restart, "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        for (body, field) in [
            (json!({ "command": "run" }), "name"),
            (json!({ "name": "Web", "command": "run" }), "name"),
            (json!({ "name": "1web", "command": "run" }), "name"),
            (json!({ "name": "w".repeat(64), "command": "run" }), "name"),
            (json!({ "name": "web" }), "command"),
            (json!({ "name": "web", "command": ["run"] }), "command"),
            (json!({ "name": "web", "command": "run", "restart": "sometimes" }), "restart"),
            (json!({ "name": "web", "command": "run", "port": 0 }), "port"),
            (json!({ "name": "web", "command": "run", "env": { "A-B": "x" } }), "env.A-B"),
            (
                json!({ "name": "web", "command": "run", "restart": "no", "auto_restart": true }),
                "auto_restart",
            ),
            (
                json!({ "name": "web", "command": "run", "restart": "no", "restart_policy": "always" }),
                "restart_policy",
            ),
        ] {
            let error = check(body.clone()).unwrap_err();
            assert_eq!(error.details.unwrap()[0]["field"], field, "{body}");
        }
    }

    #[test]
    fn a_create_names_the_service_that_is_wrong() {
        assert!(of_create(None).unwrap().is_empty());
        let two = json!([{ "name": "web", "command": "run" }, { "name": "db" }]);
        let error = of_create(Some(two)).unwrap_err();
        assert_eq!(error.details.unwrap()[0]["field"], "services[1]");
        assert_eq!(of_create(Some(json!("web"))).unwrap_err().code.status, 422);
    }
}
