//! What the server says of each resource, and of all of a kind, against the model.

use serde_json::{Value, json};

use super::send::{port, scopes};
use super::{Drive, Kind, place};
use crate::case::Reply;
use crate::fault::Fault;
use crate::model::key::Scope;
use crate::model::{Place, Step, World, key, preview, sandbox, snapshot, workspace};

/// Fields with the values that they must have.
type Facts = Vec<(&'static str, Value)>;

impl Drive {
    /// The answer to a step that was done.
    pub(super) fn answered(&self, world: &World, step: &Step, reply: &Reply) -> Result<(), Fault> {
        let kind = match step {
            Step::Workspace(_, workspace::Act::Remove { .. })
            | Step::Sandbox(_, sandbox::Act::Remove | sandbox::Act::Write(_))
            | Step::Snapshot(_, snapshot::Act::Name(_) | snapshot::Act::Unname) => return Ok(()),
            Step::Sandbox(at, sandbox::Act::Look) => {
                let file = world.sandboxes.get(*at).map_or(0, |sandbox| sandbox.file);
                let said = reply.text("stdout")?;
                let expected = format!("{file} in the file");
                return reply.holds(said.trim() == file.to_string(), expected, said);
            }
            Step::Key(at, key::Act::Use) => return self.reach(world, *at, reply),
            Step::Snapshot(at, snapshot::Act::Restore) => {
                let of = world.snapshots.get(*at).map_or(0, |snapshot| snapshot.of);
                return self.agree(world, (Kind::Sandbox, of), &reply.data()?, reply);
            }
            other => Kind::of(other),
        };
        if reply.status == 204 {
            return Ok(());
        }
        // What was there already is shown, and not a new one.
        let at = self.known(kind, &reply.id()?).unwrap_or_else(|| place(step));
        self.agree(world, (kind, at), &reply.data()?, reply)
    }

    /// The workspaces that a key reaches: its own, or all.
    fn reach(&self, world: &World, at: Place, reply: &Reply) -> Result<(), Fault> {
        let Some(bound) = world.keys.get(at).and_then(|key| key.workspace) else { return Ok(()) };
        let ids: Vec<Value> = reply.items()?.iter().map(|item| item["id"].clone()).collect();
        let own = self.id(Kind::Workspace, bound);
        let expected = format!("the key's workspace {own} and no other");
        reply.holds(ids == [json!(own)], expected, format!("{ids:?}"))
    }

    /// After a step: its resource, and the lists that it can have changed.
    pub(super) async fn look(&self, world: &World, step: &Step) -> Result<(), Fault> {
        let kind = Kind::of(step);
        let at = (kind, place(step));
        // What is there is looked at in its list; what is not, by its id.
        if self.ids.contains_key(&at) && self.facts(world, at.0, at.1).is_none() {
            self.record(world, at).await?;
        }
        if step.ends() {
            return self.lists(world).await;
        }
        self.list(world, kind).await?;
        match step {
            Step::Snapshot(_, snapshot::Act::Restore)
            | Step::Project(_, crate::model::project::Act::Move { .. }) => {
                self.list(world, Kind::Sandbox).await
            }
            _ => Ok(()),
        }
    }

    /// At the end: everything that was made at some time.
    pub(super) async fn look_at_all(&self, world: &World) -> Result<(), Fault> {
        for at in self.ids.keys() {
            self.record(world, *at).await?;
        }
        for at in self.secrets.keys() {
            // A secret ends with its key, however that ended.
            let using = Step::Key(*at, key::Act::Use);
            let owed = world.clone().take(&using);
            let reply = self.send(world, &using).await?;
            let expected = format!("{owed} for the secret of key {at} at the end");
            reply.holds(reply.status == owed, expected, reply.summary())?;
        }
        self.lists(world).await
    }

    async fn lists(&self, world: &World) -> Result<(), Fault> {
        for kind in &self.kinds {
            self.list(world, *kind).await?;
        }
        Ok(())
    }

    /// One resource by its id: as the model says, or 404.
    async fn record(&self, world: &World, (kind, at): (Kind, Place)) -> Result<(), Fault> {
        let path = match kind {
            Kind::Preview => self.preview_path(at),
            _ => format!("{}/{}", kind.list(), self.id(kind, at)),
        };
        let reply = self.client.get(path).send().await?;
        if self.facts(world, kind, at).is_none() {
            return reply.refused(404).map(drop);
        }
        let reply = reply.expect(200)?;
        self.agree(world, (kind, at), &reply.data()?, &reply)
    }

    /// All of a kind: those that are there, each as the model says, and none that is gone.
    async fn list(&self, world: &World, kind: Kind) -> Result<(), Fault> {
        if !self.kinds.contains(&kind) {
            return Ok(());
        }
        if kind == Kind::Preview {
            for (sandbox, _) in world.sandboxes.here() {
                let path = format!("/sandboxes/{}/previews", self.id(Kind::Sandbox, sandbox));
                let here = world.previews.here().filter(|(_, one)| one.sandbox == sandbox);
                self.holds_exactly(world, kind, &path, here.map(|(at, _)| at).collect()).await?;
            }
            return Ok(());
        }
        let here = match kind {
            Kind::Workspace => world.workspaces.here().map(|(at, _)| at).collect(),
            Kind::Project => world.projects.here().map(|(at, _)| at).collect(),
            Kind::Key => world.keys.here().map(|(at, _)| at).collect(),
            Kind::Sandbox => world.sandboxes.here().map(|(at, _)| at).collect(),
            // What a name keeps is no history.
            _ => {
                let history = world.snapshots.here().filter(|(_, one)| one.name.is_none());
                history.map(|(at, _)| at).collect()
            }
        };
        self.holds_exactly(world, kind, kind.list(), here).await
    }

    async fn holds_exactly(
        &self,
        world: &World,
        kind: Kind,
        path: &str,
        here: Vec<Place>,
    ) -> Result<(), Fault> {
        let reply = self.client.get(format!("{path}?page_size=100")).send().await?.expect(200)?;
        let mut listed = Vec::new();
        for item in reply.items()? {
            let id = item["id"].as_str().unwrap_or_default();
            // Others may have some here, too.
            let Some(at) = self.known(kind, id) else { continue };
            let there = here.contains(&at) && !listed.contains(&at);
            reply.holds(
                there,
                format!("no {kind:?} {id} in the list, or once"),
                item.to_string(),
            )?;
            self.agree(world, (kind, at), &item, &reply)?;
            listed.push(at);
        }
        if let Some(missing) = here.iter().find(|at| !listed.contains(at)) {
            let expected = format!("{kind:?} {} in the list", self.id(kind, *missing));
            return Err(reply.broken(expected, "it is not there"));
        }
        let before = self.totals.get(&kind);
        if let Some(before) = before {
            let total = *before + here.len() as u64 + self.by_themselves(world, kind);
            let body = reply.json()?;
            let told = &body["page"]["total"];
            let expected = format!("a total of {total} from {}", reply.place());
            reply.holds(*told == total, expected, told.to_string())?;
        }
        Ok(())
    }

    /// How many of a kind made themselves.
    fn by_themselves(&self, world: &World, kind: Kind) -> u64 {
        if kind != Kind::Project {
            return 0;
        }
        let of_workspaces = world.workspaces.here().filter(|(_, one)| one.default_project);
        let of_organization = world.default_project && self.totals.get(&kind) == Some(&0);
        of_workspaces.count() as u64 + u64::from(of_organization)
    }

    fn known(&self, kind: Kind, id: &str) -> Option<Place> {
        self.ids.iter().find(|((of, _), known)| *of == kind && *known == id).map(|((_, at), _)| *at)
    }

    /// Whether a record says what the model does.
    fn agree(
        &self,
        world: &World,
        (kind, at): (Kind, Place),
        record: &Value,
        reply: &Reply,
    ) -> Result<(), Fault> {
        let Some(facts) = self.facts(world, kind, at) else {
            return Err(reply.broken(format!("no {kind:?} {at}: it is gone"), record.to_string()));
        };
        for (field, value) in facts {
            let told = &record[field];
            let expected = format!("{field} {value} of {kind:?} {at}");
            reply.holds(*told == value, expected, format!("{field} {told}"))?;
        }
        Ok(())
    }

    /// What the model says of a resource; none when it is gone.
    fn facts(&self, world: &World, kind: Kind, at: Place) -> Option<Facts> {
        let mut facts = vec![("id", json!(self.id(kind, at)))];
        let place = |kind, at: Option<Place>| at.map(|at| json!(self.id(kind, at)));
        match kind {
            Kind::Workspace => {
                let one = world.workspaces.get(at)?;
                facts.push(("name", json!(self.text("name", one.name))));
                facts.push(("slug", json!(self.text("slug", one.slug))));
                facts.push(("description", self.maybe("words", one.description)));
                facts.push(("external_workspace_id", self.maybe("label", one.external)));
            }
            Kind::Project => {
                let one = world.projects.get(at)?;
                facts.push(("workspace_id", json!(self.id(Kind::Workspace, one.workspace))));
                facts.push(("name", json!(self.text("name", one.name))));
                facts.push(("slug", json!(self.text("slug", one.slug))));
                facts.push(("description", self.maybe("words", one.description)));
                facts.push(("external_project_id", self.maybe("label", one.external)));
            }
            Kind::Key => {
                let one = world.keys.get(at)?;
                let status = if one.active { "active" } else { "inactive" };
                let workspace = place(Kind::Workspace, one.workspace).unwrap_or_default();
                facts.push(("name", json!(self.text("name", one.name))));
                facts.push(("status", json!(status)));
                facts.push(("workspace_id", workspace));
                if one.scope != Scope::All {
                    facts.push(("scopes", scopes(one.scope)));
                }
            }
            Kind::Sandbox => {
                let one = world.sandboxes.get(at)?;
                facts.push(("name", self.maybe("name", one.name)));
                facts.push(("state", json!(one.stand.word())));
                facts.push(("persistent", json!(one.persistent)));
                facts.extend(place(Kind::Workspace, one.workspace).map(|id| ("workspace_id", id)));
                facts.extend(place(Kind::Project, one.project).map(|id| ("project_id", id)));
            }
            Kind::Snapshot => {
                let one = world.snapshots.get(at)?;
                facts.push(("sandbox_id", json!(self.id(Kind::Sandbox, one.of))));
                facts.push(("status", json!("ready")));
                let parent = place(Kind::Snapshot, one.parent).unwrap_or_default();
                facts.push(("parent_snapshot_id", parent));
                facts.extend(place(Kind::Workspace, one.workspace).map(|id| ("workspace_id", id)));
            }
            Kind::Preview => {
                let preview::Preview { sandbox, port: number, private } = world.previews.get(at)?;
                let visibility = if *private { "private" } else { "public" };
                facts.push(("sandbox_id", json!(self.id(Kind::Sandbox, *sandbox))));
                facts.push(("port", json!(port(*number))));
                facts.push(("visibility", json!(visibility)));
                facts.push(("state", json!("active")));
                facts.push(("ready", json!(false)));
            }
        }
        Some(facts)
    }
}
