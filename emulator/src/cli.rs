//! The command line: one file a subcommand, one table of exit codes.

mod client;
mod config;
mod doctor;
mod env;
mod health;
mod hosts;
mod port_holder;
mod prune;
mod reset;
mod serve;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The MIOSA API on your own machine: real sandboxes, no account, no network.
#[derive(Debug, Parser)]
#[command(
    name = "miosa-emulator",
    version,
    after_help = "Two commands to begin with:\n  miosa-emulator serve\n  eval \"$(miosa-emulator env)\"     # points this shell's SDK at it\n\n\
                  Exit codes: 0 well, 1 failed or not healthy, 2 wrong usage, 3 port taken,\n\
                  4 data directory refused, 5 the machines that were asked for are not there."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or Ctrl-C.
    Serve(serve::Serve),
    /// Say which machines would be used, what they cannot enforce, and why.
    Doctor(doctor::Doctor),
    /// Ask a running emulator whether it is well; the container's own probe.
    Health(health::Health),
    /// Print what points a shell's SDK at the emulator: eval "$(miosa-emulator env)".
    Env(env::Env),
    /// Empty a running emulator: an organization's resources, or everything.
    Reset(reset::Reset),
    /// Print every setting with its default, as a commented environment file.
    Config(config::Config),
    /// Remove derived images and layers that nothing uses any more.
    Prune(prune::Prune),
    /// Print the version.
    Version(version::Version),
}

/// How the program ends when it does not end well.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
    fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
    fn port(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }
    fn data(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }
    fn machines(message: impl Into<String>) -> Self {
        Self { code: 5, message: message.into() }
    }
}

/// Parses the arguments and runs the subcommand.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Health(health) => health.run(),
        Command::Env(env) => env.run(),
        Command::Reset(reset) => reset.run(),
        Command::Config(config) => config.run(),
        Command::Prune(prune) => prune.run(),
        Command::Version(version) => version.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("miosa-emulator: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// A runtime for the subcommands that need one.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))
}
