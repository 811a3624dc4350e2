//! A workspace: made, changed, removed (`api-reference/workspaces`; miosa-python 2.19, miosa-cli).

use super::{Place, World};

/// A workspace. Names, slugs and external ids are numbers here; texts are made of them for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its name. Another may have it, when it was made so.
    pub name: u8,
    /// Its slug, unique in the organization.
    pub slug: u8,
    /// What it is for.
    pub description: Option<u8>,
    /// The client's own name for it, unique in the organization.
    pub external: Option<u8>,
    /// Whether something in it named no project, so that it has a default one.
    pub default_project: bool,
}

/// What can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `POST /workspaces`.
    Make {
        /// The name.
        name: u8,
        /// The slug.
        slug: u8,
        /// The external id.
        external: Option<u8>,
        /// `allow_duplicate_name`.
        again: bool,
    },
    /// `GET`.
    Read,
    /// `PATCH` of the name.
    Rename(u8),
    /// `PATCH` of the slug.
    Reslug(u8),
    /// `PATCH` of the description.
    Describe(Option<u8>),
    /// `PATCH` of the external id.
    Label(Option<u8>),
    /// `DELETE`.
    Remove {
        /// Nothing is removed; the answer says what would be.
        dry_run: bool,
    },
}

impl World {
    /// The workspace that has this external id.
    pub fn workspace_labelled(&self, external: u8) -> Option<Place> {
        self.workspaces.here().find(|(_, one)| one.external == Some(external)).map(|(at, _)| at)
    }

    pub(super) fn workspace(&mut self, at: Place, act: Act) -> u16 {
        let others = |like: &dyn Fn(&Workspace) -> bool| self.workspaces.any(Some(at), like);
        if let Act::Make { name, slug, external, again } = act {
            // Who brings an external id that is known gets the workspace that has it.
            if external.is_some_and(|external| self.workspace_labelled(external).is_some()) {
                return 200;
            }
            if others(&|one| one.slug == slug || (one.name == name && !again)) {
                return 409;
            }
            let made =
                Workspace { name, slug, external, description: None, default_project: false };
            self.workspaces.make(at, made);
            return 201;
        }
        if self.workspaces.get(at).is_none() {
            return 404;
        }
        let taken = match act {
            Act::Rename(name) => others(&|one| one.name == name),
            Act::Reslug(slug) => others(&|one| one.slug == slug),
            Act::Label(external) => external.is_some() && others(&|one| one.external == external),
            // Sandboxes are removed one by one before.
            Act::Remove { dry_run: false } => {
                self.sandboxes.any(None, |one| one.workspace == Some(at))
            }
            _ => false,
        };
        if taken {
            return 409;
        }
        if act == (Act::Remove { dry_run: false }) {
            self.projects.remove_if(|one| one.workspace == at);
            self.keys.remove_if(|one| one.workspace == Some(at));
            self.workspaces.remove(at);
            return 204;
        }
        if let Some(one) = self.workspaces.get_mut(at) {
            match act {
                Act::Rename(name) => one.name = name,
                Act::Reslug(slug) => one.slug = slug,
                Act::Describe(description) => one.description = description,
                Act::Label(external) => one.external = external,
                _ => {}
            }
        }
        200
    }
}
