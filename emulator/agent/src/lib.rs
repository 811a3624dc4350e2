//! What the emulator and the agent say to each other.
//!
//! The agent is the first process of a machine. It speaks HTTP/2 on its standard input and output, so the
//! same code serves a Docker attach stream, a pair of pipes and a socket. This library holds what both ends
//! share: the messages, their framing, and a look at `/proc`; the program is `main.rs`.

pub mod codec;
pub mod packed;
pub mod processes;
pub mod protocol;
