//! `version`.

use clap::Args;

use super::Failure;

#[derive(Debug, Args)]
pub(crate) struct Version {}

impl Version {
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)] // every subcommand has this face
    pub(super) fn run(self) -> Result<(), Failure> {
        println!(
            "miosa-emulator {} ({}, {})",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH,
            std::env::consts::OS
        );
        Ok(())
    }
}
