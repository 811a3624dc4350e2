//! Clients that change things and do not give up: the identical request with the same key, until there is an answer.
#![allow(clippy::missing_panics_doc, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{Client, Reply};

/// One organization for all: its totals are everybody's.
pub const KEY: &str = "msk_test_crash";

/// A request is answered within this, however often the emulator dies.
const PATIENCE: Duration = Duration::from_secs(120);

/// Choices that a seed repeats (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of<'k, K>(&mut self, mut keys: impl ExactSizeIterator<Item = &'k K>) -> Option<&'k K> {
        let count = keys.len() as u64;
        if count == 0 { None } else { keys.nth(usize::try_from(self.below(count)).unwrap()) }
    }
}

/// A request under a key.
#[derive(Debug, Clone)]
pub struct Keyed {
    method: Method,
    path: String,
    key: String,
    body: Option<Value>,
}

impl Keyed {
    pub async fn send(&self, api: &Client) -> Result<Reply, String> {
        let request = api.request(self.method.clone(), &self.path);
        let request = request.header("idempotency-key", &self.key);
        match &self.body {
            Some(body) => request.json(body).attempt().await,
            None => request.attempt().await,
        }
    }
}

/// A request with its final answer.
pub struct Acknowledged {
    pub request: Keyed,
    pub reply: Reply,
}

/// Sends a request until it is answered for good.
pub struct Patient {
    address: watch::Receiver<Option<SocketAddr>>,
    attempts: AtomicU64,
}

impl Patient {
    pub fn new(address: watch::Receiver<Option<SocketAddr>>) -> Self {
        Self { address, attempts: AtomicU64::new(0) }
    }

    async fn answer(&self, request: &Keyed) -> Reply {
        let began = Instant::now();
        let mut last = None;
        loop {
            assert!(began.elapsed() < PATIENCE, "never answered: {request:?}, last {last:?}");
            let address = *self.address.clone().wait_for(Option::is_some).await.unwrap();
            let api = Client::new(address.unwrap(), KEY);
            self.attempts.fetch_add(1, Ordering::Relaxed);
            match request.send(&api).await {
                Ok(reply) if is_final(&reply) => return reply,
                Ok(reply) => last = Some(String::from_utf8_lossy(&reply.body).into_owned()),
                Err(broken) => last = Some(broken),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether it is an answer, and not a refusal that says: try again.
fn is_final(reply: &Reply) -> bool {
    let code = reply.json()["error"]["code"].clone();
    match reply.status {
        409 => code != "SANDBOX_STARTING" && code != "IDEMPOTENCY_IN_PROGRESS",
        429 | 501..=599 => false,
        500 => code == "OUTCOME_UNKNOWN",
        _ => true,
    }
}

/// What is known of an appended line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It must be there.
    Written,
    /// It may be there.
    Unknown,
}

/// A sandbox as it must be.
#[derive(Debug, Default)]
pub struct Model {
    pub name: String,
    pub lines: BTreeMap<String, Line>,
    pub files: BTreeMap<String, String>,
}

/// Changes things, one after the other, and remembers what was acknowledged.
pub struct Worker {
    number: u64,
    dice: Dice,
    patient: Patient,
    count: u64,
    pub acknowledged: Vec<Acknowledged>,
    pub workspaces: BTreeMap<String, String>,
    pub projects: BTreeMap<String, String>,
    pub sandboxes: BTreeMap<String, Model>,
    /// Snapshots and the sandbox of each.
    pub snapshots: BTreeMap<String, String>,
}

impl Worker {
    pub fn new(number: u64, dice: Dice, patient: Patient) -> Self {
        Self {
            number,
            dice,
            patient,
            count: 0,
            acknowledged: Vec::new(),
            workspaces: BTreeMap::new(),
            projects: BTreeMap::new(),
            sandboxes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        }
    }

    pub fn attempts(&self) -> u64 {
        self.patient.attempts.load(Ordering::Relaxed)
    }

    /// Works until it is told to finish, and at least once.
    pub async fn run(mut self, finishing: watch::Receiver<bool>) -> Self {
        loop {
            self.step().await;
            if *finishing.borrow() {
                return self;
            }
        }
    }

    /// A name that nobody else uses.
    fn name(&self) -> String {
        format!("w{}-{}", self.number, self.count)
    }

    async fn send(&mut self, method: Method, path: String, body: Option<Value>) -> Reply {
        self.count += 1;
        let key = format!("{}-key", self.name());
        let request = Keyed { method, path, key, body };
        // Now and then twice at once, as a client does whose proxy is impatient: both get the same answer.
        let reply = if self.dice.below(4) == 0 {
            let both = (self.patient.answer(&request), self.patient.answer(&request));
            let (one, other) = tokio::join!(both.0, both.1);
            assert_eq!((one.status, &one.body), (other.status, &other.body), "{request:?}");
            one
        } else {
            self.patient.answer(&request).await
        };
        self.acknowledged.push(Acknowledged { request, reply: reply.clone() });
        reply
    }

    async fn step(&mut self) {
        let sandbox = self.dice.one_of(self.sandboxes.keys()).cloned();
        match (self.dice.below(20), sandbox) {
            (0..=1, _) => self.make_workspace().await,
            (2..=3, _) => self.make_project().await,
            (4, _) => self.rename().await,
            (5, _) => self.remove().await,
            (6..=8, _) | (_, None) => {
                if self.sandboxes.len() < 3 {
                    self.make_sandbox().await;
                } else {
                    self.make_project().await;
                }
            }
            (9, Some(sandbox)) => self.remove_sandbox(&sandbox).await,
            (10..=11, Some(sandbox)) => self.snapshot(&sandbox).await,
            (12, Some(sandbox)) => self.rename_sandbox(&sandbox).await,
            (13..=14, Some(sandbox)) => self.write(&sandbox).await,
            (_, Some(sandbox)) => self.append(&sandbox).await,
        }
    }

    async fn make_workspace(&mut self) {
        let name = self.name();
        let reply = self.send(Method::POST, "/workspaces".into(), Some(json!({ "name": name })));
        let made = reply.await.data(201);
        self.workspaces.insert(crate::program::id(&made), name);
    }

    async fn make_project(&mut self) {
        let name = self.name();
        let Some(workspace) = self.dice.one_of(self.workspaces.keys()) else {
            return self.make_workspace().await;
        };
        let body = json!({ "name": name, "workspace_id": workspace });
        let made = self.send(Method::POST, "/projects".into(), Some(body)).await.data(201);
        self.projects.insert(crate::program::id(&made), name);
    }

    async fn rename(&mut self) {
        let name = self.name();
        let Some(workspace) = self.dice.one_of(self.workspaces.keys()).cloned() else { return };
        let path = format!("/workspaces/{workspace}");
        let changed = self.send(Method::PATCH, path, Some(json!({ "name": name }))).await.data(200);
        assert_eq!(changed["name"], name.as_str());
        self.workspaces.insert(workspace, name);
    }

    async fn remove(&mut self) {
        let Some(project) = self.dice.one_of(self.projects.keys()).cloned() else { return };
        let gone = self.send(Method::DELETE, format!("/projects/{project}"), None).await;
        assert_eq!(gone.status / 100, 2, "{gone:?}");
        self.projects.remove(&project);
    }

    async fn make_sandbox(&mut self) {
        let name = self.name();
        let body = json!({ "name": name, "size": "xs" });
        let made = self.send(Method::POST, "/sandboxes".into(), Some(body)).await.data(201);
        let model = Model { name, ..Model::default() };
        self.sandboxes.insert(crate::program::id(&made), model);
    }

    async fn rename_sandbox(&mut self, sandbox: &str) {
        let name = self.name();
        let path = format!("/sandboxes/{sandbox}");
        self.send(Method::PATCH, path, Some(json!({ "name": name }))).await.data(200);
        self.sandboxes.get_mut(sandbox).unwrap().name = name;
    }

    async fn remove_sandbox(&mut self, sandbox: &str) {
        let gone = self.send(Method::DELETE, format!("/sandboxes/{sandbox}"), None).await;
        assert_eq!(gone.status / 100, 2, "{gone:?}");
        self.sandboxes.remove(sandbox);
        self.snapshots.retain(|_, of| of != sandbox);
    }

    async fn snapshot(&mut self, sandbox: &str) {
        let path = format!("/sandboxes/{sandbox}/snapshots");
        let of = self.snapshots.iter().find(|(_, of)| *of == sandbox).map(|(id, _)| id.clone());
        if let Some(old) = of {
            let gone = self.send(Method::DELETE, format!("{path}/{old}"), None).await;
            assert_eq!(gone.status / 100, 2, "{gone:?}");
            self.snapshots.remove(&old);
            return;
        }
        let made = self.send(Method::POST, path, Some(json!({}))).await.data(201);
        assert_eq!(made["status"], "ready");
        self.snapshots.insert(crate::program::id(&made), sandbox.to_owned());
    }

    async fn write(&mut self, sandbox: &str) {
        let (file, content) = (format!("/workspace/f{}", self.dice.below(3)), self.name());
        let body = json!({ "path": file, "content": content });
        let path = format!("/sandboxes/{sandbox}/fs/write");
        let written = self.send(Method::POST, path, Some(body)).await;
        assert_eq!(written.status / 100, 2, "{written:?}");
        self.sandboxes.get_mut(sandbox).unwrap().files.insert(file, content);
    }

    async fn append(&mut self, sandbox: &str) {
        let line = self.name();
        let body = json!({ "command": format!("echo {line} >> /workspace/log") });
        let ran = self.send(Method::POST, format!("/sandboxes/{sandbox}/exec"), Some(body)).await;
        let outcome = if ran.status == 500 {
            Line::Unknown
        } else {
            assert_eq!(ran.data(200)["exit_code"], 0);
            Line::Written
        };
        self.sandboxes.get_mut(sandbox).unwrap().lines.insert(line, outcome);
    }
}
