//! A sentence of the contract, and how it is checked.

use serde::Serialize;

use crate::fault::Fault;
use crate::session::Session;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the titles")]
pub enum Chapter {
    Envelopes,
    Errors,
    StatusCodes,
    RequestFormat,
    Authentication,
    Scopes,
    Ownership,
    Isolation,
    Pagination,
    Idempotency,
    RateLimits,
    IdsAndTimes,
    LifeCycles,
    Files,
    Exec,
    Streams,
}

impl Chapter {
    /// All of them, in the order of the reports.
    pub const ALL: [Self; 16] = [
        Self::Envelopes,
        Self::Errors,
        Self::StatusCodes,
        Self::RequestFormat,
        Self::Authentication,
        Self::Scopes,
        Self::Ownership,
        Self::Isolation,
        Self::Pagination,
        Self::Idempotency,
        Self::RateLimits,
        Self::IdsAndTimes,
        Self::LifeCycles,
        Self::Files,
        Self::Exec,
        Self::Streams,
    ];

    /// As it is written on the command line: `rate-limits`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Envelopes => "envelopes",
            Self::Errors => "errors",
            Self::StatusCodes => "status-codes",
            Self::RequestFormat => "request-format",
            Self::Authentication => "authentication",
            Self::Scopes => "scopes",
            Self::Ownership => "ownership",
            Self::Isolation => "isolation",
            Self::Pagination => "pagination",
            Self::Idempotency => "idempotency",
            Self::RateLimits => "rate-limits",
            Self::IdsAndTimes => "ids-and-times",
            Self::LifeCycles => "life-cycles",
            Self::Files => "files",
            Self::Exec => "exec",
            Self::Streams => "streams",
        }
    }

    /// As it is written for people: `rate limits`.
    pub fn title(self) -> String {
        self.slug().replace('-', " ")
    }
}

/// How sure it is that the server owes this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The published reference says it.
    Documented,
    /// Official clients rely on it.
    Observed,
    /// The sources are silent or disagree, and the emulator decided. Not run against a live server unless asked for.
    Chosen,
}

impl Level {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Observed => "observed",
            Self::Chosen => "chosen",
        }
    }
}

/// What a rule cannot be checked without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Policy time that can be moved (`/_emulator/clock`).
    Clock,
    /// An organization that nobody else uses, new for each case.
    Fresh,
    /// A second organization: another fresh one, or `--second-key`.
    Second,
    /// Sandboxes that run.
    Machines,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// `PAGE-003`.
    pub id: &'static str,
    /// Where it belongs.
    pub chapter: Chapter,
    /// The rule, in one sentence.
    pub sentence: &'static str,
    /// Where it is known from.
    pub source: &'static str,
    /// How sure that is.
    pub level: Level,
    /// How it is checked, for `explain`.
    pub how: &'static str,
    /// What it cannot be checked without.
    pub needs: &'static [Need],
    /// How many values are drawn unless `--cases` says otherwise.
    pub cases: u32,
    /// The property.
    pub check: fn(&Session) -> Result<(), Fault>,
}
