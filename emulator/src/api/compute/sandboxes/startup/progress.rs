//! How far a step of the setup has come.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Where a step stands (miosa-go 2.0: `setup_status`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// It has not begun.
    #[default]
    Pending,
    /// It runs.
    Running,
    /// It went well.
    Done,
    /// It did not.
    Failed,
}

impl Stand {
    /// Whether nothing more will come of it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    pub stand: Stand,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Progress {
    /// It begins; `false` when it has already: a step runs once.
    pub fn begin(&mut self, now: Timestamp) -> bool {
        if self.stand != Stand::Pending {
            return false;
        }
        self.stand = Stand::Running;
        self.started_at = Some(now);
        true
    }

    /// It has ended.
    pub fn end(&mut self, outcome: Result<(), String>, now: Timestamp) {
        self.stand = if outcome.is_ok() { Stand::Done } else { Stand::Failed };
        self.error = outcome.err();
        self.finished_at = Some(now);
    }

    /// Several steps as one; `None` for none.
    pub fn together<'p>(steps: impl Iterator<Item = &'p Self>) -> Option<Self> {
        let steps: Vec<&Self> = steps.collect();
        let all = |stand| steps.iter().all(|step| step.stand == stand);
        let failed = steps.iter().find(|step| step.stand == Stand::Failed);
        let stand = match failed {
            Some(_) => Stand::Failed,
            None if all(Stand::Done) => Stand::Done,
            None if all(Stand::Pending) => Stand::Pending,
            None => Stand::Running,
        };
        let ended =
            stand.is_final().then(|| steps.iter().filter_map(|step| step.finished_at).max());
        (!steps.is_empty()).then(|| Self {
            stand,
            error: failed.and_then(|step| step.error.clone()),
            started_at: steps.iter().filter_map(|step| step.started_at).min(),
            finished_at: ended.flatten(),
        })
    }
}
