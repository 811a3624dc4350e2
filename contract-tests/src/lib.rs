//! Checks any server that claims to speak the MIOSA API against its published contract.
//!
//! A [`Rule`] is one sentence of the contract with a property that tries to break it. [`run()`] runs rules against a
//! [`Target`]; each gets a [`Session`], which draws values with proptest and hands each to the property together with a
//! [`Case`]: the clients that it may use, and the record of what they said and heard. What breaks is shrunk to the
//! shortest sequence, and reported so that it can be seen again ([`report`]).
//!
//! Imports point one way: `cli → run → chapters → session, case → target`; `report` reads what `run` made.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON is read by index: what is missing is null, and a rule that fails itself is caught and told"
)]
#![allow(clippy::format_push_string, reason = "reports are put together line by line, once a run")]

pub mod case;
pub mod chapters;
pub mod cli;
pub mod draw;
pub mod each;
pub mod exchange;
pub mod fault;
pub mod gallery;
pub mod masked;
pub mod model;
pub mod operations;
pub mod populated;
pub mod reading;
pub mod report;
pub mod room;
pub mod rule;
pub mod run;
pub mod session;
pub mod target;
pub mod world;

pub use case::{Case, Client, Reply};
pub use exchange::Exchange;
pub use fault::{Fault, Finding};
pub use rule::{Chapter, Level, Need, Rule};
pub use run::run;
pub use session::Session;
pub use target::Target;
pub use world::World;
