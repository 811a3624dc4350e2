//! The program as a user runs it: its exit codes, its reports, and what it leaves of a server that others use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod emulator;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use emulator::Emulator;
use miosa_emulator::http::auth::AuthMode;
use miosa_emulator::http::rate_limit::RateLimit;
use miosa_emulator::ids;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const BOUND: Duration = Duration::from_secs(120);
const ROOT: &str = "msk_root_of_this_test";

fn program(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miosa-contract"));
    for name in ["MIOSA_API_KEY", "MIOSA_SECOND_KEY", "MIOSA_CONTRACT_TARGET"] {
        command.env_remove(name);
    }
    command.current_dir(out).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(out: &Path, arguments: &[&str]) -> Output {
    let output = program(out).args(arguments).output();
    tokio::time::timeout(BOUND, output).await.expect("an end in time").unwrap()
}

fn report(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("miosa-contract/report.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A server that others use: only minted keys pass, and somebody's workspace is there.
async fn shared() -> Emulator {
    Emulator::start(|config| {
        config.auth = AuthMode::Strict;
        config.root_key = Some(ids::fingerprint(ROOT));
    })
    .await
}

async fn ask(emulator: &Emulator, method: &str, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}/api/v1{path}", emulator.url());
    let mut arguments = vec!["-sS", "-X", method, &url, "-H"];
    let authorization = format!("Authorization: Bearer {ROOT}");
    arguments.push(&authorization);
    let text = body.map(|body| body.to_string()).unwrap_or_default();
    if !text.is_empty() {
        arguments.extend(["-H", "Content-Type: application/json", "-d", &text]);
    }
    let output = Command::new("curl").args(arguments).output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_rule_is_0_and_nobody_there_is_2() {
    let (out, emulator) = (tempfile::tempdir().unwrap(), Emulator::start(|_| {}).await);
    let done = run(out.path(), &["run", "--target", &emulator.url(), "--rule", "PAGE-003"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let report = report(out.path());
    assert_eq!(
        (&report["rules"][0]["outcome"], &report["tally"]["kept"]),
        (&json!("kept"), &json!(1))
    );
    emulator.stop().await;
    let done = run(out.path(), &["run", "--target", "http://127.0.0.1:1"]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    for wrong in ["nonsense", "http://msk_live_x@host"] {
        let done = run(out.path(), &["run", "--target", wrong]).await;
        assert_eq!(done.status.code(), Some(2), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_rule_is_1_its_seed_is_kept_and_runs_first_until_it_holds() {
    let (out, emulator) = (tempfile::tempdir().unwrap(), Emulator::start(|_| {}).await);
    // A server that refuses requests too early.
    let strict = Emulator::start(|config| config.rate_limit = RateLimit::PerMinute(40)).await;
    let rule = ["--rule", "RATE-001"];
    let url = strict.url();
    let done =
        run(out.path(), &[&["run", "--target", &url, "--seed", "11"][..], &rule].concat()).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    for kind in ["sh", "hurl", "har"] {
        assert!(out.path().join(format!("miosa-contract/broken/RATE-001.{kind}")).is_file());
    }
    let script = out.path().join("miosa-contract/broken/RATE-001.sh");
    let again = Command::new(script).env("MIOSA_ORIGIN", &url).output().await.unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains("got now:  "), "{again:?}");
    let url = emulator.url();
    let seeds = || std::fs::read_to_string(out.path().join("miosa-contract/seeds.json"));
    assert!(seeds().unwrap().contains("11"));
    let once =
        run(out.path(), &[&["run", "--target", &url, "--seed", "12"][..], &rule].concat()).await;
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let both = report(out.path())["rules"][0]["cases"].as_u64().unwrap();
    assert!(seeds().is_err(), "a seed that holds is forgotten");
    run(out.path(), &[&["run", "--target", &url, "--seed", "12"][..], &rule].concat()).await;
    let one = report(out.path())["rules"][0]["cases"].as_u64().unwrap();
    assert_eq!(both, 2 * one, "the saved seed ran, too");
    for emulator in [emulator, strict] {
        emulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_server_keeps_what_it_had_and_loses_what_the_run_made() {
    let (out, emulator) = (tempfile::tempdir().unwrap(), shared().await);
    ask(&emulator, "POST", "/workspaces", Some(json!({ "name": "theirs" }))).await;
    let before = ask(&emulator, "GET", "/workspaces?page_size=100", None).await;
    let url = emulator.url();
    let live = ["run", "--target", &url, "--profile", "live", "--key", ROOT];
    let fast = ["--per-minute", "6000", "--budget", "250"];
    let done = run(out.path(), &[&live[..], &fast].concat()).await;
    let report = report(out.path());
    assert_ne!(report["exit_code"], 1, "{}", String::from_utf8_lossy(&done.stdout));
    assert_ne!(report["tally"]["kept"], 0, "{}", report["tally"]);
    assert!(report["requests"].as_u64().unwrap() <= 250, "{}", report["requests"]);
    assert_eq!(report["left_behind"], json!([]));
    let after = ask(&emulator, "GET", "/workspaces?page_size=100", None).await;
    assert_eq!(before["data"], after["data"]);
    for rule in report["rules"].as_array().unwrap() {
        let ran = rule["outcome"] == "kept" || rule["outcome"] == "broken";
        assert!(!(ran && rule["level"] == "chosen"), "{rule}");
    }
    let text = format!("{done:?}{report}");
    assert!(!text.contains(ROOT), "the key is in a report");
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_removes_what_the_run_made() {
    let (out, emulator) = (tempfile::tempdir().unwrap(), shared().await);
    let before = ask(&emulator, "GET", "/workspaces?page_size=100", None).await;
    let url = emulator.url();
    // Slow enough that the run is under way when the signal comes.
    let arguments =
        ["run", "--target", &url, "--profile", "live", "--key", ROOT, "--per-minute", "600"];
    let mut child = program(out.path())
        .args(arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let made = async {
        loop {
            let now = ask(&emulator, "GET", "/workspaces?page_size=100", None).await;
            if now["page"]["total"].as_u64() > before["page"]["total"].as_u64() {
                return now;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended before it made anything");
        }
    };
    let seen = tokio::time::timeout(BOUND, made).await.expect("something is made");
    let marked = seen["data"].as_array().unwrap().iter();
    assert!(marked.filter(|one| one["metadata"]["contract_run"].is_string()).count() > 0, "{seen}");
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    let ended = tokio::time::timeout(BOUND, child.wait()).await.expect("an end in time").unwrap();
    assert_eq!(ended.code(), Some(2));
    while lines.next_line().await.unwrap().is_some() {}
    assert_eq!(report(out.path())["interrupted"], true);
    let after = ask(&emulator, "GET", "/workspaces?page_size=100", None).await;
    assert_eq!(before["data"], after["data"]);
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_can_be_listed_and_explained() {
    let out = tempfile::tempdir().unwrap();
    let listed = run(out.path(), &["rules", "--json"]).await;
    let rules: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(rules.as_array().unwrap().len() >= 60);
    for rule in rules.as_array().unwrap() {
        let id = rule["id"].as_str().unwrap();
        let told = run(out.path(), &["explain", id]).await;
        assert!(String::from_utf8_lossy(&told.stdout).contains(rule["how"].as_str().unwrap()));
    }
    assert_eq!(run(out.path(), &["explain", "NONE-999"]).await.status.code(), Some(2));
}
