//! The machines that run, and their agents.

/// Every machine of this emulator.
pub struct Machines;
