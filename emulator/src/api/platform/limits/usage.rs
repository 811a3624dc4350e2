//! What is used, of what a limit bounds.

use uuid::Uuid;

use crate::api::compute::sandboxes::{Sandbox, State};
use crate::api::compute::snapshots::Snapshot;
use crate::http::ApiResult;
use crate::store::{Filter, View};

/// Whose use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Whose {
    /// The organization's.
    Tenant,
    /// A workspace's.
    Workspace(Uuid),
    /// An end user's, in every workspace.
    User(String),
}

/// States in which a sandbox runs, or is about to. (One that is paused counts while a snapshot of it is being sealed.)
const RUNNING: [State; 5] =
    [State::Provisioning, State::Running, State::Snapshotting, State::Pausing, State::Resuming];

impl Whose {
    fn filter(&self, org: Uuid) -> Filter {
        let mut filter = Filter { org, ..Filter::default() };
        match self {
            Self::Tenant => {}
            Self::Workspace(id) => filter.workspace = Some(*id),
            Self::User(user) => {
                filter.fields.push(("$.external_user_id".to_owned(), user.clone()));
            }
        }
        filter
    }

    /// Sandboxes that are there.
    pub(super) fn sandboxes(&self, view: &View<'_>, org: Uuid) -> ApiResult<u64> {
        let not_states = vec![State::Destroyed.as_str()];
        Ok(view.count::<Sandbox>(&Filter { not_states, ..self.filter(org) })?)
    }

    /// Those of them that run.
    pub(super) fn running(&self, view: &View<'_>, org: Uuid) -> ApiResult<u64> {
        let states = RUNNING.iter().map(|state| state.as_str().to_owned()).collect();
        Ok(view.count::<Sandbox>(&Filter { states, ..self.filter(org) })?)
    }

    /// Bytes that snapshots keep, as measured when they were sealed.
    pub(super) fn bytes(&self, view: &View<'_>, org: Uuid) -> ApiResult<u64> {
        Ok(view.sum::<Snapshot>(&self.filter(org), "$.size_bytes")?)
    }
}

/// What somebody uses of everything that can be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Usage {
    pub(in super::super) sandboxes: u64,
    pub(in super::super) running: u64,
    pub(in super::super) bytes: u64,
}

impl Usage {
    /// Counts it.
    ///
    /// # Errors
    /// When the store fails.
    pub(in super::super) fn of(view: &View<'_>, org: Uuid, whose: &Whose) -> ApiResult<Self> {
        Ok(Self {
            sandboxes: whose.sandboxes(view, org)?,
            running: whose.running(view, org)?,
            bytes: whose.bytes(view, org)?,
        })
    }
}
