//! The program as a person meets it: what it prints, how it ends, what it does when it is used wrongly. One file for all of
//! it: the subcommands are tried on the same few running programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::{BOUND, Client};
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const KEY: &str = "msk_live_cli";

/// The program in a home of its own, with nothing of this process's environment that it reads.
fn program(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miosa-emulator"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
async fn ended(mut command: Command) -> Output {
    tokio::time::timeout(BOUND, command.output()).await.expect("an end in time").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that it ends with this code, and says each of these things on standard error, without a panic.
async fn fails(command: Command, code: i32, says: &[&str]) {
    let asked = format!("{command:?}");
    let output = ended(command).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{asked}: {said}");
    assert!(!said.contains("panicked"), "{asked}: {said}");
    for word in says {
        assert!(said.contains(word), "{asked} does not say {word:?}: {said}");
    }
}

/// `serve`, running.
struct Serving {
    child: Child,
    ready: Value,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Serving {
    async fn start(home: &TempDir, arguments: &[&str]) -> Self {
        Self::of(program(home, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat())).await
    }

    async fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = collect(&mut child);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(BOUND, out.read_line(&mut line)).await.expect("a ready line").unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{line:?}; the log: {}", log.lock().unwrap()));
        let address = ready["listen"].as_str().unwrap().parse().unwrap();
        Self { child, ready, address, log }
    }

    fn client(&self, key: &str) -> Client {
        Client::new(self.address, key)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().cast_signed()), signal).unwrap();
    }

    /// Its exit code, and how long that took.
    async fn end(mut self) -> (Option<i32>, Duration, String) {
        let began = Instant::now();
        let status = tokio::time::timeout(BOUND, self.child.wait()).await.expect("an end").unwrap();
        (status.code(), began.elapsed(), self.log.lock().unwrap().clone())
    }

    async fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        let (code, _, log) = self.end().await;
        assert_eq!(code, Some(0), "{log}");
        log
    }
}

/// What the child writes to standard error, as it comes.
fn collect(child: &mut Child) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let (mut from, to) = (child.stderr.take().unwrap(), log.clone());
    tokio::spawn(async move {
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            to.lock().unwrap().push_str(&text(&bytes[..read]));
        }
    });
    log
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test]
async fn wrong_use_is_exit_code_2_and_says_what_is_right() {
    let home = TempDir::new().unwrap();
    for (arguments, says) in [
        (&["frob"][..], &["unrecognized subcommand", "--help"][..]),
        (&["serve", "--listen", "nonsense"], &["127.0.0.1:4010"]),
        (&["serve", "--listen", "0.0.0.0:0"], &["--auth strict", "--auth open"]),
        (&["serve", "--listen", "[::]:0"], &["--auth strict"]),
        (&["serve", "--seed", "7"], &["--ephemeral"]),
        (&["serve", "--ephemeral", "--data", "/x"], &["one of them"]),
        (&["serve", "--rate-limit", "0"], &["off, observe"]),
        (&["serve", "--machines", "podman"], &["docker", "namespace", "host", "none"]),
        (&["serve", "--auth", "strict", "--root-key", "s3cret"], &["msk_"]),
        (&["serve", "--auth", "x"], &["open", "audit", "strict"]),
        (&["serve", "--envelope", "x"], &["superset", "documented"]),
        (&["serve", "--template-image", "x"], &["TEMPLATE=IMAGE"]),
        (&["serve", "--log", "x=y=z"], &["error, warn, info"]),
        (&["serve", "--log-format", "xml"], &["text", "json"]),
        (&["serve", "--seed", "x", "--ephemeral"], &["--seed"]),
        (&["env", "--key", "a'; rm -rf /"], &["letters, digits"]),
        (&["env", "--listen", "127.0.0.1:0"], &["ready line"]),
        (&["health", "--listen", "127.0.0.1:0"], &["ready line"]),
    ] {
        fails(program(&home, arguments), 2, says).await;
    }
    assert!(is_empty(home.path()), "wrong use leaves nothing behind");
}

#[tokio::test]
async fn no_subcommand_shows_the_two_commands_to_begin_with() {
    let home = TempDir::new().unwrap();
    fails(program(&home, &[]), 2, &["miosa-emulator serve", "eval", "Exit codes: 0"]).await;
}

#[tokio::test]
async fn help_teaches_with_an_example() {
    let home = TempDir::new().unwrap();
    for name in ["serve", "doctor", "health", "env", "reset", "config", "prune", "version"] {
        let output = ended(program(&home, &[name, "--help"])).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Example"), "{name}");
    }
}

#[tokio::test]
async fn a_taken_port_is_exit_code_3_and_its_holder_is_named() {
    let home = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let me = format!("process {}", std::process::id());
    let command = program(&home, &["serve", "--ephemeral", "--listen", &address]);
    fails(command, 3, &[&me, "--listen 127.0.0.1:0"]).await;
    let command = program(&home, &["serve", "--auth", "open", "--listen", "203.0.113.7:80"]);
    fails(command, 3, &["cannot listen on 203.0.113.7:80"]).await;
}

#[tokio::test]
async fn a_data_directory_in_use_is_exit_code_4_and_its_holder_is_named() {
    let home = TempDir::new().unwrap();
    let serving = Serving::start(&home, &["--machines", "none"]).await;
    let holder = format!("process {}", serving.ready["pid"]);
    let again = program(&home, &["serve", "--listen", "127.0.0.1:0", "--machines", "none"]);
    fails(again, 4, &[&holder, "--data"]).await;
    fails(program(&home, &["prune", "--machines", "none"]), 4, &[&holder]).await;
    serving.stop().await;
    let output = ended(program(&home, &["prune", "--machines", "none"])).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_exit_code_4() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--machines", "none", "--data"];
    let path = file.to_str().unwrap();
    fails(program(&home, &[&serve[..], &[path]].concat()), 4, &[path]).await;
    // A file of somebody else's is refused and left as it is.
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("state.db"), "something else entirely, and long enough").unwrap();
    fails(program(&home, &[&serve[..], &[data.to_str().unwrap()]].concat()), 4, &["state.db"])
        .await;
    let kept = std::fs::read_to_string(data.join("state.db")).unwrap();
    assert_eq!(kept, "something else entirely, and long enough");
}

#[tokio::test]
async fn docker_without_an_engine_is_exit_code_5_and_says_what_to_do() {
    let home = TempDir::new().unwrap();
    for subcommand in [&["serve", "--ephemeral", "--listen", "127.0.0.1:0"][..], &["prune"]] {
        let mut command = program(&home, &[subcommand, &["--machines", "docker"]].concat());
        command.env("DOCKER_HOST", "unix:///nonexistent");
        fails(command, 5, &["/nonexistent", "DOCKER_HOST", "--machines namespace"]).await;
    }
}

#[tokio::test]
async fn auto_without_docker_takes_namespaces_and_logs_why() {
    let home = TempDir::new().unwrap();
    let mut command = program(&home, &["serve", "--ephemeral", "--listen", "127.0.0.1:0"]);
    command.env("DOCKER_HOST", "unix:///nonexistent");
    let serving = Serving::of(command).await;
    assert_eq!(serving.ready["machines"], "namespace");
    let log = serving.stop().await;
    assert!(log.contains("/nonexistent") && log.contains("namespaces"), "{log}");
}

#[tokio::test]
async fn every_setting_can_be_a_variable_and_switches_take_every_spelling() {
    let home = TempDir::new().unwrap();
    for on in ["true", "1", "yes", "on"] {
        let mut command = program(&home, &["serve", "--seed", "7"]);
        command
            .env("MIOSA_EMULATOR_EPHEMERAL", on)
            .env("MIOSA_EMULATOR_LISTEN", "localhost:0")
            .env("MIOSA_EMULATOR_MACHINES", "none")
            .env("MIOSA_EMULATOR_AUTH", "strict")
            .env("MIOSA_EMULATOR_ROOT_KEY", "msk_live_root")
            .env("MIOSA_EMULATOR_ADOPT", on)
            .env("MIOSA_EMULATOR_LOG", "warn");
        let serving = Serving::of(command).await;
        assert_eq!(serving.ready["ephemeral"], true);
        serving.client(KEY).get("/workspaces").await.refused(401, "INVALID_TOKEN");
        serving.client("msk_live_root").get("/workspaces").await.data(200);
        assert_eq!(serving.stop().await, "", "nothing to warn of");
    }
    for off in ["false", "0", "no", "off"] {
        let mut command = program(&home, &["serve", "--seed", "7"]);
        command.env("MIOSA_EMULATOR_EPHEMERAL", off);
        fails(command, 2, &["--ephemeral"]).await;
        // Said to be off, it contradicts nothing.
        let data = home.path().join("data");
        let arguments = ["serve", "--listen", ":0", "--machines", "none", "--data"];
        let mut command = program(&home, &[&arguments[..], &[data.to_str().unwrap()]].concat());
        command.env("MIOSA_EMULATOR_EPHEMERAL", off);
        Serving::of(command).await.stop().await;
    }
    let mut command = program(&home, &["serve"]);
    command.env("MIOSA_EMULATOR_EPHEMERAL", "maybe");
    fails(command, 2, &["--ephemeral", "maybe"]).await;
}

#[tokio::test]
async fn strict_without_any_key_that_could_pass_is_warned_of() {
    let home = TempDir::new().unwrap();
    let flags = ["--ephemeral", "--machines", "none", "--auth", "strict"];
    let log = Serving::start(&home, &flags).await.stop().await;
    assert!(log.contains("WARN") && log.contains("--root-key"), "{log}");
    let root = [&flags[..], &["--root-key", "msk_live_r00t5ecret", "--log", "trace"]].concat();
    let log = Serving::start(&home, &root).await.stop().await;
    assert!(!log.contains("WARN") && !log.contains("r00t5ecret"), "{log}");
}

#[tokio::test]
async fn the_printed_settings_uncommented_are_the_defaults() {
    let home = TempDir::new().unwrap();
    let output = ended(program(&home, &["config"])).await;
    let settings: Vec<(String, String)> = text(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("#MIOSA_")?.split_once('='))
        .map(|(name, value)| (format!("MIOSA_{name}"), value.to_owned()))
        .collect();
    assert!(settings.len() > 10, "{settings:?}");
    let mut command = program(&home, &["serve", "--listen", "127.0.0.1:0", "--machines", "none"]);
    command.envs(settings);
    let serving = Serving::of(command).await;
    let data = home.path().join(".local/share/miosa-emulator");
    assert_eq!(serving.ready["data"], data.to_str().unwrap());
    assert_eq!(serving.ready["ephemeral"], false);
    let reply = serving.client(KEY).get("/workspaces").await;
    assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (200, "300"));
    assert!(reply.json()["meta"].is_object(), "the superset");
    serving.stop().await;
}

#[tokio::test]
async fn the_printed_settings_can_be_sourced_by_a_shell() {
    let home = TempDir::new().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "\"$0\" config > \"$1\" && set -a && . \"$1\" && exec \"$0\" version"])
        .arg(env!("CARGO_BIN_EXE_miosa-emulator"))
        .arg(home.path().join("emulator.env"));
    let output = ended(shell).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_times() {
    let home = TempDir::new().unwrap();
    let mut runs = Vec::new();
    for seed in ["7", "7", "8"] {
        let flags = ["--ephemeral", "--machines", "none", "--seed", seed];
        let serving = Serving::start(&home, &flags).await;
        let made =
            serving.client(KEY).post("/workspaces", json!({ "name": "One" })).await.data(201);
        assert!(made["created_at"].as_str().unwrap().starts_with("2026-01-01T00:00:"), "{made}");
        runs.push(made["id"].as_str().unwrap().to_owned());
        serving.stop().await;
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_json_log_is_json_lines_and_nothing_else() {
    let home = TempDir::new().unwrap();
    let flags = ["--ephemeral", "--machines", "none", "--log", "debug", "--log-format", "json"];
    let serving = Serving::start(&home, &flags).await;
    serving.client(KEY).get("/workspaces").await.data(200);
    let log = serving.stop().await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let answered = lines.iter().find(|line| line["message"] == "answered").expect("the request");
    assert_eq!((&answered["level"], &answered["status"]), (&json!("DEBUG"), &json!(200)));
}

#[tokio::test]
async fn a_text_log_that_is_no_terminal_has_no_colours() {
    let home = TempDir::new().unwrap();
    let log = Serving::start(&home, &["--ephemeral", "--machines", "none"]).await.stop().await;
    assert!(log.contains("MIOSA API at") && !log.contains('\x1b'), "{log}");
}

#[tokio::test]
async fn no_secret_reaches_a_log_that_tells_everything() {
    let home = TempDir::new().unwrap();
    let flags = ["--ephemeral", "--machines", "host", "--log", "trace"];
    let serving = Serving::start(&home, &flags).await;
    let client = serving.client("msk_live_k3y5ecret");
    client.get("/workspaces?token=qu3ry5ecret").await.data(200);
    let reply = client.request(Method::GET, "/workspaces?token=qu3ry5ecret").http2().send().await;
    reply.data(200);
    let minted = client.post("/api-keys", json!({ "name": "ci" })).await;
    let minted = minted.json()["data"]["key"].as_str().expect("a key").to_owned();
    assert_eq!(serving.client(&minted).get("/workspaces").await.status, 200);
    let fields = json!({ "name": "s", "template_id": "blank", "env": { "A": "env5ecret" } });
    client.post("/sandboxes", fields).await.data(201);
    let run = json!({ "command": "echo $A$B", "env": { "B": "run5ecret" } });
    let ran = client.post("/sandboxes/s/exec", run).await.data(200);
    assert_eq!(ran["stdout"], "env5ecretrun5ecret\n", "{ran}");
    let file = json!({ "path": "note", "content": "f1le5ecret" });
    assert!(client.post("/sandboxes/s/fs/write", file).await.status < 300);
    let log = serving.stop().await;
    assert!(log.contains("TRACE") && log.contains("answered"), "it does tell");
    for secret in ["k3y5ecret", "qu3ry5ecret", "env5ecret", "run5ecret", "f1le5ecret", &minted] {
        let told = log.lines().find(|line| line.contains(secret));
        assert!(told.is_none(), "{secret}: {told:?}");
    }
}

#[tokio::test]
async fn a_shell_that_evaluates_env_reaches_the_emulator() {
    let home = TempDir::new().unwrap();
    let serving = Serving::start(&home, &["--ephemeral", "--machines", "none"]).await;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "eval \"$(\"$0\" env --key msk_test_a)\" && printf '%s %s' \"$MIOSA_BASE_URL\" \"$MIOSA_API_KEY\""])
        .arg(env!("CARGO_BIN_EXE_miosa-emulator"))
        .env("MIOSA_EMULATOR_LISTEN", serving.address.to_string());
    let said = text(&ended(shell).await.stdout);
    assert_eq!(said, format!("{} msk_test_a", serving.ready["url"].as_str().unwrap()));
    serving.stop().await;
}

#[tokio::test]
async fn health_is_exit_code_0_while_it_is_well_and_1_after() {
    let home = TempDir::new().unwrap();
    let serving = Serving::start(&home, &["--ephemeral", "--machines", "none"]).await;
    let address = serving.address.to_string();
    let output = ended(program(&home, &["health", "--listen", &address])).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let health: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(health["status"], "ok");
    serving.stop().await;
    let gone = program(&home, &["health", "--listen", &address]);
    fails(gone, 1, &[&address, "miosa-emulator serve"]).await;
}

#[tokio::test]
async fn reset_empties_the_organization_of_a_key_or_all() {
    let home = TempDir::new().unwrap();
    let serving = Serving::start(&home, &["--ephemeral", "--machines", "none"]).await;
    let address = serving.address.to_string();
    let keys = ["msk_live_a", "msk_test_b", "msk_test_c"];
    for key in keys {
        serving.client(key).post("/workspaces", json!({ "name": "One" })).await.data(201);
    }
    let counts = async || {
        let mut counts = Vec::new();
        for key in keys {
            let list = serving.client(key).get("/workspaces").await.json();
            counts.push(list["page"]["total"].as_u64().unwrap());
        }
        counts
    };
    for (arguments, left) in
        [(&["--key", "msk_test_b"][..], [2, 1, 2]), (&[], [1, 1, 2]), (&["--all"], [1, 1, 1])]
    {
        let reset = ["reset", "--listen", &address];
        let output = ended(program(&home, &[&reset[..], arguments].concat())).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(counts().await, left, "{arguments:?}");
    }
    serving.stop().await;
}

#[tokio::test]
async fn doctor_tells_of_every_kind_and_ends_as_serve_would() {
    let home = TempDir::new().unwrap();
    for (kind, code, verdict) in [
        ("auto", 0, "serve would use: namespace"),
        ("namespace", 0, "serve would use: namespace"),
        ("host", 0, "serve would use: host (no isolation)"),
        ("none", 0, "serve would use: none, as asked"),
        ("docker", 5, "serve would refuse to start"),
    ] {
        let mut command = program(&home, &["doctor", "--machines", kind]);
        command.env("DOCKER_HOST", "unix:///nonexistent");
        let output = ended(command).await;
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{kind}: {said}");
        assert!(said.contains(verdict), "{kind}: {said}");
        for word in ["/nonexistent", "namespaces", "disk", "network", "template", "miosa-sandbox"] {
            assert!(said.contains(word), "{kind} does not tell of {word}: {said}");
        }
    }
    assert!(is_empty(home.path()), "it leaves nothing behind");
}

#[tokio::test]
async fn version_is_the_same_however_it_is_asked() {
    let home = TempDir::new().unwrap();
    for arguments in ["version", "--version"] {
        let said = text(&ended(program(&home, &[arguments])).await.stdout);
        let expected = format!("miosa-emulator {}", env!("CARGO_PKG_VERSION"));
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[tokio::test]
async fn a_term_signal_ends_it_well_and_ephemeral_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let serving = Serving::start(&home, &["--ephemeral", "--machines", "host"]).await;
    let client = serving.client(KEY);
    client.post("/sandboxes", json!({ "name": "s", "template_id": "blank" })).await.data(201);
    // A command that would run on, and a stream that would never end.
    let sleeper = client.clone();
    let running = tokio::spawn(async move {
        sleeper.post("/sandboxes/s/exec", json!({ "command": "sleep 300" })).await
    });
    let live = client.with("accept", "text/event-stream");
    let stream = live.request(Method::GET, "/_emulator/requests").open().await;
    let data = serving.ready["data"].as_str().unwrap().to_owned();
    assert!(Path::new(&data).exists());
    serving.signal(Signal::SIGTERM);
    let (code, took, log) = serving.end().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(20), "{took:?}: {log}");
    assert!(!Path::new(&data).exists(), "{log}");
    running.abort();
    drop(stream);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let home = TempDir::new().unwrap();
    for (signal, expected) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let serving = Serving::start(&home, &["--ephemeral", "--machines", "none"]).await;
        // A request that stays open holds up the end for some seconds.
        let mut open = TcpStream::connect(serving.address).await.unwrap();
        let head = "POST /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_x\r\nContent-Length: 9\r\n\r\n";
        open.write_all(head.as_bytes()).await.unwrap();
        serving.client(KEY).get("/workspaces").await.data(200);
        serving.signal(signal);
        until("it stops", || serving.log.lock().unwrap().contains("stopping")).await;
        serving.signal(signal);
        let (code, _, log) = serving.end().await;
        assert_eq!(code, Some(expected), "{log}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let home = TempDir::new().unwrap();
    for arguments in [&["config"][..], &["version"], &["env"], &["doctor", "--machines", "none"]] {
        let mut command = program(&home, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = tokio::time::timeout(BOUND, child.wait_with_output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
}

#[tokio::test]
async fn serve_goes_on_when_nobody_reads_what_it_says() {
    let home = TempDir::new().unwrap();
    let arguments =
        ["serve", "--listen", ":0", "--ephemeral", "--machines", "none", "--log", "trace"];
    let mut command = program(&home, &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address: SocketAddr = tokio::time::timeout(BOUND, async {
        loop {
            let line = log.next_line().await.unwrap().expect("a line");
            if let Some((_, rest)) = line.split_once("MIOSA API at http://") {
                return rest.split('/').next().unwrap().parse().unwrap();
            }
        }
    })
    .await
    .unwrap();
    drop(log);
    let client = Client::new(address, KEY);
    client.get("/workspaces").await.data(200);
    client.get("/workspaces").await.data(200);
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn state_is_kept_over_a_restart() {
    let home = TempDir::new().unwrap();
    let serving = Serving::start(&home, &["--machines", "none"]).await;
    let made = serving.client(KEY).post("/workspaces", json!({ "name": "Kept" })).await.data(201);
    let path = format!("/workspaces/{}", made["id"].as_str().unwrap());
    serving.stop().await;
    let serving = Serving::start(&home, &["--machines", "none"]).await;
    assert_eq!(serving.client(KEY).get(&path).await.data(200)["name"], "Kept");
    serving.stop().await;
}
