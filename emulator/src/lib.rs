//! The MIOSA API on your own machine.
//!
//! Imports point one way: `cli → server → api → http, store, machines, clock`; `lifecycle` and `proxy` stand
//! beside `api` and call its public functions.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod control;
pub mod defects;
pub mod http;
pub mod ids;
pub mod lifecycle;
pub mod machines;
pub mod proxy;
pub mod recorder;
pub mod server;
pub mod store;
