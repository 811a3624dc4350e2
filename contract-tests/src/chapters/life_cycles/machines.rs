//! The state machines: random walks, each step answered as the model says, and nothing changed that it does not change.

use super::drive::{Drive, Kind};
use crate::fault::Fault;
use crate::model::{Alphabet, Step, sandbox, snapshot, workspace};
use crate::session::Session;

/// Which steps a rule takes.
macro_rules! alphabet {
    ($name:ident, $sandboxes:literal, $($step:pat_param)|+) => {
        struct $name;

        impl Alphabet for $name {
            const SANDBOXES: usize = $sandboxes;

            fn has(step: &Step) -> bool {
                matches!(step, $($step)|+)
            }
        }
    };
}

alphabet!(
    Sandboxes,
    1,
    Step::Sandbox(
        _,
        sandbox::Act::Make { workspace: None, project: None, .. }
            | sandbox::Act::Read
            | sandbox::Act::Pause
            | sandbox::Act::Stop
            | sandbox::Act::Resume
            | sandbox::Act::Extend
            | sandbox::Act::Look
            | sandbox::Act::Write(_)
            | sandbox::Act::Rename(_)
            | sandbox::Act::Remove
    )
);

alphabet!(
    Snapshots,
    2,
    Step::Snapshot(..)
        | Step::Sandbox(
            _,
            sandbox::Act::Make { workspace: None, project: None, persistent: true, .. }
                | sandbox::Act::Pause
                | sandbox::Act::Look
                | sandbox::Act::Write(_)
                | sandbox::Act::ForkSnapshot { .. }
                | sandbox::Act::Remove
        )
);

alphabet!(
    Previews,
    1,
    Step::Preview(..)
        | Step::Sandbox(
            _,
            sandbox::Act::Make { workspace: None, project: None, persistent: true, .. }
                | sandbox::Act::Pause
                | sandbox::Act::Stop
                | sandbox::Act::Resume
                | sandbox::Act::Remove
        )
);

alphabet!(
    Workspaces,
    1,
    Step::Workspace(..)
        | Step::Sandbox(
            _,
            sandbox::Act::Make { workspace: Some(_), project: None, persistent: true, .. }
                | sandbox::Act::Remove
        )
);

alphabet!(
    Projects,
    1,
    Step::Project(..)
        | Step::Sandbox(
            _,
            sandbox::Act::Make { workspace: None, project: Some(_), persistent: true, .. }
                | sandbox::Act::Remove
        )
        | Step::Workspace(
            _,
            workspace::Act::Make { external: None, again: true, .. }
                | workspace::Act::Remove { dry_run: false }
        )
);

alphabet!(
    Keys,
    0,
    Step::Key(..)
        | Step::Workspace(
            _,
            workspace::Act::Make { external: None, again: true, .. }
                | workspace::Act::Remove { dry_run: false }
        )
);

alphabet!(
    Everything,
    2,
    Step::Workspace(..)
        | Step::Project(..)
        | Step::Key(..)
        | Step::Sandbox(..)
        | Step::Snapshot(
            _,
            snapshot::Act::Take { .. }
                | snapshot::Act::Read
                | snapshot::Act::Restore
                | snapshot::Act::Name(_)
                | snapshot::Act::Unname
                | snapshot::Act::Remove
        )
        | Step::Preview(..)
);

fn walks<A: Alphabet>(
    session: &Session,
    steps: std::ops::RangeInclusive<usize>,
    kinds: &[Kind],
) -> Result<(), Fault> {
    session.forall(A::walks(steps), async |case, walk| Drive::walk(case, walk, kinds).await)
}

/// `LIFE-001`.
pub fn sandboxes(session: &Session) -> Result<(), Fault> {
    walks::<Sandboxes>(session, 24..=24, &[Kind::Sandbox])
}

/// `LIFE-002`.
pub fn snapshots(session: &Session) -> Result<(), Fault> {
    walks::<Snapshots>(session, 20..=20, &[Kind::Sandbox, Kind::Snapshot])
}

/// `LIFE-003`.
pub fn previews(session: &Session) -> Result<(), Fault> {
    walks::<Previews>(session, 18..=18, &[Kind::Sandbox, Kind::Preview])
}

/// `LIFE-004`.
pub fn workspaces(session: &Session) -> Result<(), Fault> {
    walks::<Workspaces>(session, 26..=26, &[Kind::Workspace, Kind::Sandbox])
}

/// `LIFE-005`.
pub fn projects(session: &Session) -> Result<(), Fault> {
    walks::<Projects>(session, 28..=28, &[Kind::Workspace, Kind::Project, Kind::Sandbox])
}

/// `LIFE-006`.
pub fn keys(session: &Session) -> Result<(), Fault> {
    walks::<Keys>(session, 26..=26, &[Kind::Workspace, Kind::Key])
}

/// `LIFE-016`.
pub fn everything(session: &Session) -> Result<(), Fault> {
    let kinds =
        [Kind::Workspace, Kind::Project, Kind::Key, Kind::Sandbox, Kind::Snapshot, Kind::Preview];
    walks::<Everything>(session, 36..=36, &kinds)
}
