//! The emulator's program. It parses arguments, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A machine of namespaces begins as this program under another argument, before any thread exists.
    miosa_emulator::machines::namespace::maybe_enter();
    miosa_emulator::cli::run()
}
