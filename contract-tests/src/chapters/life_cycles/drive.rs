//! Takes a walk on the server, and holds what it says against the model after each step.

mod compare;
mod send;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::case::{Case, Client, Reply};
use crate::fault::Fault;
use crate::model::key::Act as KeyAct;
use crate::model::preview::Act as PreviewAct;
use crate::model::snapshot::Act as SnapshotAct;
use crate::model::{Place, Step, Walk, World};

/// The kinds, by their lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `/workspaces`.
    Workspace,
    /// `/projects`.
    Project,
    /// `/api-keys`.
    Key,
    /// `/sandboxes`.
    Sandbox,
    /// `/snapshots`.
    Snapshot,
    /// `/sandboxes/{id}/previews`.
    Preview,
}

impl Kind {
    fn of(step: &Step) -> Self {
        match step {
            Step::Workspace(..) => Self::Workspace,
            Step::Project(..) => Self::Project,
            Step::Key(..) => Self::Key,
            Step::Sandbox(..) => Self::Sandbox,
            Step::Snapshot(..) => Self::Snapshot,
            Step::Preview(..) => Self::Preview,
        }
    }

    /// The list of all of an organization; previews have none.
    fn list(self) -> &'static str {
        match self {
            Self::Workspace => "/workspaces",
            Self::Project => "/projects",
            Self::Key => "/api-keys",
            Self::Sandbox => "/sandboxes",
            Self::Snapshot => "/snapshots",
            Self::Preview => "",
        }
    }
}

/// What is known of the server: which id stands for which place of the model.
pub struct Drive {
    client: Client,
    prefix: String,
    ids: BTreeMap<(Kind, Place), String>,
    /// The secrets that a key has had, the present one last.
    secrets: BTreeMap<Place, Vec<String>>,
    /// The sandboxes that previews were opened for.
    owners: BTreeMap<Place, Place>,
    /// How many there were before, where nobody else works in the organization.
    totals: BTreeMap<Kind, u64>,
    kinds: Vec<Kind>,
}

impl Drive {
    /// Takes the walk.
    ///
    /// # Errors
    /// Where server and model part.
    pub async fn walk(case: Case, walk: Walk, kinds: &[Kind]) -> Result<(), Fault> {
        Self::walk_with(case.organization()?, &walk, kinds, |_, _, _| ()).await.map(drop)
    }

    /// Takes the walk, and tells of each step with the worlds before and after it.
    ///
    /// # Errors
    /// Where server and model part.
    pub async fn walk_with(
        client: Client,
        walk: &Walk,
        kinds: &[Kind],
        mut tell: impl FnMut(&World, &Step, &World),
    ) -> Result<Self, Fault> {
        let mut drive = Self {
            prefix: client.case().name(),
            ids: BTreeMap::new(),
            secrets: BTreeMap::new(),
            owners: BTreeMap::new(),
            totals: BTreeMap::new(),
            kinds: kinds.to_vec(),
            client,
        };
        if drive.client.target().gives_organizations() {
            for kind in kinds.iter().filter(|kind| **kind != Kind::Preview) {
                let list = drive.client.get(format!("{}?page_size=1", kind.list()));
                let page = list.send().await?.needs(200)?.json()?;
                drive.totals.insert(*kind, page["page"]["total"].as_u64().unwrap_or_default());
            }
        }
        let mut world = walk.world.clone();
        for step in &walk.steps {
            walk.reach();
            let before = world.clone();
            drive.step(&mut world, step).await?;
            tell(&before, step, &world);
        }
        drive.look_at_all(&world).await?;
        Ok(drive)
    }

    /// The ids of what was made, of these kinds.
    pub fn ids_of(&self, kinds: &[Kind]) -> Vec<((Kind, Place), String)> {
        let of = self.ids.iter().filter(|((kind, _), _)| kinds.contains(kind));
        of.map(|(at, id)| (*at, id.clone())).collect()
    }

    async fn step(&mut self, world: &mut World, step: &Step) -> Result<(), Fault> {
        let before = world.clone();
        let owed = world.take(step);
        let reply = self.send(&before, step).await?;
        reply.holds(
            reply.status == owed,
            format!("{owed} from {} ({step:?})", reply.place()),
            reply.summary(),
        )?;
        if owed < 400 {
            self.learn(&before, step, &reply)?;
            self.answered(world, step, &reply)?;
        } else {
            reply.refusal()?;
        }
        self.look(world, step).await
    }

    /// Takes over what an answer tells: ids of what was made, secrets of keys.
    fn learn(&mut self, before: &World, step: &Step, reply: &Reply) -> Result<(), Fault> {
        let (kind, at) = (Kind::of(step), place(step));
        if reply.status == 201 && !matches!(step, Step::Snapshot(_, SnapshotAct::Name(_))) {
            self.ids.insert((kind, at), reply.id()?);
            if let Step::Preview(at, PreviewAct::Open { sandbox, .. }) = step {
                self.owners.insert(*at, *sandbox);
            }
        }
        if let Step::Key(at, KeyAct::Make { .. } | KeyAct::Rotate) = step {
            let record = reply.data()?;
            let secret = record["key"].as_str().unwrap_or_default().to_owned();
            reply.holds(!secret.is_empty(), "the secret in `key`", reply.summary())?;
            self.secrets.entry(*at).or_default().push(secret);
        }
        // Who asks for what is there already gets that, and not another one.
        if let Some(known) = send::same(before, step) {
            let id = reply.id()?;
            let expected = self.id(kind, known);
            reply.holds(id == expected, format!("{expected}, which is there already"), id)?;
        }
        Ok(())
    }

    fn id(&self, kind: Kind, at: Place) -> String {
        // What was never made has an id that nothing has.
        let none = "00000000-0000-4000-8000-000000000000".to_owned();
        self.ids.get(&(kind, at)).cloned().unwrap_or(none)
    }

    /// A value of the model as a text that nobody else has.
    fn text(&self, what: &str, value: u8) -> String {
        format!("{}-{what}{value}", self.prefix)
    }

    fn maybe(&self, what: &str, value: Option<u8>) -> Value {
        value.map_or(Value::Null, |value| json!(self.text(what, value)))
    }
}

fn place(step: &Step) -> Place {
    match step {
        Step::Workspace(at, _)
        | Step::Project(at, _)
        | Step::Key(at, _)
        | Step::Sandbox(at, _)
        | Step::Snapshot(at, _)
        | Step::Preview(at, _) => *at,
    }
}
