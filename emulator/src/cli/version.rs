//! `version`.

use clap::Args;

use super::Failure;

#[derive(Debug, Args)]
pub(crate) struct Version {}

impl Version {
    #[allow(clippy::unused_self)] // every subcommand has this face
    pub(super) fn run(self) -> Result<(), Failure> {
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        super::say(format_args!("miosa-emulator {} ({arch}, {os})", env!("CARGO_PKG_VERSION")))
    }
}
