//! The emulator's program. It parses arguments, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First: a stage of a machine must not have threads or open files of ours.
    miosa_emulator::machines::namespace::enter::maybe_enter();
    miosa_emulator::cli::run()
}
