//! `health`: exit code 0 when the emulator is well.

use clap::Args;
use http::Method;

use super::Failure;
use super::client::At;

#[derive(Debug, Args)]
pub(crate) struct Health {
    #[command(flatten)]
    at: At,
}

impl Health {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (status, body) = super::wait_for(self.at.ask(Method::GET, "/_emulator/health", None))?;
        if !status.is_success() {
            return Err(Failure::failed(format!("not well: {status} {body}")));
        }
        super::say(body)
    }
}
