//! The program inside a machine: its first process, or an ordinary one below the emulator.
//!
//! | command line | what it does |
//! |---|---|
//! | `miosa-agent serve` | speaks HTTP/2 (see `protocol`) on its standard input and output; their end ends the machine |
//! | `… --linger` | their end ends only the stream: the machine lives on and waits for `connect` |
//! | `… --egress-proxy` | listens on `127.0.0.1:3128` as an HTTP proxy whose connections leave through the emulator |
//! | `… --egress-port PORT` | …on this port instead |
//! | `… --workspace DIR` | `/workspace` and relative paths mean DIR |
//! | `… --group-only` | shares the computer with others: touches only processes that came from it |
//! | `… --socket NAME` | name of the abstract socket that `--linger` listens on (default `miosa-agent`) |
//! | `miosa-agent connect [--socket NAME]` | bridges its standard input and output to a lingering agent |
//!
//! `MIOSA_AGENT_SECRET` holds 32 bytes in hex; `--linger` needs it. `MIOSA_AGENT_USER` and `MIOSA_AGENT_WORKDIR` say who
//! commands run as, and where, when their request does not. Every other variable of the agent's
//! environment is the environment of each command (names that begin with `MIOSA_AGENT_` never are).

mod answer;
mod beneath;
mod connect;
mod content;
mod egress;
mod exec;
mod family;
mod files;
mod jobs;
mod machine;
mod paths;
mod ports;
mod raw;
mod reaper;
mod routes;
mod serve;
mod stdio;
mod stream;
mod tunnel;
mod usage;
mod user;

use std::io::Write as _;
use std::process::ExitCode;

use machine::Options;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_default();
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(reason) => return refuse(&reason),
    };
    let outcome = match mode.as_str() {
        "serve" => serve::run(options),
        "connect" => connect::run(&options),
        "--version" => {
            writeln!(std::io::stdout(), "miosa-agent {}", env!("CARGO_PKG_VERSION"))
        }
        _ => return refuse("usage: miosa-agent serve|connect [flags]"),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(reason: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "miosa-agent: {reason}");
    ExitCode::from(2)
}
