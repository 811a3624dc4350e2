//! `reset`: empties a running emulator.

use clap::Args;
use http::Method;
use serde_json::Value;

use super::Failure;
use super::client::At;

#[derive(Debug, Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    at: At,

    /// The organization of this key; without one the default organization
    #[arg(long, env = "MIOSA_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,

    /// Every organization
    #[arg(long)]
    all: bool,
}

impl Reset {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = if self.all { "/_emulator/reset?all=true" } else { "/_emulator/reset" };
        let (status, body) = super::wait_for(self.at.ask(Method::POST, path, self.key.as_deref()))?;
        if !status.is_success() {
            let why = body
                .pointer("/error/message")
                .and_then(Value::as_str)
                .map_or_else(|| body.to_string(), str::to_owned);
            return Err(Failure::failed(format!("refused ({status}): {why}")));
        }
        super::say(body)
    }
}
