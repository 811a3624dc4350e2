//! Sandboxes: create, list, get, change, pause, resume, extend, fork, delete.

pub mod awake;
pub mod record;

pub use record::{Sandbox, State};
