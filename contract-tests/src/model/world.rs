//! Everything that a walk has made, and the steps that change it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::key::{self, Key};
use super::preview::{self, Preview};
use super::project::{self, Project};
use super::sandbox::{self, Sandbox, Stand};
use super::snapshot::{self, Snapshot};
use super::workspace::{self, Workspace};
use super::{Place, Places};

/// The resources of one organization, as far as a walk has made them.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are the kinds")]
pub struct World {
    pub workspaces: Places<Workspace>,
    pub projects: Places<Project>,
    pub keys: Places<Key>,
    pub sandboxes: Places<Sandbox>,
    pub snapshots: Places<Snapshot>,
    pub previews: Places<Preview>,
    /// Whether the organization's own workspace was needed, so that it has a default project.
    pub default_project: bool,
    /// What was tried already, and from where: a walk prefers what is new.
    pub tried: Arc<BTreeSet<Trial>>,
}

impl World {
    /// An empty one, in which at most two sandboxes will be made, or fewer.
    pub fn new(sandboxes: usize) -> Self {
        Self {
            workspaces: Places::new(4),
            projects: Places::new(4),
            keys: Places::new(3),
            sandboxes: Places::new(sandboxes),
            snapshots: Places::new(4),
            previews: Places::new(4),
            default_project: false,
            tried: Arc::default(),
        }
    }

    /// Takes a step; the answer is the status that it is owed. Below 400 it has happened, else nothing has changed.
    pub fn take(&mut self, step: &Step) -> u16 {
        match step.clone() {
            Step::Workspace(at, act) => self.workspace(at, act),
            Step::Project(at, act) => self.project(at, act),
            Step::Key(at, act) => self.key(at, act),
            Step::Sandbox(at, act) => self.sandbox(at, act),
            Step::Snapshot(at, act) => self.snapshot(at, act),
            Step::Preview(at, act) => self.preview(at, act),
        }
    }

    /// What is tried by a step, and from where.
    pub fn trial(&self, step: &Step) -> Trial {
        let sandbox = match step {
            Step::Sandbox(at, _) => Some(*at),
            Step::Snapshot(_, snapshot::Act::Take { of }) => Some(*of),
            Step::Snapshot(at, _) => self.snapshots.get(*at).map(|snapshot| snapshot.of),
            Step::Preview(_, preview::Act::Open { sandbox, .. }) => Some(*sandbox),
            _ => None,
        };
        let stand = sandbox.and_then(|at| self.sandboxes.get(at)).map(|sandbox| sandbox.stand);
        let active = match step {
            Step::Key(at, _) => self.keys.get(*at).map(|key| key.active),
            _ => None,
        };
        Trial { act: step.word(), stand, active, owed: self.clone().take(step) }
    }
}

/// What is tried, and from where: two steps with the same trial try the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    act: &'static str,
    stand: Option<Stand>,
    active: Option<bool>,
    /// The status that is owed.
    pub owed: u16,
}

/// One step of a walk: which resource of its kind, and what is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the kinds")]
pub enum Step {
    Workspace(Place, workspace::Act),
    Project(Place, project::Act),
    Key(Place, key::Act),
    Sandbox(Place, sandbox::Act),
    Snapshot(Place, snapshot::Act),
    Preview(Place, preview::Act),
}

impl Step {
    /// Whether it removes something.
    pub fn ends(&self) -> bool {
        matches!(
            self,
            Self::Workspace(_, workspace::Act::Remove { dry_run: false })
                | Self::Project(_, project::Act::Remove)
                | Self::Key(_, key::Act::Remove)
                | Self::Sandbox(_, sandbox::Act::Remove)
                | Self::Snapshot(_, snapshot::Act::Remove)
                | Self::Preview(_, preview::Act::Close)
        )
    }

    /// The act in a word, without its values.
    fn word(&self) -> &'static str {
        use {key::Act as K, preview::Act as V, project::Act as P};
        use {sandbox::Act as S, snapshot::Act as N, workspace::Act as W};
        match self {
            Self::Workspace(_, act) => match act {
                W::Make { external: Some(_), .. } => "make a labelled workspace",
                W::Make { again: true, .. } => "make a workspace of that name again",
                W::Make { .. } => "make a workspace",
                W::Read => "read a workspace",
                W::Rename(_) => "rename a workspace",
                W::Reslug(_) => "reslug a workspace",
                W::Describe(_) => "describe a workspace",
                W::Label(Some(_)) => "label a workspace",
                W::Label(None) => "unlabel a workspace",
                W::Remove { dry_run: true } => "try to remove a workspace",
                W::Remove { dry_run: false } => "remove a workspace",
            },
            Self::Project(_, act) => match act {
                P::Make { external: Some(_), .. } => "make a labelled project",
                P::Make { .. } => "make a project",
                P::Read => "read a project",
                P::Rename(_) => "rename a project",
                P::Reslug(_) => "reslug a project",
                P::Describe(_) => "describe a project",
                P::Label(Some(_)) => "label a project",
                P::Label(None) => "unlabel a project",
                P::Move { .. } => "move a project",
                P::Remove => "remove a project",
            },
            Self::Key(_, act) => match act {
                K::Make { workspace: Some(_), .. } => "make a bound key",
                K::Make { .. } => "make a key",
                K::Read => "read a key",
                K::Use => "use a key",
                K::UseOld => "use a key's old secret",
                K::Rename(_) => "rename a key",
                K::Rescope(_) => "rescope a key",
                K::Switch { active: true } => "switch a key on",
                K::Switch { active: false } => "switch a key off",
                K::Rotate => "rotate a key",
                K::Remove => "remove a key",
            },
            Self::Sandbox(_, act) => match act {
                S::Make { workspace, project, .. } => match (workspace, project) {
                    (None, None) => "make a sandbox",
                    (Some(_), None) => "make a sandbox in a workspace",
                    (None, Some(_)) => "make a sandbox in a project",
                    (Some(_), Some(_)) => "make a sandbox in a workspace and a project",
                },
                S::Fork { .. } => "fork a sandbox",
                S::ForkSnapshot { .. } => "fork a snapshot",
                S::Read => "read a sandbox",
                S::Pause => "pause a sandbox",
                S::Stop => "stop a sandbox",
                S::Resume => "resume a sandbox",
                S::Extend => "extend a sandbox",
                S::Look => "look into a sandbox",
                S::Write(_) => "write in a sandbox",
                S::Rename(_) => "rename a sandbox",
                S::Remove => "remove a sandbox",
            },
            Self::Snapshot(_, act) => match act {
                N::Take { .. } => "take a snapshot",
                N::Read => "read a snapshot",
                N::Restore => "restore a snapshot",
                N::Name(_) => "name a snapshot",
                N::Unname => "unname a snapshot",
                N::Remove => "remove a snapshot",
            },
            Self::Preview(_, act) => match act {
                V::Open { private: true, .. } => "open a private preview",
                V::Open { .. } => "open a public preview",
                V::Read => "read a preview",
                V::Close => "close a preview",
            },
        }
    }
}
