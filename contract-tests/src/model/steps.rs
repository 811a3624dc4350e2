//! The steps that can be tried from where a world stands.

use super::key::{self, Scope};
use super::{Place, Places, Step, World, preview, project, sandbox, snapshot, workspace};

/// How many names, slugs and other values there are: few, so that they meet.
const VALUES: u8 = 3;

/// Names with slugs: not all pairs, but enough that either can meet without the other.
const NAMED: [(u8, u8); 5] = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)];

/// Whether a step can be sent: what it names is there, or was once.
pub fn possible(world: &World, step: &Step) -> bool {
    let workspace = |at: &Option<Place>| at.is_none_or(|at| world.workspaces.is_known(at));
    match step {
        Step::Workspace(at, workspace::Act::Make { .. }) => world.workspaces.is_unmade(*at),
        // Which of two with one name a server looks at first is nobody's business.
        Step::Workspace(at, workspace::Act::Rename(name)) => match world.workspaces.get(*at) {
            Some(one) if one.name == *name => !world.workspaces.any(Some(*at), |o| o.name == *name),
            _ => world.workspaces.is_known(*at),
        },
        Step::Workspace(at, _) => world.workspaces.is_known(*at),
        Step::Project(at, project::Act::Make { workspace: of, .. }) => {
            world.projects.is_unmade(*at) && world.workspaces.is_known(*of)
        }
        Step::Project(at, project::Act::Move { to }) => {
            world.projects.is_known(*at) && world.workspaces.is_known(*to)
        }
        Step::Project(at, _) => world.projects.is_known(*at),
        Step::Key(at, key::Act::Make { workspace: of, .. }) => {
            world.keys.is_unmade(*at) && workspace(of)
        }
        Step::Key(at, key::Act::UseOld) => world.keys.get(*at).is_some_and(|key| key.rotated),
        Step::Key(at, _) => world.keys.is_known(*at),
        Step::Sandbox(at, act) => match act {
            sandbox::Act::Make { workspace: of, project, .. } => {
                let project = project.is_none_or(|at| world.projects.is_known(at));
                world.sandboxes.is_unmade(*at) && workspace(of) && project
            }
            sandbox::Act::Fork { of } => {
                world.sandboxes.is_unmade(*at) && world.sandboxes.is_known(*of)
            }
            sandbox::Act::ForkSnapshot { of } => {
                world.sandboxes.is_unmade(*at) && world.snapshots.is_known(*of)
            }
            _ => world.sandboxes.is_known(*at),
        },
        Step::Snapshot(at, snapshot::Act::Take { of }) => {
            world.snapshots.is_unmade(*at) && world.sandboxes.is_known(*of)
        }
        Step::Snapshot(at, snapshot::Act::Unname) => {
            world.snapshots.get(*at).is_some_and(|snapshot| snapshot.name.is_some())
        }
        Step::Snapshot(at, _) => world.snapshots.is_known(*at),
        Step::Preview(at, preview::Act::Open { sandbox, .. }) => {
            world.previews.is_unmade(*at) && world.sandboxes.is_known(*sandbox)
        }
        Step::Preview(at, _) => world.previews.is_known(*at),
    }
}

/// Every step that can be tried.
pub fn all(world: &World) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(each(&world.workspaces, workspaces()).map(|(at, act)| Step::Workspace(at, act)));
    steps.extend(each(&world.projects, projects(world)).map(|(at, act)| Step::Project(at, act)));
    steps.extend(each(&world.keys, keys(world)).map(|(at, act)| Step::Key(at, act)));
    steps.extend(each(&world.sandboxes, sandboxes(world)).map(|(at, act)| Step::Sandbox(at, act)));
    steps.extend(each(&world.snapshots, snapshots(world)).map(|(at, act)| Step::Snapshot(at, act)));
    steps.extend(each(&world.previews, previews(world)).map(|(at, act)| Step::Preview(at, act)));
    steps.retain(|step| possible(world, step));
    steps
}

/// Each act on each resource that was made, and on the next that can be.
fn each<T, A: Clone>(places: &Places<T>, acts: Vec<A>) -> impl Iterator<Item = (Place, A)> {
    let ats: Vec<Place> = places.known().chain(places.free()).collect();
    ats.into_iter()
        .flat_map(move |at| acts.clone().into_iter().map(move |act| (at, act)).collect::<Vec<_>>())
}

fn values() -> impl Iterator<Item = u8> + Clone {
    0..VALUES
}

fn maybe<T: Clone>(some: impl Iterator<Item = T>) -> Vec<Option<T>> {
    std::iter::once(None).chain(some.map(Some)).collect()
}

fn workspaces() -> Vec<workspace::Act> {
    use workspace::Act;
    let mut acts = vec![Act::Read];
    for (name, slug) in NAMED {
        for external in maybe(0..2) {
            let again = [false, true].into_iter();
            acts.extend(again.map(|again| Act::Make { name, slug, external, again }));
        }
    }
    acts.extend(values().map(Act::Rename));
    acts.extend(values().map(Act::Reslug));
    acts.extend(maybe(values()).into_iter().map(Act::Describe));
    acts.extend(maybe(0..2).into_iter().map(Act::Label));
    acts.extend([true, false].map(|dry_run| Act::Remove { dry_run }));
    acts
}

fn projects(world: &World) -> Vec<project::Act> {
    use project::Act;
    let mut acts = vec![Act::Read, Act::Remove];
    for workspace in world.workspaces.known() {
        acts.push(Act::Move { to: workspace });
        for (name, slug) in NAMED {
            let external = maybe(0..2).into_iter();
            acts.extend(external.map(|external| Act::Make { workspace, name, slug, external }));
        }
    }
    acts.extend(values().map(Act::Rename));
    acts.extend(values().map(Act::Reslug));
    acts.extend(maybe(values()).into_iter().map(Act::Describe));
    acts.extend(maybe(0..2).into_iter().map(Act::Label));
    acts
}

fn keys(world: &World) -> Vec<key::Act> {
    use key::Act;
    let mut acts = vec![Act::Read, Act::Use, Act::UseOld, Act::Rotate, Act::Remove];
    for workspace in maybe(world.workspaces.known()) {
        let scopes = [Scope::All, Scope::Places, Scope::Sandboxes];
        acts.extend(scopes.map(|scope| Act::Make { workspace, scope }));
    }
    acts.extend(values().map(Act::Rename));
    acts.extend([Scope::Places, Scope::Sandboxes].map(Act::Rescope));
    acts.extend([false, true].map(|active| Act::Switch { active }));
    acts
}

fn sandboxes(world: &World) -> Vec<sandbox::Act> {
    use sandbox::Act;
    let mut acts =
        vec![Act::Read, Act::Pause, Act::Stop, Act::Resume, Act::Extend, Act::Look, Act::Remove];
    for project in maybe(world.projects.known()) {
        for workspace in maybe(world.workspaces.known()) {
            for name in values() {
                let persistent = [true, false];
                acts.extend(persistent.map(|persistent| Act::Make {
                    workspace,
                    project,
                    name,
                    persistent,
                }));
            }
        }
    }
    acts.extend(world.sandboxes.known().map(|of| Act::Fork { of }));
    acts.extend(world.snapshots.known().map(|of| Act::ForkSnapshot { of }));
    acts.extend((1..=VALUES).map(Act::Write));
    acts.extend(values().map(Act::Rename));
    acts
}

fn snapshots(world: &World) -> Vec<snapshot::Act> {
    use snapshot::Act;
    let mut acts = vec![Act::Read, Act::Restore, Act::Unname, Act::Remove];
    acts.extend(world.sandboxes.known().map(|of| Act::Take { of }));
    acts.extend((0..2).map(Act::Name));
    acts
}

fn previews(world: &World) -> Vec<preview::Act> {
    use preview::Act;
    let mut acts = vec![Act::Read, Act::Close];
    for sandbox in world.sandboxes.known() {
        for port in 0..2 {
            let private = [false, true];
            acts.extend(private.map(|private| Act::Open { sandbox, port, private }));
        }
    }
    acts
}
