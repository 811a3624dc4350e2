//! Answers held against the contract.
//!
//! A [`Contract`] knows every [`Operation`] and checks an answer that a client got: the path and method are known, the
//! status is one that the operation declares, and headers, content type, body and error code are as it says. The document
//! is OpenAPI 3.1, so a schema is JSON Schema 2020-12; formats are asserted, since a time without a zone is a fault and
//! not a remark. Validators are compiled when they are first needed and kept: a suite calls this on every answer.

mod answer;
mod contract;
mod operation;
mod paths;
mod schemas;
mod shown;
mod violation;

pub use contract::Contract;
pub use operation::{
    Example, Header, Location, Media, Operation, Parameter, RequestBody, Response,
};
pub use schemas::Schema;
pub use violation::{Finding, Kind, Violation};

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;
