//! `miosa-contract`.

use std::process::ExitCode;

fn main() -> ExitCode {
    miosa_contract::cli::main()
}
