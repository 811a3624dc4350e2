//! Workspaces and projects that come of being named, and the ones that are taken when none is.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::case::made::{at_once, field, id};
use crate::case::{Client, Sending};
use crate::each::each;
use crate::fault::{Fault, holds};
use crate::operations::{Op, sweep};
use crate::populated;
use crate::session::Session;

/// What is named that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum New {
    /// By creating projects in it.
    ExternalWorkspace,
    /// By creating it itself.
    ExternalItself,
    ExternalProject,
    /// By creating a sandbox in it.
    Slugs,
}

/// OWN-002.
pub(super) fn made_once(session: &Session) -> Result<(), Fault> {
    let mut all = vec![New::ExternalWorkspace, New::ExternalItself, New::ExternalProject];
    if session.target.has_machines() {
        all.push(New::Slugs);
    }
    let ways: Vec<_> = all.iter().flat_map(|new| [(*new, true), (*new, false)]).collect();
    session.forall((each(ways), 2_usize..=5), async |case, (ways, times)| {
        let client = case.organization()?;
        for (new, together) in ways.iter() {
            // Two that run will do.
            let times = if *new == New::Slugs { 2 } else { times };
            new.once(&client, times, *together).await?;
        }
        Ok(())
    })
}

impl New {
    /// Names it several times, all at once or one after another: there is one of it.
    async fn once(self, client: &Client, times: usize, together: bool) -> Result<(), Fault> {
        let name = client.case().name();
        let workspace = client.workspace().await?;
        let ask = || self.ask(client, &name, &workspace["id"]);
        let replies = if together {
            at_once((0..times).map(|_| ask())).await?
        } else {
            let mut replies = Vec::new();
            for _ in 0..times {
                replies.push(ask().send().await?);
            }
            replies
        };
        let fields: &[&str] = match self {
            Self::ExternalWorkspace => &["workspace_id"],
            Self::ExternalItself | Self::ExternalProject => &["id"],
            Self::Slugs => &["workspace_id", "project_id"],
        };
        let mut owners = BTreeSet::new();
        for reply in &replies {
            let made = matches!(reply.status, 200 | 201);
            reply.holds(made, "200 or 201", reply.summary())?;
            let record = reply.data()?;
            owners.insert(fields.iter().map(|it| record[*it].to_string()).collect::<Vec<_>>());
        }
        let expected = format!("one place for {times} requests that name it");
        holds(owners.len() == 1, expected.clone(), format!("{owners:?}"))?;
        let (list, of) = match self {
            Self::ExternalWorkspace | Self::ExternalItself => {
                ("/workspaces", "external_workspace_id")
            }
            Self::ExternalProject => ("/projects", "external_project_id"),
            Self::Slugs => ("/workspaces", "slug"),
        };
        let listed = client.get(format!("{list}?page_size=100")).send().await?;
        let items = listed.needs(200)?.items()?;
        let named = items.iter().filter(|item| item[of] == json!(name)).count();
        holds(named == 1, expected, format!("{named} in GET {list} with {of} {name}"))
    }
}

impl New {
    fn ask(self, client: &Client, name: &str, workspace: &Value) -> Sending {
        let own = client.case().name();
        match self {
            Self::ExternalWorkspace => {
                client.post("/projects", json!({ "name": own, "external_workspace_id": name }))
            }
            Self::ExternalItself => {
                client.post("/workspaces", json!({ "name": own, "external_workspace_id": name }))
            }
            Self::ExternalProject => client.post(
                "/projects",
                json!({ "name": own, "workspace_id": workspace, "external_project_id": name }),
            ),
            Self::Slugs => client.post(
                "/sandboxes",
                json!({ "name": own, "workspace_slug": name, "project_slug": name }),
            ),
        }
    }
}

/// OWN-004.
pub(super) fn answers_say(session: &Session) -> Result<(), Fault> {
    let lists = Op::all().into_iter().filter(|op| op.is_paginated() && *op.method() == Method::GET);
    session.forall(sweep(session, lists.collect()), async |case, lists| {
        let (client, world) = populated::whole(&case).await?;
        let mut projects = BTreeMap::new();
        for op in lists.iter() {
            let Some(sending) = op.valid(&client, &world) else { continue };
            let reply = sending.send().await?;
            if reply.status != 200 {
                continue;
            }
            for item in reply.items()? {
                let (Some(workspace), Some(project)) =
                    (item["workspace_id"].as_str(), item["project_id"].as_str())
                else {
                    continue;
                };
                if !projects.contains_key(project) {
                    let record = client.get(format!("/projects/{project}")).send().await?;
                    let record = record.expect(200)?.data()?;
                    projects.insert(project.to_owned(), field(&record, "workspace_id")?);
                }
                let own = projects.get(project).map(String::as_str);
                let expected =
                    format!("project {project} of {op:?} to be in workspace {workspace}");
                reply.holds(own == Some(workspace), expected, format!("it is in {own:?}"))?;
            }
        }
        // What runs says both, from its first answer on.
        if world.has_machines() {
            let body = json!({ "name": case.name(), "project_id": world.id("project") });
            let made = client.post("/sandboxes", body).send().await?.expect(201)?;
            let place = format!("/sandboxes/{}", made.id()?);
            for reply in [made, client.get(place).send().await?.expect(200)?] {
                reply.text("workspace_id")?;
                let project = reply.text("project_id")?;
                let wanted = world.id("project").unwrap_or_default();
                reply.holds(project == wanted, format!("project_id {wanted}"), project.clone())?;
            }
        }
        Ok(())
    })
}

/// How a request says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    HeaderId,
    HeaderSlug,
}

/// OWN-006.
pub(super) fn usual(session: &Session) -> Result<(), Fault> {
    let machines = session.target.has_machines();
    let said = each(vec![Said::Nothing, Said::HeaderId, Said::HeaderSlug]);
    session.forall(said, async |case, ways| {
        let client = case.organization()?;
        let own = client.workspace().await?;
        let other = client.workspace().await?;
        let usual = usual_workspace(&client, &[id(&own)?, id(&other)?]).await?;
        for said in ways.iter() {
            let (asking, wanted) = match said {
                Said::Nothing => (client.clone(), usual.clone()),
                Said::HeaderId => (client.with("X-MIOSA-Workspace", &id(&own)?), id(&own)?),
                Said::HeaderSlug => {
                    (client.with("X-MIOSA-Workspace", &field(&own, "slug")?), id(&own)?)
                }
            };
            let mut asked = vec![("/tokens/scoped", json!({ "user_id": case.name() }))];
            if *said != Said::Nothing {
                asked.push(("/projects", json!({ "name": case.name() })));
            }
            if machines && *said != Said::HeaderSlug {
                asked.push(("/sandboxes", json!({ "name": case.name() })));
            }
            for (path, body) in asked {
                let reply = asking.post(path, body).send().await?.expect(201)?;
                let workspace = reply.text("workspace_id")?;
                let expected = format!("it to be in workspace {wanted}");
                reply.holds(workspace == wanted, expected, format!("it is in {workspace}"))?;
            }
        }
        Ok(())
    })
}

/// The only workspace of an organization beside these.
async fn usual_workspace(client: &Client, made: &[String]) -> Result<String, Fault> {
    let items = client.get("/workspaces?page_size=100").send().await?.needs(200)?.items()?;
    let mut others = items.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    others.retain(|id| !made.contains(id));
    match others.as_slice() {
        [one] => Ok(one.clone()),
        _ => {
            Err(Fault::unable(format!("{} workspaces, one of which is the default", others.len())))
        }
    }
}
