//! How a property ends when it does not hold.

use serde::Serialize;

use crate::exchange::Exchange;

/// Why a property did not come to its end.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The server broke the rule.
    Broken {
        /// What the contract owes.
        expected: String,
        /// What came.
        got: String,
        /// Which exchange of the case shows it; the last one when it is not said.
        at: Option<usize>,
    },
    /// The rule could not be checked: what it builds on failed.
    Unable(String),
    /// The rule has nothing to say about this target.
    Skip(String),
}

impl Fault {
    /// The rule is broken, as the last exchange shows.
    pub fn broken(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Broken { expected: expected.into(), got: got.into(), at: None }
    }

    /// The rule cannot be checked.
    pub fn unable(why: impl Into<String>) -> Self {
        Self::Unable(why.into())
    }

    /// The rule has nothing to say here.
    pub fn skip(why: impl Into<String>) -> Self {
        Self::Skip(why.into())
    }
}

/// Nothing when the condition holds, else a broken rule.
///
/// # Errors
/// [`Fault::Broken`].
pub fn holds(
    condition: bool,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<(), Fault> {
    if condition { Ok(()) } else { Err(Fault::broken(expected, got)) }
}

/// A broken rule: what was found, in the shortest form.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What the contract owes.
    pub expected: String,
    /// What came.
    pub got: String,
    /// The drawn value, shrunk. Empty where nothing was drawn.
    pub input: String,
    /// Which of the exchanges shows it.
    pub at: usize,
    /// The whole case.
    pub exchanges: Vec<Exchange>,
    /// Credentials that the case made, by the variable that stands for each. They leave in no report.
    #[serde(skip)]
    pub secrets: Vec<(String, String)>,
}
