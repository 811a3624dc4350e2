//! Every list of the document that has pages, with something on it.
//!
//! A [`Shelf`] is one list, filled in an organization of its own, so that nothing else changes it. The rules that only
//! read share it for the whole run; the requests that filled it stand at the beginning of each of their cases, so that a
//! report can be repeated from nothing.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::case::made::id;
use crate::case::{Case, Client, Reply};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::target::{Profile, Target};

/// How many items a shelf gets that takes any.
const FILL: usize = 5;
/// The same where each costs a machine's time, or a request of a small budget.
const DEAR_FILL: usize = 3;

/// The paths of all lists that have pages, as the document writes them. On a live server a few of the cheap ones.
pub fn paths(target: &Target) -> Vec<&'static str> {
    let live = target.profile == Profile::Live;
    let items = miosa_openapi::document()["paths"].as_object().into_iter().flatten();
    items
        .filter(|(_, item)| item["get"]["x-paginated"] == true)
        .map(|(path, _)| path.as_str())
        .filter(|path| !needs_machine(path) || (target.has_machines() && !live))
        .filter(|path| !live || matches!(*path, "/workspaces" | "/projects" | "/service-accounts"))
        .collect()
}

fn needs_machine(path: &str) -> bool {
    path.starts_with("/sandboxes") && path != "/sandboxes/runtimes"
        || matches!(path, "/snapshots" | "/named-snapshots" | "/workspaces/{id}/sandboxes")
        || path == "/sandbox-templates/{id}/builds"
}

/// A sandbox that shelves stand on.
#[derive(Clone)]
pub struct Machine {
    client: Client,
    sandbox: String,
    workspace: String,
    batch: String,
}

/// A list, and what is needed to put more on it.
#[derive(Clone)]
pub struct Shelf {
    /// Who sees it.
    pub client: Client,
    /// As the document writes it.
    pub list: &'static str,
    /// Where it is.
    pub path: String,
    /// What was put on it, oldest first, where that has a key.
    pub keys: Vec<String>,
    /// By which name a path knows those that it does not know by their key.
    names: HashMap<String, String>,
    parent: String,
    sandbox: String,
}

impl Machine {
    /// One sandbox of a batch of its own, in an organization that stays as it is when its clock is moved.
    pub async fn start(case: &Case) -> Result<Self, Fault> {
        let client = case.organization()?;
        let body = json!({
            "count": DEAR_FILL,
            "name_prefix": case.name(),
            "persistent": true,
            // The clock of this organization is moved when a minute has had enough requests.
            "timeout_sec": 86_400,
        });
        let batch = id(&client.post("/sandboxes/batch", body).send().await?.needs(202)?.data()?)?;
        let path = format!("/sandboxes/batches/{batch}");
        let deadline = tokio::time::Instant::now() + crate::target::BOUND;
        // How often it was asked for is no part of the record.
        let asking = client.in_case(&Case::new(case.target().clone()));
        while asking.get(&path).send().await?.needs(200)?.data()?["succeeded"] != DEAR_FILL {
            if tokio::time::Instant::now() > deadline {
                return Err(Fault::unable("a batch of sandboxes did not start within 30 s"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let sandboxes = client.get(format!("{path}/items")).send().await?.needs(200)?.items()?;
        let first = sandboxes.first().ok_or_else(|| Fault::unable("a batch without sandboxes"))?;
        let workspace = crate::case::made::field(first, "workspace_id")?;
        Ok(Self { sandbox: id(first)?, workspace, batch, client })
    }
}

impl Shelf {
    /// The list, empty or with what is always on it. `machine` where it needs one.
    pub async fn open(
        case: &Case,
        list: &'static str,
        machine: Option<&Machine>,
    ) -> Result<Self, Fault> {
        let client = match machine {
            Some(machine) => machine.client.in_case(case),
            None => case.organization()?,
        };
        let (mut parent, mut sandbox) = (String::new(), String::new());
        if let Some(machine) = machine {
            sandbox.clone_from(&machine.sandbox);
            parent.clone_from(match list {
                "/sandboxes/batches/{id}/items" => &machine.batch,
                "/workspaces/{id}/sandboxes" => &machine.workspace,
                _ => &machine.sandbox,
            });
        }
        if list == "/projects" || list.starts_with("/workspaces/{id}") && machine.is_none() {
            parent = id(&client.workspace().await?)?;
        } else if list == "/projects/{id}/environments" {
            let workspace = id(&client.workspace().await?)?;
            parent = id(&client.project(&workspace).await?)?;
        } else if list == "/service-accounts/{id}/keys" {
            let body = json!({ "name": case.name() });
            parent = id(&client.make("/service-accounts", body).await?)?;
        } else if list == "/api-keys/{id}/events" {
            parent = id(&client.minted(None).await?)?;
        } else if list == "/sandbox-templates/{id}/builds" {
            parent = id(&client.make("/sandbox-templates", template(case)).await?)?;
        }
        let path = list.replace("{id}", &parent);
        Ok(Self { client, list, path, keys: Vec::new(), names: HashMap::new(), parent, sandbox })
    }

    /// A list of an organization that something else filled.
    pub fn plain(client: &Client, list: &'static str) -> Self {
        Self {
            client: client.clone(),
            list,
            path: list.to_owned(),
            keys: Vec::new(),
            names: HashMap::new(),
            parent: String::new(),
            sandbox: String::new(),
        }
    }

    /// The same in another case.
    pub fn in_case(&self, case: &Case) -> Self {
        Self { client: self.client.in_case(case), ..self.clone() }
    }

    /// Whether nothing can be put on it.
    pub fn is_fixed(&self) -> bool {
        self.more().is_none()
    }

    /// Puts one more on it; its key in the list, where what the request answers tells it.
    pub async fn add(&mut self) -> Result<Option<String>, Fault> {
        let Some((method, path, body)) = self.more() else { return Ok(None) };
        let name = body["name"].as_str().map(str::to_owned);
        let reply = self.client.request(method, path).json(body).send().await?;
        let reply = if matches!(reply.status, 200 | 201) { reply } else { reply.needs(201)? };
        if self.tells_deeds() {
            return Ok(None);
        }
        let key = key(&reply.data()?);
        if let Some(name) = name.filter(|_| self.is_named()) {
            self.names.insert(key.clone(), name);
        }
        self.keys.push(key.clone());
        Ok(Some(key))
    }

    fn is_named(&self) -> bool {
        matches!(self.list, "/api-keys/presets" | "/named-snapshots" | "/sandboxes/{id}/services")
    }

    /// Where one of it is.
    pub fn one(&self, key: &str) -> String {
        format!("{}/{}", self.path, self.names.get(key).map_or(key, String::as_str))
    }

    /// Whether it is a record of what was done, so that a change of anything adds to it.
    pub fn tells_deeds(&self) -> bool {
        let last = self.list.rsplit('/').next();
        matches!(last, Some("audit-log" | "activity" | "events"))
    }

    /// The request that puts one more on it.
    fn more(&self) -> Option<(Method, String, Value)> {
        let (case, parent) = (self.client.case(), &self.parent);
        let name = case.name();
        let named = json!({ "name": name });
        let sandbox = format!("/sandboxes/{}", self.sandbox);
        let (path, body) = match self.list {
            "/workspaces" | "/api-keys" | "/service-accounts" => (self.list.to_owned(), named),
            "/audit-log" | "/activity" => ("/workspaces".to_owned(), named),
            "/api-keys/presets" => {
                (self.list.to_owned(), json!({ "name": name, "scopes": ["sandboxes:read"] }))
            }
            "/tokens/scoped" => {
                (self.list.to_owned(), json!({ "user_id": name, "scopes": ["sandboxes:read"] }))
            }
            "/projects" | "/workspaces/{id}/projects" => {
                ("/projects".to_owned(), json!({ "name": name, "workspace_id": parent }))
            }
            "/sandbox-templates" => (self.list.to_owned(), template(case)),
            "/workspaces/{id}/invites" | "/workspaces/{id}/activity" => (
                format!("/workspaces/{parent}/invites"),
                json!({ "email": format!("{name}@example.com") }),
            ),
            "/projects/{id}/environments" | "/service-accounts/{id}/keys" => {
                (self.path.clone(), named)
            }
            "/api-keys/{id}/events" => {
                return Some((Method::PATCH, format!("/api-keys/{parent}"), named));
            }
            "/sandboxes/{id}/previews" => {
                // One that no other case has taken.
                let [a, b, ..] = *uuid::Uuid::new_v4().as_bytes();
                let port = 10_000 + u16::from_be_bytes([a, b]) % 50_000;
                (self.path.clone(), json!({ "port": port }))
            }
            "/sandboxes/{id}/shares" => (self.path.clone(), json!({})),
            "/sandboxes/{id}/commands" => {
                (self.path.clone(), json!({ "command": "sleep 900", "detached": true }))
            }
            "/sandboxes/{id}/processes" => (self.path.clone(), json!({ "command": "sleep 900" })),
            "/sandboxes/{id}/services" => {
                (self.path.clone(), json!({ "name": name, "command": "sleep 900" }))
            }
            "/sandboxes/{id}/snapshots" => (self.path.clone(), json!({ "comment": name })),
            "/snapshots" => (format!("{sandbox}/snapshots"), json!({ "comment": name })),
            "/named-snapshots" => {
                (self.list.to_owned(), json!({ "name": name, "sandbox_id": self.sandbox }))
            }
            "/sandbox-templates/{id}/builds" => (self.path.clone(), json!({})),
            _ => return None,
        };
        Some((Method::POST, path, body))
    }

    /// A part of it. Several rules read the same shelf: where that is too much for a minute, the next one begins.
    pub async fn part(&self, query: &str) -> Result<Reply, Fault> {
        let join = if query.is_empty() { "" } else { "?" };
        let path = format!("{}{join}{query}", self.path);
        let reply = self.client.get(&path).send().await?;
        if reply.status != 429 || self.client.target().profile == Profile::Live {
            return Ok(reply);
        }
        self.client.breathe().await?;
        self.client.get(path).send().await
    }
}

fn template(case: &Case) -> Value {
    json!({ "name": case.name(), "build_spec": { "from": "miosa-sandbox" } })
}

/// What an item of a list is known by.
pub fn key(item: &Value) -> String {
    let named = ["id", "name", "pid"].iter().find_map(|name| item[*name].as_str());
    named.map_or_else(|| item.to_string(), str::to_owned)
}

/// What the readers of a run share: a shelf, and what was said to fill it.
type Filled = (Shelf, Vec<Exchange>);
type Cell<T> = Arc<OnceCell<T>>;
type Cells<K, T> = LazyLock<Mutex<HashMap<K, Cell<T>>>>;

/// By the run and the list.
static CHEAP: Cells<(String, &'static str), Filled> = LazyLock::new(Mutex::default);
/// By the run. Those that stand on one sandbox are filled together: a snapshot stands on several of them.
static DEAR: Cells<String, Vec<Filled>> = LazyLock::new(Mutex::default);

/// The filled shelf that all readers share. The case begins with what filled it.
pub async fn shared(case: &Case, list: &'static str) -> Result<Shelf, Fault> {
    let target = case.target();
    let (shelf, said) = if needs_machine(list) {
        let cell = DEAR.lock().await.entry(target.run.clone()).or_default().clone();
        let all = cell.get_or_try_init(|| dear(target)).await?;
        let found = all.iter().find(|(shelf, _)| shelf.list == list);
        found.cloned().ok_or_else(|| Fault::unable(format!("no sandbox for {list}")))?
    } else {
        let place = (target.run.clone(), list);
        let cell = CHEAP.lock().await.entry(place).or_default().clone();
        cell.get_or_try_init(|| cheap(target, list)).await?.clone()
    };
    case.begin_with(&said);
    Ok(shelf.in_case(case))
}

async fn cheap(target: &Arc<Target>, list: &'static str) -> Result<Filled, Fault> {
    let case = Case::new(target.clone());
    let mut shelf = Shelf::open(&case, list, None).await?;
    for _ in 0..if target.profile == Profile::Live { DEAR_FILL } else { FILL } {
        shelf.add().await?;
    }
    Ok((shelf, case.exchanges()))
}

async fn dear(target: &Arc<Target>) -> Result<Vec<Filled>, Fault> {
    let case = Case::new(target.clone());
    let machine = Machine::start(&case).await?;
    let mut filled = Vec::new();
    for list in paths(target).into_iter().filter(|list| needs_machine(list)) {
        let own = Case::new(target.clone());
        own.begin_with(&case.exchanges());
        let mut shelf = Shelf::open(&own, list, Some(&machine)).await?;
        for _ in 0..DEAR_FILL {
            shelf.add().await?;
        }
        filled.push((shelf, own.exchanges()));
    }
    Ok(filled)
}
