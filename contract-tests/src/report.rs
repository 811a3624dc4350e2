//! What a run found, for people and for programs. No report shows a credential.

pub mod curl;
pub mod files;
pub mod har;
pub mod html;
pub mod hurl;
pub mod json;
pub mod junit;
pub mod progress;
pub mod redact;
pub mod replay;
pub mod terminal;

use chrono::{DateTime, Utc};

use crate::run::{Entry, Outcome};
use crate::target::Profile;

/// A run and its outcome.
pub struct Report {
    /// The server.
    pub target: String,
    /// Its origin, `http://127.0.0.1:4010`.
    pub origin: String,
    /// What kind it was taken for.
    pub profile: Profile,
    /// The mark of the run.
    pub run: String,
    /// What everything was drawn from.
    pub seed: u64,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// How many requests were sent.
    pub requests: u64,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What was made and could not be removed.
    pub left_behind: Vec<String>,
    /// The rules.
    pub entries: Vec<Entry>,
}

/// How many rules ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Hold.
    pub kept: usize,
    /// Do not.
    pub broken: usize,
    /// Could not be checked.
    pub unable: usize,
    /// Did not run.
    pub skipped: usize,
}

impl Report {
    /// How many rules ended how.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in &self.entries {
            match entry.outcome {
                Outcome::Kept => tally.kept += 1,
                Outcome::Broken { .. } => tally.broken += 1,
                Outcome::Unable { .. } => tally.unable += 1,
                Outcome::Skipped { .. } => tally.skipped += 1,
            }
        }
        tally
    }

    /// 0 when all rules that ran are kept, 1 when one is broken, 2 when something could not be tested.
    pub fn exit_code(&self) -> u8 {
        let tally = self.tally();
        if tally.broken > 0 {
            1
        } else if tally.unable > 0 || tally.kept == 0 || self.interrupted {
            2
        } else {
            0
        }
    }
}
