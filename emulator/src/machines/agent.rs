//! The emulator's end of the stream to an agent.

/// A connected agent.
pub struct Agent;
