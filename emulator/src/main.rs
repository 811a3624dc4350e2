//! The emulator's program.

fn main() {
    // First: a stage of a machine must not have threads or open files of ours.
    miosa_emulator::machines::namespace::enter::maybe_enter();
}
