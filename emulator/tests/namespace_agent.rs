//! Machines with the real agent as their first process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "namespace/machines.rs"]
mod machines;

use std::time::{Duration, Instant};

use machines::{Bench, eventually, processes_with, spec};
use miosa_agent::protocol::{Command, Exec};
use miosa_emulator::machines::namespace::NamespaceHost;
use miosa_emulator::machines::{Agent, Base, MachineHost, Machines, Started};
use tempfile::TempDir;
use uuid::Uuid;

async fn bench() -> Bench {
    let data = TempDir::new().unwrap();
    let mut config = machines::config(data.path());
    config.init = miosa_emulator::machines::namespace::agent_command();
    config.agent = miosa_emulator::machines::agent::ELF;
    Bench { host: NamespaceHost::open(config).await.unwrap(), data }
}

async fn create(bench: &Bench) -> (Uuid, Agent) {
    let spec = spec(Base::Template("blank".into()));
    let started = bench.host.create(&spec).await.unwrap();
    (spec.id, connect(started).await)
}

async fn connect(started: Started) -> Agent {
    Agent::connect(started.stream).await.unwrap()
}

/// Both outputs and the exit code.
async fn run(agent: &Agent, line: &str) -> (String, i32) {
    let exec = Exec {
        command: Command::Shell(format!("exec 2>&1; {line}")),
        cwd: None,
        env: std::collections::BTreeMap::new(),
        timeout_ms: Some(30_000),
        stdin: false,
        tty: None,
        detached: false,
    };
    let finished = agent.run(exec, None, 1 << 20).await.unwrap();
    (String::from_utf8_lossy(&finished.stdout).trim_end().to_owned(), finished.exit.exit_code)
}

async fn ok(agent: &Agent, line: &str) -> String {
    let (output, code) = run(agent, line).await;
    assert_eq!(code, 0, "{line}: {output}");
    output
}

async fn refused(agent: &Agent, line: &str) {
    let (output, code) = run(agent, line).await;
    assert_ne!(code, 0, "{line}: {output}");
}

#[tokio::test]
async fn the_agent_answers_soon_after_a_create() {
    let bench = bench().await;
    let mut best = Duration::MAX;
    for _ in 0..8 {
        let begun = Instant::now();
        let (id, agent) = create(&bench).await;
        let connected = begun.elapsed();
        assert_eq!(ok(&agent, "pwd").await, "/workspace");
        println!("connected after {connected:?}, first command after {:?}", begun.elapsed());
        best = best.min(connected);
        bench.host.remove(id).await.unwrap();
    }
    assert!(best < Duration::from_secs(1), "{best:?}");
}

#[tokio::test]
async fn commands_get_the_machines_environment() {
    let bench = bench().await;
    let (_, agent) = create(&bench).await;
    assert_eq!(
        ok(&agent, "echo $HOME $USER $GREETING $https_proxy").await,
        "/home/sandbox root hello there http://127.0.0.1:3128"
    );
    assert_eq!(ok(&agent, "python -c 'import sys; print(sys.version_info[0])'").await, "3");
    // The proxy listens: it is the only way out.
    ok(&agent, "exec 3<>/dev/tcp/127.0.0.1/3128").await;
}

#[tokio::test]
async fn no_command_gets_at_the_agent() {
    let bench = bench().await;
    let (_, agent) = create(&bench).await;
    for line in [
        "readlink /proc/1/fd/*",
        "for fd in /proc/1/fd/*; do echo x > $fd && exit 0; done; exit 1",
        "for fd in /proc/1/fd/*; do cat $fd && exit 0; done; exit 1",
        "cat /proc/1/environ",
        "head -c 1 /proc/1/mem",
        "ls /proc/1/root/",
        "readlink /proc/1/exe",
        "echo > /run/miosa/agent",
        "rm -f /run/miosa/agent",
        "chmod u+w /run/miosa/agent",
        "mv /run/miosa /run/other",
        "nsenter --target 1 --pid true",
        "python3 -c 'import ctypes; exit(ctypes.CDLL(None).ptrace(16, 1, 0, 0) != 0)'",
    ] {
        refused(&agent, line).await;
    }
    // The kernel shields the first process from signals of its own machine.
    ok(&agent, "kill -KILL 1; kill -STOP 1; true").await;
    agent.health().await.unwrap();
}

#[tokio::test]
async fn a_memory_hog_is_killed_and_the_agent_lives() {
    let bench = bench().await;
    let (_, agent) = create(&bench).await;
    if bench.host.probe().await.unwrap().memory_mb.is_none() {
        return;
    }
    for _ in 0..3 {
        let (_, code) = run(&agent, "head -c 600m /dev/zero | tail > /dev/null").await;
        assert_eq!(code, 137);
        agent.health().await.unwrap();
    }
    // Many small ones together.
    run(
        &agent,
        "for i in 1 2 3 4 5 6 7 8; do (head -c 60m /dev/zero | tail > /dev/null) & done; wait",
    )
    .await;
    agent.health().await.unwrap();
}

#[tokio::test]
async fn the_agent_answers_while_a_fork_bomb_is_at_its_limit() {
    let bench = bench().await;
    let (_, agent) = create(&bench).await;
    let bomb = "import os,time\nwhile 1:\n  try:\n    if os.fork()==0: time.sleep(1000)\n  except OSError: break\nprint(1)";
    let (output, _) = run(&agent, &format!("timeout 20 python3 -c '{bomb}'")).await;
    assert!(output.contains('1'), "{output}");
    agent.health().await.unwrap();
    agent.usage().await.unwrap();
}

#[tokio::test]
async fn a_frozen_agent_goes_on_with_its_connection() {
    let bench = bench().await;
    let (id, agent) = create(&bench).await;
    ok(&agent, "echo kept > a").await;
    bench.host.freeze(id).await.unwrap();
    bench.host.thaw(id).await.unwrap();
    assert_eq!(ok(&agent, "cat a").await, "kept");
    let snapshot = Uuid::new_v4();
    bench.host.snapshot(id, snapshot).await.unwrap();
    ok(&agent, "echo changed > a").await;
    let restored = connect(bench.host.restore(id, snapshot).await.unwrap()).await;
    assert_eq!(ok(&restored, "cat a").await, "kept");
    assert!(agent.health().await.is_err());
}

#[tokio::test]
async fn a_machine_whose_connection_is_dropped_ends_and_can_start_again() {
    let bench = bench().await;
    let (id, agent) = create(&bench).await;
    let mark = Uuid::new_v4().to_string();
    ok(&agent, &format!("echo kept > a; (exec -a {mark} sleep 1000) >/dev/null 2>&1 & true")).await;
    eventually("it runs", || processes_with(&mark).len() == 1).await;
    agent.close();
    drop(agent);
    // The processes get a moment to end; a start waits for that.
    let agent = connect(bench.host.start(id).await.unwrap()).await;
    assert!(processes_with(&mark).is_empty());
    assert_eq!(ok(&agent, "cat a").await, "kept");
}

#[tokio::test]
async fn the_registry_leads_a_machine_through_its_life() {
    let bench = bench().await;
    let machines = Machines::new(std::sync::Arc::new(bench.host));
    let spec = spec(Base::Template("blank".into()));
    let (id, snapshot) = (spec.id, Uuid::new_v4());
    machines.create(&spec).await.unwrap();
    ok(&machines.agent(id).unwrap(), "echo one > a").await;
    assert!(machines.snapshot(id, snapshot).await.unwrap().size_bytes > 0);
    ok(&machines.agent(id).unwrap(), "echo two > a").await;
    machines.freeze(id).await.unwrap();
    machines.thaw(id).await.unwrap();
    machines.restore(id, snapshot).await.unwrap();
    assert_eq!(ok(&machines.agent(id).unwrap(), "cat a").await, "one");
    machines.stop(id).await.unwrap();
    assert!(machines.agent(id).is_err());
    machines.start(id).await.unwrap();
    assert_eq!(ok(&machines.agent(id).unwrap(), "cat a").await, "one");
    machines.remove(id).await.unwrap();
    machines.remove_snapshot(snapshot).await.unwrap();
    assert_eq!(std::fs::read_dir(bench.data.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    machines::again_as_an_ordinary_user("all_of_it_holds_for_an_ordinary_user");
}
