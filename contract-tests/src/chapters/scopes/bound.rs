//! Keys that are bound to one workspace.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::{field, id};
use crate::case::{Case, Client};
use crate::fault::Fault;
use crate::session::Session;

/// What is made.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Project,
    Key,
    Token,
}

/// Who makes something, and which workspace it names; none when it names none.
#[derive(Debug, Clone, Copy)]
struct Step {
    bound: bool,
    kind: Kind,
    workspace: Option<usize>,
}

const LISTS: [(Kind, &str); 3] =
    [(Kind::Project, "/projects"), (Kind::Key, "/api-keys"), (Kind::Token, "/tokens/scoped")];

fn step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![Kind::Project, Kind::Key, Kind::Token]);
    let workspace = prop_oneof![1 => Just(None), 4 => (0_usize..2).prop_map(Some)];
    (any::<bool>(), kind, workspace).prop_map(|(bound, kind, workspace)| Step {
        bound,
        kind,
        workspace,
    })
}

/// Owner, bound key, and both workspaces; the key is bound to the first.
struct Here {
    owner: Client,
    holder: Client,
    workspaces: [String; 2],
}

/// SCP-005.
pub(super) fn within(session: &Session) -> Result<(), Fault> {
    session.forall(prop::collection::vec(step(), 1..=8), async |case, steps: Vec<Step>| {
        let here = Here::make(&case).await?;
        for step in steps {
            here.take(step).await?;
        }
        let seen = ids(&here.holder, "/workspaces").await?;
        let only = [here.workspaces[0].clone()].into();
        let expected = format!("the workspace of the key, {only:?}, in GET /workspaces");
        crate::fault::holds(seen == only, expected, format!("{seen:?}"))?;
        for (_, list) in LISTS {
            let owned = in_workspace(&here.owner, list, &here.workspaces[0]).await?;
            let seen = ids(&here.holder, list).await?;
            let expected = format!("what is in the workspace of the key, {owned:?}, in GET {list}");
            crate::fault::holds(seen == owned, expected, format!("{seen:?}"))?;
        }
        let elsewhere = &here.workspaces[1];
        here.holder.get(format!("/workspaces/{elsewhere}")).send().await?.refused(404)?;
        Ok(())
    })
}

impl Here {
    async fn make(case: &Case) -> Result<Self, Fault> {
        let owner = case.organization()?;
        let workspaces = [id(&owner.workspace().await?)?, id(&owner.workspace().await?)?];
        let body = json!({ "name": case.name(), "workspace_id": workspaces[0] });
        let key = owner.make("/api-keys", body).await?;
        let holder = owner.as_key(&field(&key, "key")?);
        Ok(Self { owner, holder, workspaces })
    }

    async fn take(&self, step: Step) -> Result<(), Fault> {
        let who = if step.bound { &self.holder } else { &self.owner };
        let named = step.workspace.map(|place| &self.workspaces[place]);
        let name = who.case().name();
        let (path, mut body) = match step.kind {
            Kind::Project => ("/projects", json!({ "name": name })),
            Kind::Key => ("/api-keys", json!({ "name": name })),
            Kind::Token => ("/tokens/scoped", json!({ "user_id": name })),
        };
        if let Some(named) = named {
            body["workspace_id"] = json!(named);
        }
        let reply = who.post(path, body).send().await?;
        if !step.bound {
            return Ok(());
        }
        if step.workspace == Some(1) {
            let refused = matches!(reply.status, 403 | 404 | 422);
            return reply.holds(refused, "nothing made in another workspace", reply.summary());
        }
        if reply.status == 201 {
            let made = reply.data()?;
            let expected = format!("it to be in {}", self.workspaces[0]);
            let there = made["workspace_id"] == json!(self.workspaces[0]);
            reply.holds(there, expected, made.to_string())?;
        }
        Ok(())
    }
}

async fn items(client: &Client, list: &str) -> Result<Vec<Value>, Fault> {
    client.get(format!("{list}?page_size=100")).send().await?.expect(200)?.items()
}

async fn ids(client: &Client, list: &str) -> Result<BTreeSet<String>, Fault> {
    items(client, list).await?.iter().map(id).collect()
}

async fn in_workspace(
    owner: &Client,
    list: &str,
    workspace: &str,
) -> Result<BTreeSet<String>, Fault> {
    let items = items(owner, list).await?;
    items.iter().filter(|item| item["workspace_id"] == workspace).map(id).collect()
}
