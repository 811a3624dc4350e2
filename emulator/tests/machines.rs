//! The registry over the one host that needs nothing: plain processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miosa_agent::protocol::{Command, Exec};
use miosa_emulator::machines::host::HostMachines;
use miosa_emulator::machines::{Base, MachineError, MachineHost, MachineSpec, Machines, Shape};
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(20);

async fn machines() -> (Machines, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let host = HostMachines::open(dir.path()).await.unwrap();
    (Machines::new(Arc::new(host)), dir)
}

fn spec(base: Base) -> MachineSpec {
    MachineSpec {
        id: Uuid::new_v4(),
        operation: Uuid::new_v4(),
        base,
        shape: Shape { vcpus: 1, memory_mb: 512, disk_mb: 1024 },
        env: BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]),
        hostname: "test".to_owned(),
    }
}

fn blank() -> MachineSpec {
    spec(Base::Template("blank".to_owned()))
}

async fn said(machines: &Machines, id: Uuid, line: &str) -> String {
    let exec = Exec {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: Some(10_000),
        stdin: false,
        tty: None,
        detached: false,
    };
    let finished = machines.agent(id).unwrap().run(exec, None, 1 << 20).await.unwrap();
    assert_eq!(finished.exit.exit_code, 0, "{finished:?}");
    String::from_utf8(finished.stdout.to_vec()).unwrap()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_machine_lives_from_create_to_remove() {
    let (machines, dir) = machines().await;
    let spec = blank();
    machines.create(&spec).await.unwrap();
    assert_eq!(said(&machines, spec.id, "echo $COLOUR > f; cat f").await, "blue\n");
    let found = machines.list().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id, found[0].operation), (spec.id, Some(spec.operation)));
    assert!(found[0].alive && !found[0].frozen);
    machines.stop(spec.id).await.unwrap();
    let stopped = machines.agent(spec.id).map(|_| ());
    assert!(matches!(stopped, Err(MachineError::AgentUnreachable(_))));
    assert!(!machines.list().await.unwrap()[0].alive);
    machines.start(spec.id).await.unwrap();
    assert_eq!(said(&machines, spec.id, "cat f; echo $COLOUR").await, "blue\nblue\n");
    machines.remove(spec.id).await.unwrap();
    machines.remove(spec.id).await.unwrap();
    assert!(machines.list().await.unwrap().is_empty());
    assert!(!dir.path().join("machines").join(spec.id.to_string()).exists());
}

#[tokio::test]
async fn a_snapshot_holds_one_moment_and_outlives_its_machine() {
    let (machines, _dir) = machines().await;
    let (one, snapshot) = (blank(), Uuid::new_v4());
    machines.create(&one).await.unwrap();
    said(&machines, one.id, "echo before > f; mkdir d; echo x > d/x; ln -s f l").await;
    let sealed = machines.snapshot(one.id, snapshot).await.unwrap();
    assert!(sealed.size_bytes > 0);
    assert_eq!(machines.list_snapshots().await.unwrap(), [snapshot]);
    said(&machines, one.id, "echo after > f; rm -r d; touch new").await;
    machines.restore(one.id, snapshot).await.unwrap();
    assert_eq!(
        said(&machines, one.id, "cat l d/x; ls new 2>/dev/null | wc -l").await,
        "before\nx\n0\n"
    );
    machines.remove(one.id).await.unwrap();
    let fork = spec(Base::Snapshot(snapshot));
    machines.create(&fork).await.unwrap();
    machines.remove_snapshot(snapshot).await.unwrap();
    assert_eq!(said(&machines, fork.id, "cat f").await, "before\n");
    let orphan = spec(Base::Snapshot(snapshot));
    let refused = machines.create(&orphan).await;
    assert!(matches!(refused, Err(MachineError::NotFound(id)) if id == snapshot));
    assert_eq!(machines.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_frozen_machine_stands_still() {
    let (machines, _dir) = machines().await;
    let spec = blank();
    machines.create(&spec).await.unwrap();
    said(
        &machines,
        spec.id,
        "(while true; do date +%s%N > now; sleep 0.005; done) > /dev/null 2>&1 &",
    )
    .await;
    let agent = machines.agent(spec.id).unwrap();
    let now = async || {
        use futures_util::StreamExt as _;
        let Ok((_, mut stream)) = agent.read("now").await else { return Bytes::new() };
        stream.next().await.and_then(Result::ok).unwrap_or_default()
    };
    let moves = async || {
        let before = now().await;
        until("time goes on", async || now().await != before).await;
    };
    moves().await;
    machines.freeze(spec.id).await.unwrap();
    assert!(machines.list().await.unwrap()[0].frozen);
    let (first, began) = (now().await, Instant::now());
    while began.elapsed() < Duration::from_millis(100) {
        assert_eq!(now().await, first);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    machines.thaw(spec.id).await.unwrap();
    moves().await;
    machines.freeze(spec.id).await.unwrap();
    machines.remove(spec.id).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_dies_is_announced_and_one_that_is_stopped_is_not() {
    let (machines, _dir) = machines().await;
    let (dies, stops) = (blank(), blank());
    machines.create(&dies).await.unwrap();
    machines.create(&stops).await.unwrap();
    let mut lost = machines.lost();
    machines.stop(stops.id).await.unwrap();
    let agent = machines.agent(dies.id).unwrap();
    let health = agent.health().await.unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(health.pid as i32),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let announced = tokio::time::timeout(BOUND, lost.recv()).await.unwrap().unwrap();
    assert_eq!(announced, dies.id);
    assert!(matches!(machines.agent(dies.id), Err(MachineError::AgentUnreachable(_))));
    assert!(lost.try_recv().is_err());
    machines.remove(dies.id).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_tear_a_create() {
    let (machines, _dir) = machines().await;
    let spec = blank();
    // One poll starts the work; then the caller is gone.
    let mut create = Box::pin(machines.create(&spec));
    assert!(futures_util::poll!(&mut create).is_pending());
    drop(create);
    until("the machine is there", async || machines.agent(spec.id).is_ok()).await;
    assert_eq!(said(&machines, spec.id, "echo whole").await, "whole\n");
    machines.settle().await;
}

#[tokio::test]
async fn a_template_that_is_not_here_leaves_nothing() {
    let (machines, _dir) = machines().await;
    let refused = machines.create(&spec(Base::Template("no-such".to_owned()))).await;
    assert!(matches!(refused, Err(MachineError::TemplateMissing { .. })));
    assert!(machines.list().await.unwrap().is_empty());
    let none = Machines::none("no engine, no namespaces");
    let refused = none.create(&blank()).await;
    assert!(matches!(refused, Err(MachineError::Unavailable(why)) if why.contains("no engine")));
}

#[tokio::test]
async fn no_process_outlives_the_emulators_end_of_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let host = HostMachines::open(dir.path()).await.unwrap();
    let spec = blank();
    let started = host.create(&spec).await.unwrap();
    let agent = miosa_emulator::machines::Agent::connect(started.stream).await.unwrap();
    let pid = agent.health().await.unwrap().pid;
    drop(agent);
    until("the agent is gone", async || !host.list().await.unwrap()[0].alive).await;
    assert!(miosa_agent::processes::below(pid as i32).is_empty());
}
