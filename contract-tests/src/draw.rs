//! What is drawn from the contract: ways in which a request can be wrong.

pub mod mutation;

pub use mutation::{Mutation, mutations};
