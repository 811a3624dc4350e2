//! The command line: one file a subcommand, one table of exit codes.

mod client;
mod config;
#[cfg(feature = "defects")]
mod defects;
mod doctor;
mod env;
mod health;
mod hosts;
mod listen;
mod log;
mod port_holder;
mod prune;
mod reset;
mod serve;
mod stop;
mod version;

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

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
    /// Serve the API until SIGTERM or Ctrl-C
    #[command(
        after_help = "Each flag can be given as its variable instead; a flag wins over its variable, an empty \
        variable counts as not set.\n\n\
        Examples:\n  \
        miosa-emulator serve                                             keeps its state, port 4010\n  \
        miosa-emulator serve --ephemeral --listen 127.0.0.1:0            for a test run: keeps nothing, any free port\n  \
        miosa-emulator serve --ephemeral --seed 7 --machines none        the same ids in every run, no sandboxes\n  \
        miosa-emulator serve --listen 0.0.0.0:4010 --auth open --allow-host miosa   in a service container"
    )]
    Serve(serve::Serve),
    /// Say which machines would be used, what they cannot enforce, and why
    #[command(
        after_help = "Starts nothing and changes nothing. Exit code 5 when `serve` with the same flags would \
        have no machines.\n\nExample:\n  miosa-emulator doctor --machines docker"
    )]
    Doctor(doctor::Doctor),
    /// Ask a running emulator whether it is well
    #[command(
        after_help = "Exit code 0 when it is, 1 when not: a container's own probe.\n\nExample:\n  \
        HEALTHCHECK CMD [\"miosa-emulator\", \"health\"]"
    )]
    Health(health::Health),
    /// Print what points a shell's SDK at the emulator
    #[command(after_help = "Examples:\n  eval \"$(miosa-emulator env)\"\n  \
        eval \"$(miosa-emulator env --key msk_test_ci_1)\"     an organization of its own\n\n\
        Asks nobody: whether an emulator is there, `miosa-emulator health` tells.")]
    Env(env::Env),
    /// Empty a running emulator: an organization's resources, or everything
    #[command(
        after_help = "What there was is unreachable when this returns; its machines and snapshots are removed \
        behind it.\n\nExamples:\n  miosa-emulator reset --key msk_test_ci_1\n  miosa-emulator reset --all"
    )]
    Reset(reset::Reset),
    /// Print every setting with its default, as a commented environment file
    #[command(after_help = "Example:\n  miosa-emulator config > emulator.env\n  \
        # uncomment what you change, then\n  set -a; . ./emulator.env; set +a; miosa-emulator serve")]
    Config(config::Config),
    /// Remove derived images and layers that nothing uses any more
    #[command(
        after_help = "Refused with exit code 4 while an emulator works on the data directory.\n\nExample:\n  \
        miosa-emulator prune --machines docker"
    )]
    Prune(prune::Prune),
    /// List the faults that `serve --defect` can seed: name, chapter, rules, what is wrong
    #[cfg(feature = "defects")]
    #[command(after_help = "Example:\n  miosa-emulator-defective defects --json")]
    Defects(defects::Defects),
    /// Print the version
    #[command(after_help = "Example:\n  miosa-emulator version")]
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
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Health(health) => health.run(),
        Command::Env(env) => env.run(),
        Command::Reset(reset) => reset.run(),
        Command::Config(config) => config.run(),
        Command::Prune(prune) => prune.run(),
        #[cfg(feature = "defects")]
        Command::Defects(defects) => defects.run(),
        Command::Version(version) => version.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Whoever should read it may have gone.
            let _ = writeln!(std::io::stderr(), "miosa-emulator: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// The arguments. A variable that is set but empty counts as not set: `config` prints such lines, and compose files
/// and `--env-file` pass them on.
fn parse() -> Result<Cli, clap::Error> {
    let command = Cli::command().mut_subcommands(|subcommand| {
        subcommand.mut_args(|arg| {
            let empty =
                arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
            if empty { arg.env(Resettable::Reset) } else { arg }
        })
    });
    Cli::from_arg_matches(&command.try_get_matches()?)
}

/// Runs a subcommand that waits. Work on blocking threads that nobody waits for any more does not hold up the end.
fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    const LEFT_BEHIND: Duration = Duration::from_secs(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_BEHIND);
    done
}

/// Writes a line to standard output. A reader that has gone (`| head -1`) has read what it wanted.
fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_says_what_it_does_and_gives_an_example() {
        Cli::command().debug_assert();
        for subcommand in Cli::command().get_subcommands() {
            let name = subcommand.get_name();
            assert!(subcommand.get_about().is_some(), "{name}");
            let more = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(more.contains("Example"), "{name}: {more}");
        }
    }
}
