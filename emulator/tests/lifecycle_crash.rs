//! The emulator itself, killed in the middle of creates: nothing acknowledged is lost, nothing is made twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::Client;
use http::Method;
use serde_json::{Value, json};

const CREATES: usize = 6;

/// The program with plain processes as machines; killed when it is dropped.
struct Program {
    child: Child,
    client: Client,
}

impl Program {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_miosa-emulator"))
            .args(["serve", "--listen", "127.0.0.1:0", "--machines", "host", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let address: SocketAddr = ready["listen"].as_str().unwrap().parse().unwrap();
        Self { child, client: Client::new(address, "msk_test_crash") }
    }

    /// SIGKILL: no chance to do anything.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The create with this number, under its key; it may be cut off.
async fn create(client: Client, number: usize) -> harness::Reply {
    let body = json!({ "template_id": "blank", "name": format!("n{number}") });
    client
        .with("idempotency-key", &format!("key-{number}"))
        .request(Method::POST, "/sandboxes")
        .json(&body)
        .send()
        .await
}

#[tokio::test]
async fn after_a_kill_in_the_middle_of_creates_each_exists_once() {
    let data = tempfile::tempdir().unwrap();
    let mut program = Program::start(data.path());
    let mut cut = tokio::task::JoinSet::new();
    for number in 0..CREATES {
        let client = program.client.clone();
        cut.spawn(async move { (number, create(client, number).await) });
    }
    // Killed as soon as one is acknowledged; the others are anywhere.
    let (first, reply) = cut.join_next().await.unwrap().unwrap();
    let mut acknowledged = vec![(first, reply.data(201)["id"].clone())];
    program.kill();
    while let Some(ended) = cut.join_next().await {
        // A task whose connection broke has panicked in its client.
        if let Ok((number, reply)) = ended {
            acknowledged.push((number, reply.data(201)["id"].clone()));
        }
    }

    let program = Program::start(data.path());
    let mut ids = Vec::new();
    for number in 0..CREATES {
        let made = create(program.client.clone(), number).await.data(201);
        ids.push(made["id"].clone());
    }
    for (number, id) in &acknowledged {
        assert_eq!(ids[*number], *id, "an acknowledged create was made again");
    }
    let listed = program.client.get("/sandboxes?page_size=100").await.data(200);
    let mut listed: Vec<String> =
        listed.as_array().unwrap().iter().map(|sandbox| sandbox["id"].to_string()).collect();
    let mut ids: Vec<String> = ids.iter().map(Value::to_string).collect();
    listed.sort();
    ids.sort();
    assert_eq!(listed, ids);
    // Each has one machine, and no machine is left that nobody owns.
    let mut machines = machines(data.path());
    machines.sort();
    let ids: Vec<&str> = ids.iter().map(|id| id.trim_matches('"')).collect();
    assert_eq!(machines, ids);
}

/// The machines on disk: directories named by an id below one called `machines`, wherever the host keeps it.
fn machines(below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_id = uuid::Uuid::parse_str(&name).is_ok();
        if is_id && below.ends_with("machines") {
            found.push(name);
        } else if !is_id && entry.file_type().unwrap().is_dir() {
            found.extend(machines(&entry.path()));
        }
    }
    found
}
