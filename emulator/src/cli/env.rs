//! `env`: what points a shell's SDK at the emulator.

use clap::Args;

use super::Failure;
use super::client::At;

#[derive(Debug, Args)]
pub(crate) struct Env {
    #[command(flatten)]
    at: At,

    /// The key to use; msk_test_<anything> gets an organization of its own
    #[arg(long, env = "MIOSA_EMULATOR_KEY", default_value = "msk_live_local", value_name = "KEY")]
    key: String,
}

impl Env {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plain =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:[]".contains(&b));
        let host = self.at.host()?;
        if !plain(&self.key) || !plain(&host) {
            return Err(Failure::usage("key and address may hold letters, digits and _-.:[] only"));
        }
        super::say(format_args!("export MIOSA_BASE_URL='http://{host}/api/v1'"))?;
        super::say(format_args!("export MIOSA_API_KEY='{}'", self.key))
    }
}
