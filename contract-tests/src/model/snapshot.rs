//! A snapshot: taken, restored, named, removed (`api-reference/snapshots`; miosa-python 2.19, miosa-go 2.0).

use super::sandbox::Stand;
use super::{Place, World};

/// A snapshot. It outlives its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The sandbox.
    pub of: Place,
    /// The sandbox's workspace.
    pub workspace: Option<Place>,
    /// The sandbox's project.
    pub project: Option<Place>,
    /// The sandbox's.
    pub persistent: bool,
    /// What is written in the file.
    pub file: u8,
    /// The snapshot that the sandbox stood on.
    pub parent: Option<Place>,
    /// The name that keeps it.
    pub name: Option<u8>,
}

/// What can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `POST /sandboxes/{id}/snapshots`.
    Take {
        /// The sandbox.
        of: Place,
    },
    /// `GET`.
    Read,
    /// `POST /sandboxes/{id}/restore/{snapshot_id}`.
    Restore,
    /// `POST /named-snapshots`.
    Name(u8),
    /// `DELETE /named-snapshots/{name}`.
    Unname,
    /// `DELETE`.
    Remove,
}

impl World {
    pub(super) fn snapshot(&mut self, at: Place, act: Act) -> u16 {
        if let Act::Take { of } = act {
            let Some(sandbox) = self.sandboxes.get(of) else { return 404 };
            let taken = Snapshot {
                of,
                workspace: sandbox.workspace,
                project: sandbox.project,
                persistent: sandbox.persistent,
                file: sandbox.file,
                parent: sandbox.stands_on.filter(|below| self.snapshots.get(*below).is_some()),
                name: None,
            };
            self.snapshots.make(at, taken);
            return 201;
        }
        let others = |like: &dyn Fn(&Snapshot) -> bool| self.snapshots.any(Some(at), like);
        let Some(snapshot) = self.snapshots.get(at).cloned() else { return 404 };
        match act {
            Act::Take { .. } | Act::Read => 200,
            Act::Restore => {
                let Some(sandbox) = self.sandboxes.get_mut(snapshot.of) else { return 404 };
                sandbox.stand = Stand::Running;
                sandbox.file = snapshot.file;
                sandbox.stands_on = Some(at);
                200
            }
            Act::Name(name) => {
                if snapshot.name.is_some() || others(&|one| one.name == Some(name)) {
                    return 409;
                }
                self.rename(at, Some(name));
                201
            }
            Act::Unname => {
                self.rename(at, None);
                200
            }
            Act::Remove => {
                if snapshot.name.is_some() || others(&|one| one.parent == Some(at)) {
                    return 409;
                }
                self.snapshots.remove(at);
                204
            }
        }
    }

    fn rename(&mut self, at: Place, name: Option<u8>) {
        if let Some(snapshot) = self.snapshots.get_mut(at) {
            snapshot.name = name;
        }
    }
}
