//! An API key: made, switched, rotated, revoked (`api-reference/authentication`; miosa-python 2.19).

use super::{Place, World};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Read workspaces and projects.
    Places,
    /// Read sandboxes.
    Sandboxes,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name. Another may have it.
    pub name: u8,
    /// What it may do.
    pub scope: Scope,
    /// The workspace that it is bound to.
    pub workspace: Option<Place>,
    /// Whether it was not switched off.
    pub active: bool,
    /// Whether it has had another secret.
    pub rotated: bool,
}

/// What can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `POST /api-keys`.
    Make {
        /// The workspace to bind it to, which may be gone.
        workspace: Option<Place>,
        /// What it may do.
        scope: Scope,
    },
    /// `GET`.
    Read,
    /// `GET /workspaces` with it.
    Use,
    /// The same with the secret that it had before.
    UseOld,
    /// `PATCH` of the name.
    Rename(u8),
    /// `PATCH` of the scopes.
    Rescope(Scope),
    /// `PATCH` of the status.
    Switch {
        /// `active` or `inactive`.
        active: bool,
    },
    /// `POST …/rotate`.
    Rotate,
    /// `DELETE`.
    Remove,
}

impl World {
    pub(super) fn key(&mut self, at: Place, act: Act) -> u16 {
        if let Act::Make { workspace, scope } = act {
            if workspace.is_some_and(|workspace| self.workspaces.get(workspace).is_none()) {
                return 422;
            }
            let made = Key { name: 0, scope, workspace, active: true, rotated: false };
            self.keys.make(at, made);
            return 201;
        }
        let Some(key) = self.keys.get_mut(at) else {
            // The secret of what is gone says nothing of it.
            return if matches!(act, Act::Use | Act::UseOld) { 401 } else { 404 };
        };
        match act {
            Act::UseOld => return 401,
            Act::Use if !key.active => return 401,
            Act::Use if key.scope == Scope::Sandboxes => return 403,
            Act::Rename(name) => key.name = name,
            Act::Rescope(scope) => key.scope = scope,
            Act::Switch { active } => key.active = active,
            Act::Rotate => key.rotated = true,
            Act::Remove => {
                self.keys.remove(at);
                return 204;
            }
            Act::Make { .. } | Act::Read | Act::Use => {}
        }
        200
    }
}
