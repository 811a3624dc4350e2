//! A sandbox: runs, stands still, is stopped, is gone (`api-reference/sandboxes`; miosa-python 2.19, miosa-cli).
//!
//! ```text
//! make → Running ⇄ Frozen      pause, resume; a command wakes it when it is persistent
//!        Running, Frozen → Stopped    stop; its processes end, its files stay
//!        Stopped → Running            resume, or a command when it is persistent
//!        any → gone                   delete
//! ```
//! Frozen and stopped are both called `paused`.

use super::{Place, World};

/// Where a sandbox stands, between transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stand {
    /// `running`.
    Running,
    /// `paused`, its processes kept.
    Frozen,
    /// `paused`, its processes ended.
    Stopped,
}

impl Stand {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Frozen | Self::Stopped => "paused",
        }
    }
}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its name, unique in the organization.
    pub name: Option<u8>,
    /// The workspace; none is the organization's own.
    pub workspace: Option<Place>,
    /// The project; none is the workspace's default.
    pub project: Option<Place>,
    /// Whether a command wakes it.
    pub persistent: bool,
    /// Where it stands.
    pub stand: Stand,
    /// What is written in its one file; 0 while there is none.
    pub file: u8,
    /// The snapshot that its files came from.
    pub stands_on: Option<Place>,
}

/// What can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `POST /sandboxes`.
    Make {
        /// The workspace, which may be gone; none for what the project says, or the organization's own.
        workspace: Option<Place>,
        /// The project, which may be gone.
        project: Option<Place>,
        /// The name.
        name: u8,
        /// Whether a command wakes it.
        persistent: bool,
    },
    /// `POST /sandboxes/{id}/fork`.
    Fork {
        /// The sandbox.
        of: Place,
    },
    /// `POST /snapshots/{id}/fork`.
    ForkSnapshot {
        /// The snapshot.
        of: Place,
    },
    /// `GET`.
    Read,
    /// `POST …/pause`.
    Pause,
    /// `POST …/stop`.
    Stop,
    /// `POST …/resume`.
    Resume,
    /// `POST …/extend`.
    Extend,
    /// A command that reads the file.
    Look,
    /// A command that writes the file.
    Write(u8),
    /// `PATCH` of the name.
    Rename(u8),
    /// `DELETE`.
    Remove,
}

impl World {
    pub(super) fn sandbox(&mut self, at: Place, act: Act) -> u16 {
        match act {
            Act::Make { workspace, project, name, persistent } => {
                return self.make_sandbox(at, (workspace, project), name, persistent);
            }
            Act::Fork { of } => {
                let Some(one) = self.sandboxes.get(of) else { return 404 };
                let fork =
                    Sandbox { name: None, stand: Stand::Running, stands_on: None, ..one.clone() };
                self.sandboxes.make(at, fork);
                return 201;
            }
            Act::ForkSnapshot { of } => {
                let Some(snapshot) = self.snapshots.get(of) else { return 404 };
                // A snapshot outlives its project and its workspace.
                let workspace = snapshot.workspace.filter(|at| self.workspaces.get(*at).is_some());
                let project = snapshot.project.filter(|at| self.projects.get(*at).is_some());
                let fork = Sandbox {
                    name: None,
                    workspace,
                    project,
                    persistent: snapshot.persistent,
                    stand: Stand::Running,
                    file: snapshot.file,
                    stands_on: Some(of),
                };
                if project.is_none() {
                    self.needs_default_project(workspace);
                }
                self.sandboxes.make(at, fork);
                return 201;
            }
            _ => {}
        }
        let taken = match act {
            Act::Rename(name) => self.sandboxes.any(Some(at), |one| one.name == Some(name)),
            _ => false,
        };
        let Some(one) = self.sandboxes.get_mut(at) else { return 404 };
        match (&act, one.stand) {
            _ if taken => return 409,
            (Act::Pause, Stand::Running) => one.stand = Stand::Frozen,
            (Act::Stop, Stand::Running | Stand::Frozen) => one.stand = Stand::Stopped,
            (Act::Resume, Stand::Frozen | Stand::Stopped) => one.stand = Stand::Running,
            (Act::Extend, Stand::Running) | (Act::Read, _) => {}
            (Act::Look | Act::Write(_), stand) if stand == Stand::Running || one.persistent => {
                one.stand = Stand::Running;
                if let Act::Write(value) = act {
                    one.file = value;
                }
            }
            (Act::Rename(name), _) => one.name = Some(*name),
            (Act::Remove, _) => {
                self.sandboxes.remove(at);
                self.previews.remove_if(|preview| preview.sandbox == at);
            }
            _ => return 409,
        }
        200
    }

    fn make_sandbox(
        &mut self,
        at: Place,
        (workspace, project): (Option<Place>, Option<Place>),
        name: u8,
        persistent: bool,
    ) -> u16 {
        if workspace.is_some_and(|workspace| self.workspaces.get(workspace).is_none()) {
            return 422;
        }
        let within = match project.map(|project| self.projects.get(project)) {
            Some(None) => return 422,
            Some(Some(project)) => Some(project.workspace),
            None => workspace,
        };
        if workspace.is_some() && within != workspace {
            return 422;
        }
        if self.sandboxes.any(None, |one| one.name == Some(name)) {
            return 409;
        }
        if project.is_none() {
            self.needs_default_project(within);
        }
        let made = Sandbox {
            name: Some(name),
            workspace: within,
            project,
            persistent,
            stand: Stand::Running,
            file: 0,
            stands_on: None,
        };
        self.sandboxes.make(at, made);
        201
    }
    fn needs_default_project(&mut self, workspace: Option<Place>) {
        match workspace.map(|at| self.workspaces.get_mut(at)) {
            None => self.default_project = true,
            Some(Some(workspace)) => workspace.default_project = true,
            Some(None) => {}
        }
    }
}
