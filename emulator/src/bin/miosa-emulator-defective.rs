//! The emulator with `--defect`: what the contract suite is tested with. Never the one that is handed out.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First: a stage of a machine must not have threads or open files of ours.
    miosa_emulator::machines::namespace::enter::maybe_enter();
    miosa_emulator::cli::run()
}
