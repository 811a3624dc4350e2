//! The machines that run, and their agents.

/// Every machine of this emulator.
#[derive(Clone, Default)]
pub struct Machines;
