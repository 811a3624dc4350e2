//! What an answer has that the contract does not allow.

use std::fmt;

/// An answer that is not as the contract says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Method and path template; the path itself where the contract has no such operation.
    pub operation: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong; never empty.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// Where: a JSON pointer into the body, the name of a header, or nothing.
    pub at: String,
    /// What the contract wants.
    pub wants: String,
    /// What was there, cut, and without secrets.
    pub was: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The operation does not declare this status, or there is no such operation and the answer does not say so.
    Status,
    /// A header is missing or has another form.
    Header,
    /// The content type is another.
    ContentType,
    /// The body is not what the schema says, or is there where none may be.
    Body,
    /// A member of the body that the schema requires is missing.
    Missing,
    /// The error's code is none of those that this status has here.
    Code,
    /// The contract itself is broken.
    Contract,
}

impl Finding {
    pub(super) fn new(
        kind: Kind,
        at: impl Into<String>,
        wants: impl Into<String>,
        was: impl Into<String>,
    ) -> Self {
        Self { kind, at: at.into(), wants: wants.into(), was: was.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, at, wants, was } = self;
        match kind {
            Kind::Status => write!(f, "status: wants {wants}; was {was}"),
            Kind::Header => write!(f, "header {at}: wants {wants}; was {was}"),
            Kind::ContentType => write!(f, "content type: wants {wants}; was {was}"),
            Kind::Body | Kind::Missing if at.is_empty() => {
                write!(f, "body: wants {wants}; was {was}")
            }
            Kind::Body | Kind::Missing => write!(f, "body at {at}: wants {wants}; was {was}"),
            Kind::Code => write!(f, "error code: wants {wants}; was {was}"),
            Kind::Contract => write!(f, "the contract is broken at {at}: {wants}"),
        }
    }
}

/// More findings than this are counted, not told.
const SHOWN: usize = 8;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {} against the contract", self.operation, self.status)?;
        for finding in self.findings.iter().take(SHOWN) {
            write!(f, "\n  {finding}")?;
        }
        match self.findings.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for Violation {}
