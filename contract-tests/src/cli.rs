//! The command line: one file a subcommand.

mod explain;
mod rules;
mod run;
mod seeds;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks any server that claims to speak the MIOSA API against its published contract.
#[derive(Debug, Parser)]
#[command(
    name = "miosa-contract",
    version,
    after_help = "Two commands to begin with:\n  miosa-contract run --target emulator\n  \
                  miosa-contract explain PAGE-003\n\n\
                  Exit codes: 0 all rules kept, 1 a rule is broken, 2 something could not be tested."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a server
    #[command(after_help = "Examples:\n  \
        miosa-contract run --target emulator                                 starts one, and ends it\n  \
        miosa-contract run --target http://127.0.0.1:4010                    one that runs\n  \
        miosa-contract run --target https://api.miosa.ai --profile live      the key in MIOSA_API_KEY\n  \
        miosa-contract run --target emulator --rule PAGE-001 --seed 7        one rule, the same values again")]
    Run(Box<run::Run>),
    /// List the rules
    #[command(after_help = "Example:\n  miosa-contract rules --chapter pagination")]
    Rules(rules::Rules),
    /// Tell a rule, its source, and how it is checked
    #[command(after_help = "Example:\n  miosa-contract explain PAGE-003")]
    Explain(explain::Explain),
}

/// Parses the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Rules(rules) => rules.run(),
        Command::Explain(explain) => explain.run(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            use std::io::Write as _;
            // Whoever should read it may have gone.
            let _ = writeln!(std::io::stderr(), "miosa-contract: {why}");
            ExitCode::from(2)
        }
    }
}

/// Writes to standard output. A reader that has gone (`| head -1`) has read what it wanted.
fn say(text: &str) -> Result<(), String> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}
