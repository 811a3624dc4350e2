//! Workspace and project, named by id, slug and external id.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::case::made::id;
use crate::case::{Client, Reply};
use crate::fault::{Fault, holds};
use crate::operations::sweep;
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
    let absent = [Named::Unknown, Named::Nonsense];
    let mut asked = Vec::new();
    for kind in [Kind::Project, Kind::Key, Kind::Token, Kind::EndUserKey] {
        asked.extend([Named::There(0), Named::There(1)].map(|named| (kind, false, named)));
        asked.extend(absent.map(|named| (kind, false, named)));
    }
    if machines {
        for kind in [Kind::Sandbox, Kind::Batch] {
            asked.extend(absent.map(|named| (kind, false, named)));
            asked.extend(absent.map(|named| (kind, true, named)));
        }
        // What runs costs more, and one of each will do.
        asked.extend([
            (Kind::Sandbox, false, Named::There(1)),
            (Kind::Sandbox, true, Named::There(0)),
        ]);
    }
    session.forall(sweep(session, asked), async |case, asked| {
        let client = case.organization()?;
        let here = Here::make(&client).await?;
        for (kind, by_project, named) in asked.iter() {
            here.holds_what_is_made(&client, *kind, *by_project, *named).await?;
        }
        Ok(())
    })
}

impl Here {
    /// Makes something in a place, or fails to in one that is not there.
    async fn holds_what_is_made(
        &self,
        client: &Client,
        kind: Kind,
        by_project: bool,
        named: Named,
    ) -> Result<(), Fault> {
        let of = if by_project { &self.projects } else { &self.workspaces };
        let value = match named {
            Named::There(place) => of[place].clone(),
            Named::Unknown => Uuid::new_v4().to_string(),
            Named::Nonsense => client.case().name(),
        };
        let field = if by_project { "project_id" } else { "workspace_id" };
        let reply = kind.make(client, field, &value).await?;
        let Named::There(place) = named else {
            let refused = matches!(reply.status, 400 | 404 | 422);
            let expected = format!("404 or 422 for a {field} that is not there");
            reply.holds(refused, expected, reply.summary())?;
            return reply.refusal().map(drop);
        };
        let made = reply.expect(201)?;
        let record = made.data()?;
        let workspace = &self.workspaces[place];
        let expected = format!("it to be in workspace {workspace}");
        made.holds(record["workspace_id"] == json!(workspace), expected, record.to_string())?;
        if by_project {
            let project = &self.projects[place];
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
    }
}

impl Kind {
    async fn make(self, client: &Client, field: &str, value: &str) -> Result<Reply, Fault> {
        let name = client.case().name();
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
    let mut all_of_them: Vec<_> = [
        (Id, Slug),
        (Id, External),
        (Slug, External),
        (Slug, Id),
        (External, Slug),
        (External, Id),
    ]
    .map(|(one, other)| Contradiction::Workspaces(one, other))
    .into();
    all_of_them.push(Contradiction::NewSlug);
    let mut asked: Vec<_> = all_of_them.iter().map(|it| ("/projects", *it)).collect();
    if session.target.has_machines() {
        // A project has no project, what runs has one.
        all_of_them.extend([Id, Slug, External].map(Contradiction::Elsewhere));
        for path in ["/sandboxes", "/sandboxes/batch"] {
            asked.extend(all_of_them.iter().map(|it| (path, *it)));
        }
    }
    session.forall(sweep(session, asked), async |case, asked| {
        let client = case.organization()?;
        let here = Here::make(&client).await?;
        let before = all(&client).await?;
        for (path, contradiction) in asked.iter() {
            let reply = client.post(*path, here.contradicting(&client, path, *contradiction));
            let reply = reply.send().await?;
            let refused = matches!(reply.status, 400 | 409 | 422);
            let expected = "409 or 422 for selectors that contradict each other";
            reply.holds(refused, expected, reply.summary())?;
            reply.refusal()?;
        }
        let after = all(&client).await?;
        holds(before == after, format!("nothing made, as before: {before}"), after.to_string())
    })
}

impl Here {
    /// A create that says two things.
    fn contradicting(&self, client: &Client, path: &str, said: Contradiction) -> Value {
        let name = client.case().name();
        let mut body = match path {
            "/sandboxes/batch" => json!({ "count": 1, "name_prefix": name }),
            _ => json!({ "name": name }),
        };
        let mut say = |kind: &str, by: By, record: &Value| {
            let field = match by {
                By::Id => format!("{kind}_id"),
                By::Slug => format!("{kind}_slug"),
                By::External => format!("external_{kind}_id"),
            };
            let value = match by {
                By::Id => &record["id"],
                By::Slug => &record["slug"],
                By::External => &record[field.as_str()],
            };
            body[field] = value.clone();
        };
        say("workspace", said.first(), &self.records[0]);
        match said {
            Contradiction::Workspaces(_, other) => say("workspace", other, &self.records[1]),
            Contradiction::NewSlug => {
                say("workspace", By::Slug, &json!({ "slug": client.case().name() }));
            }
            Contradiction::Elsewhere(_) => say("project", By::Id, &self.records[3]),
        }
        body
    }
}

impl Contradiction {
    /// How it names the first workspace.
    fn first(self) -> By {
        match self {
            Self::Workspaces(by, _) | Self::Elsewhere(by) => by,
            Self::NewSlug => By::Id,
        }
    }
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
