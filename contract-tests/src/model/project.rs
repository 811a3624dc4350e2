//! A project: made in a workspace, changed, moved, removed (`api-reference/projects`; miosa-python 2.19).

use super::{Place, World};

/// A project. Its name need not be unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Where it is.
    pub workspace: Place,
    /// Its name.
    pub name: u8,
    /// Its slug, unique in the workspace.
    pub slug: u8,
    /// What it is for.
    pub description: Option<u8>,
    /// The client's own name for it, unique in the workspace.
    pub external: Option<u8>,
}

/// What can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `POST /projects`.
    Make {
        /// The workspace, which may be gone.
        workspace: Place,
        /// The name.
        name: u8,
        /// The slug.
        slug: u8,
        /// The external id.
        external: Option<u8>,
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
    /// `POST …/move`.
    Move {
        /// The workspace, which may be gone.
        to: Place,
    },
    /// `DELETE`.
    Remove,
}

impl World {
    /// The project of a workspace that has this external id.
    pub fn project_labelled(&self, workspace: Place, external: u8) -> Option<Place> {
        let has = |one: &Project| one.workspace == workspace && one.external == Some(external);
        self.projects.here().find(|(_, one)| has(one)).map(|(at, _)| at)
    }

    pub(super) fn project(&mut self, at: Place, act: Act) -> u16 {
        if let Act::Make { workspace, name, slug, external } = act {
            if self.workspaces.get(workspace).is_none() {
                return 422;
            }
            if external.is_some_and(|id| self.project_labelled(workspace, id).is_some()) {
                return 200;
            }
            if self.projects.any(None, |one| one.workspace == workspace && one.slug == slug) {
                return 409;
            }
            self.projects.make(at, Project { workspace, name, slug, external, description: None });
            return 201;
        }
        let Some(project) = self.projects.get(at).cloned() else { return 404 };
        let beside = |workspace: Place, like: &dyn Fn(&Project) -> bool| {
            self.projects.any(Some(at), |one| one.workspace == workspace && like(one))
        };
        let has = |external: Option<u8>| {
            move |one: &Project| external.is_some() && one.external == external
        };
        let taken = match act {
            Act::Reslug(slug) => beside(project.workspace, &|one| one.slug == slug),
            Act::Label(external) => beside(project.workspace, &has(external)),
            Act::Move { to } if self.workspaces.get(to).is_none() => return 422,
            Act::Move { to } if to != project.workspace => {
                beside(to, &|one| one.slug == project.slug || has(project.external)(one))
            }
            Act::Remove => self.sandboxes.any(None, |one| one.project == Some(at)),
            _ => false,
        };
        if taken {
            return 409;
        }
        match act {
            Act::Remove => {
                self.projects.remove(at);
                return 204;
            }
            Act::Move { to } => self.carry(at, to),
            _ => {}
        }
        if let Some(one) = self.projects.get_mut(at) {
            match act {
                Act::Rename(name) => one.name = name,
                Act::Reslug(slug) => one.slug = slug,
                Act::Describe(description) => one.description = description,
                Act::Label(external) => one.external = external,
                Act::Move { to } => one.workspace = to,
                _ => {}
            }
        }
        200
    }

    /// What stands in a project goes with it.
    fn carry(&mut self, project: Place, to: Place) {
        self.sandboxes.each(|one| {
            if one.project == Some(project) {
                one.workspace = Some(to);
            }
        });
        self.snapshots.each(|one| {
            if one.project == Some(project) {
                one.workspace = Some(to);
            }
        });
    }
}
