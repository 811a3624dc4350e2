//! Workspace and project, named by id, slug and external id.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::case::made::id;
use crate::case::{Case, Client, Reply};
use crate::fault::Fault;
use crate::session::Session;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// The first, or the second, of what is there.
    There(usize),
    Unknown,
    /// No id at all.
    Nonsense,
}

/// What is made.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Project,
    Key,
    Token,
    EndUserKey,
    Batch,
    Sandbox,
}

/// OWN-001.
pub(super) fn by_id(session: &Session) -> Result<(), Fault> {
    let machines = session.target.has_machines();
    let kinds = vec![Kind::Project, Kind::Key, Kind::Token, Kind::EndUserKey];
    let there = (0_usize..2).prop_map(Named::There);
    let absent = prop_oneof![3 => Just(Named::Unknown), 1 => Just(Named::Nonsense)];
    let cheap = (prop::sample::select(kinds), prop_oneof![there.clone(), absent.clone()]);
    let refused = (prop::sample::select(vec![Kind::Sandbox, Kind::Batch]), absent);
    // What runs costs more, and one of them will do.
    let drawn = if machines {
        prop_oneof![8 => cheap, 3 => refused, 1 => (Just(Kind::Sandbox), there)].boxed()
    } else {
        cheap.boxed()
    };
    session.forall((drawn, any::<bool>()), async |case, ((kind, named), by_project)| {
        let client = case.organization()?;
        let here = Here::make(&client).await?;
        let by_project = by_project && matches!(kind, Kind::Sandbox | Kind::Batch);
        let of = if by_project { &here.projects } else { &here.workspaces };
        let value = match named {
            Named::There(place) => of[place].clone(),
            Named::Unknown => Uuid::new_v4().to_string(),
            Named::Nonsense => case.name(),
        };
        let field = if by_project { "project_id" } else { "workspace_id" };
        let reply = kind.make(&case, &client, field, &value).await?;
        let Named::There(place) = named else {
            let refused = matches!(reply.status, 400 | 404 | 422);
            let expected = format!("404 or 422 for a {field} that is not there");
            reply.holds(refused, expected, reply.summary())?;
            reply.refusal()?;
            return Ok(());
        };
        let made = reply.expect(201)?;
        let record = made.data()?;
        let workspace = &here.workspaces[place];
        let expected = format!("it to be in workspace {workspace}");
        made.holds(record["workspace_id"] == json!(workspace), expected, record.to_string())?;
        if by_project {
            let project = &here.projects[place];
            let expected = format!("it to be in project {project}");
            made.holds(record["project_id"] == json!(project), expected, record.to_string())?;
        }
        if let Kind::Project = kind {
            let list = client.get(format!("/workspaces/{workspace}/projects?page_size=100"));
            let list = list.send().await?.expect(200)?;
            let there = list.items()?.iter().any(|item| item["id"] == record["id"]);
            list.holds(there, "the project among those of its workspace", list.summary())?;
        }
        Ok(())
    })
}

impl Kind {
    async fn make(
        self,
        case: &Case,
        client: &Client,
        field: &str,
        value: &str,
    ) -> Result<Reply, Fault> {
        let name = case.name();
        let (path, mut body) = match self {
            Self::Project => ("/projects", json!({ "name": name })),
            Self::Key => ("/api-keys", json!({ "name": name })),
            Self::Token => ("/tokens/scoped", json!({ "user_id": name })),
            Self::EndUserKey => {
                let scopes = ["sandboxes:read"];
                ("/api-keys/scoped", json!({ "external_user_id": name, "scopes": scopes }))
            }
            Self::Batch => ("/sandboxes/batch", json!({ "count": 1, "name_prefix": name })),
            Self::Sandbox => ("/sandboxes", json!({ "name": name })),
        };
        body[field] = value.into();
        client.post(path, body).send().await
    }
}

/// Two workspaces with a project each, all with slugs and external ids.
struct Here {
    workspaces: [String; 2],
    projects: [String; 2],
    records: [Value; 4],
}

impl Here {
    async fn make(client: &Client) -> Result<Self, Fault> {
        let one = place(client, "/workspaces", "external_workspace_id", None).await?;
        let two = place(client, "/workspaces", "external_workspace_id", None).await?;
        let workspaces = [id(&one)?, id(&two)?];
        let first = place(client, "/projects", "external_project_id", Some(&workspaces[0])).await?;
        let second =
            place(client, "/projects", "external_project_id", Some(&workspaces[1])).await?;
        let projects = [id(&first)?, id(&second)?];
        Ok(Self { workspaces, projects, records: [one, two, first, second] })
    }
}

async fn place(
    client: &Client,
    path: &str,
    external: &str,
    within: Option<&str>,
) -> Result<Value, Fault> {
    let name = client.case().name();
    let mut body = json!({ "name": name, external: format!("ext-{name}") });
    if let Some(within) = within {
        body["workspace_id"] = within.into();
    }
    client.make(path, body).await
}

/// How a selector names its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Id,
    Slug,
    External,
}

/// A contradiction: the two selectors of one kind name the first and the second, or a project that lies elsewhere.
#[derive(Debug, Clone, Copy)]
enum Contradiction {
    Workspaces(By, By),
    Elsewhere(By),
    /// The first, and a slug that nothing has.
    NewSlug,
}

/// OWN-005.
pub(super) fn contradicting(session: &Session) -> Result<(), Fault> {
    use By::{External, Id, Slug};
    let pairs = vec![
        (Id, Slug),
        (Id, External),
        (Slug, External),
        (Slug, Id),
        (External, Slug),
        (External, Id),
    ];
    let drawn = prop_oneof![
        4 => prop::sample::select(pairs).prop_map(|(one, other)| Contradiction::Workspaces(one, other)),
        2 => prop::sample::select(vec![Id, Slug, External]).prop_map(Contradiction::Elsewhere),
        1 => Just(Contradiction::NewSlug),
    ];
    let paths = if session.target.has_machines() {
        vec!["/sandboxes", "/sandboxes/batch", "/projects"]
    } else {
        vec!["/projects"]
    };
    session.forall((drawn, prop::sample::select(paths)), async |case, (drawn, path)| {
        let client = case.organization()?;
        let here = Here::make(&client).await?;
        let mut body = match path {
            "/sandboxes/batch" => json!({ "count": 1, "name_prefix": case.name() }),
            _ => json!({ "name": case.name() }),
        };
        let mut say = |kind: &str, by: By, record: &Value| {
            let (field, value) = match by {
                By::Id => (format!("{kind}_id"), &record["id"]),
                By::Slug => (format!("{kind}_slug"), &record["slug"]),
                By::External => {
                    let field = format!("external_{kind}_id");
                    let value = &record[field.as_str()];
                    (field, value)
                }
            };
            body[field] = value.clone();
        };
        match drawn {
            Contradiction::Workspaces(one, other) => {
                say("workspace", one, &here.records[0]);
                say("workspace", other, &here.records[1]);
            }
            Contradiction::NewSlug => {
                say("workspace", By::Id, &here.records[0]);
                say("workspace", By::Slug, &json!({ "slug": case.name() }));
            }
            Contradiction::Elsewhere(by) if path != "/projects" => {
                say("workspace", by, &here.records[0]);
                say("project", By::Id, &here.records[3]);
            }
            // A project has no project.
            Contradiction::Elsewhere(_) => return Ok(()),
        }
        let before = all(&client).await?;
        let reply = client.post(path, body).send().await?;
        let refused = matches!(reply.status, 400 | 409 | 422);
        reply.holds(
            refused,
            "409 or 422 for selectors that contradict each other",
            reply.summary(),
        )?;
        reply.refusal()?;
        let after = all(&client).await?;
        let expected = format!("nothing made, as before: {before}");
        reply.holds(before == after, expected, after.to_string())
    })
}

/// The ids of all workspaces, projects and sandboxes.
async fn all(client: &Client) -> Result<Value, Fault> {
    let mut all = Vec::new();
    for list in ["/workspaces", "/projects", "/sandboxes"] {
        let items =
            client.get(format!("{list}?page_size=100")).send().await?.needs(200)?.items()?;
        all.extend(items.iter().map(|item| item["id"].clone()));
    }
    Ok(Value::Array(all))
}
