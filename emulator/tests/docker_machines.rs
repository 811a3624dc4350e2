//! Machines on a real Docker engine. Where there is none these tests fail and say how to get one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "docker/lab.rs"]
#[allow(dead_code)] // this file needs a part of it
mod lab;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use lab::{Lab, eventually, sh, spec};
use miosa_agent::protocol::{Command, Exec};
use miosa_emulator::machines::{Agent, Base, MachineError, MachineHost as _, NoteLevel, Shape};
use uuid::Uuid;

#[tokio::test]
async fn a_machine_runs_commands_holds_files_and_leaves_nothing() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("miosa-sandbox").await;
    assert_eq!(sh(&agent, "id -u; pwd; echo $GREETING").await, "0\n/workspace\nhello world\n");

    let entry = agent.write("notes/a.txt", None, Bytes::from_static(b"kept")).await.unwrap();
    assert_eq!(entry.path, "/workspace/notes/a.txt");
    assert_eq!(sh(&agent, "cat notes/a.txt").await, "kept");
    for tool in ["python3", "python", "pip", "node", "npm", "git", "curl"] {
        assert_ne!(sh(&agent, &format!("command -v {tool}")).await, "", "{tool}");
    }

    lab.host.remove(id).await.unwrap();
    lab.host.remove(id).await.expect("removing what is gone is fine");
    assert_eq!(lab.host.list().await.unwrap(), []);
    assert_eq!(lab.containers().await, Vec::<String>::new());
    assert!(matches!(lab.host.attach(id).await, Err(MachineError::NotFound(gone)) if gone == id));
}

#[tokio::test]
async fn files_survive_a_stop_and_processes_do_not() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("blank").await;
    sh(&agent, "echo kept > /workspace/a; echo kept > /etc/b; setsid sleep 1000 >/dev/null 2>&1 &")
        .await;
    lab.host.stop(id).await.unwrap();
    lab.host.stop(id).await.expect("stopping what is stopped is fine");
    let found = lab.host.list().await.unwrap();
    assert!(!found[0].alive && !found[0].frozen, "{found:?}");
    assert!(matches!(lab.host.attach(id).await, Err(MachineError::AgentUnreachable(_))));

    let started = lab.host.start(id).await.unwrap();
    assert_eq!(started.enforced.memory_mb, Some(256));
    let agent = Agent::connect(started.stream).await.unwrap();
    assert_eq!(sh(&agent, "cat /workspace/a /etc/b; pgrep sleep").await, "kept\nkept\n");
}

#[tokio::test]
async fn a_machine_that_removed_its_own_agent_starts_again() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("blank").await;
    sh(&agent, "rm -rf /.miosa").await;
    lab.host.stop(id).await.unwrap();
    let agent = Agent::connect(lab.host.start(id).await.unwrap().stream).await.unwrap();
    assert_eq!(sh(&agent, "echo back").await, "back\n");
}

#[tokio::test]
async fn a_machine_whose_network_was_removed_starts_on_the_present_one() {
    let lab = Lab::new().await;
    let (id, _agent) = lab.machine("blank").await;
    lab.move_to_a_network_that_goes_away(id).await;
    let agent = Agent::connect(lab.host.start(id).await.unwrap().stream).await.unwrap();
    assert_ne!(sh(&agent, "hostname -i").await, "");
}

#[tokio::test]
async fn a_large_file_goes_through_whole_while_commands_are_answered() {
    let lab = Lab::new().await;
    let (_, agent) = lab.machine("blank").await;
    let content: Vec<u8> = (0..32_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    let content = Bytes::from(content);
    let begun = Instant::now();
    let writing = agent.write("big", None, content.clone());
    let meanwhile = async {
        for _ in 0..20 {
            sh(&agent, "true").await;
        }
    };
    let (written, ()) = tokio::join!(writing, meanwhile);
    assert_eq!(written.unwrap().size, 32_000_000);
    let wrote = begun.elapsed();
    let (_, stream) = agent.read("big").await.unwrap();
    let read: Vec<Bytes> = stream.try_collect().await.unwrap();
    println!("32 MB: written in {wrote:?}, read back by {:?}", begun.elapsed());
    assert!(read.concat() == content, "not the same bytes");
}

#[tokio::test]
async fn a_frozen_machine_stands_still_and_goes_on_where_it_was() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("blank").await;
    let count = "i=0; while :; do i=$((i+1)); echo $i > /workspace/n; sleep 0.01; done";
    lab.detached(&agent, count).await;
    eventually("it counts", async || lab.read_out(id, "/workspace/n").await.is_some()).await;

    lab.host.freeze(id).await.unwrap();
    lab.host.freeze(id).await.expect("freezing what is frozen is fine");
    assert!(lab.host.list().await.unwrap()[0].frozen);
    let before = lab.read_out(id, "/workspace/n").await;
    // The counter makes a hundred steps a second: half a second of nothing is no accident.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(lab.read_out(id, "/workspace/n").await, before);

    lab.host.thaw(id).await.unwrap();
    lab.host.thaw(id).await.expect("thawing what runs is fine");
    eventually("it goes on", async || lab.read_out(id, "/workspace/n").await != before).await;
    assert_eq!(sh(&agent, "echo on the same stream").await, "on the same stream\n");
}

#[tokio::test]
async fn after_a_restart_the_processes_still_run_and_a_fresh_stream_reaches_them() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("blank").await;
    lab.detached(&agent, "i=0; while :; do i=$((i+1)); echo $i > /workspace/n; sleep 0.01; done")
        .await;
    eventually("it counts", async || lab.read_out(id, "/workspace/n").await.is_some()).await;
    agent.close();
    drop(agent);

    let later = lab.again().await;
    let found = later.list().await.unwrap();
    assert!(found[0].id == id && found[0].alive, "{found:?}");
    let agent = Agent::connect(later.attach(id).await.unwrap()).await.unwrap();
    let before = sh(&agent, "cat /workspace/n").await;
    eventually("it still counts", async || sh(&agent, "cat /workspace/n").await != before).await;

    let newer = Agent::connect(later.start(id).await.unwrap().stream).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), agent.closed())
        .await
        .expect("the newer closes the older");
    assert_eq!(sh(&newer, "echo here").await, "here\n");
}

#[tokio::test]
async fn limits_are_the_engines_and_what_it_cannot_hold_is_not_claimed() {
    let lab = Lab::new().await;
    let mut machine = spec(Base::Template("blank".to_owned()), BTreeMap::new());
    machine.shape = Shape { vcpus: 512, memory_mb: 300, disk_mb: 10_240 };
    let started = lab.host.create(&machine).await.unwrap();
    let cpus = lab.docker.info().await.unwrap().ncpu.unwrap();
    assert_eq!(started.enforced.vcpus.map(i64::from), Some(cpus));
    assert_eq!(started.enforced.memory_mb, Some(300));
    assert_eq!(started.enforced.disk_mb, None);

    let container = lab.inspect(machine.id).await;
    let host = container.host_config.unwrap();
    assert_eq!(host.nano_cpus, Some(cpus * 1_000_000_000));
    assert_eq!(host.memory, Some(300 * 1024 * 1024));
    assert_eq!(host.memory_swap, host.memory);
    assert_eq!(host.pids_limit, started.enforced.processes.map(i64::from));
    assert_eq!(host.port_bindings.unwrap_or_default().len(), 0);

    let agent = Agent::connect(started.stream).await.unwrap();
    let eat = "python3 -c 'b = bytearray(600_000_000)'; echo $?";
    assert_eq!(sh(&agent, eat).await, "137\n", "the kernel ends who takes more");
    assert_eq!(sh(&agent, "echo alive").await, "alive\n");
    // NET_RAW, SYS_PTRACE, MKNOD, SYS_ADMIN are not among a machine's rights.
    let rights = sh(&agent, "grep CapBnd /proc/self/status | cut -f2").await;
    let rights = u64::from_str_radix(rights.trim(), 16).unwrap();
    for (name, bit) in [("NET_RAW", 13), ("SYS_PTRACE", 19), ("SYS_ADMIN", 21), ("MKNOD", 27)] {
        assert_eq!(rights & (1 << bit), 0, "{name}");
    }
}

#[tokio::test]
async fn a_process_in_a_machine_can_read_neither_the_secret_nor_the_stream() {
    let lab = Lab::new().await;
    let (_, agent) = lab.machine("blank").await;
    let tried = "cat /proc/1/environ >/dev/null 2>&1 && echo read the environment; \
                 for fd in /proc/1/fd/*; do \
                   readlink $fd; (echo forged > $fd) 2>/dev/null && echo wrote to $fd; \
                 done; \
                 head -c 1 /proc/1/mem >/dev/null 2>&1 && echo read the memory; \
                 env | grep SECRET; echo tried";
    assert_eq!(sh(&agent, tried).await, "tried\n");
}

#[tokio::test]
async fn a_neighbours_machines_are_neither_seen_nor_removed() {
    let (ours, theirs) = (Lab::new().await, Lab::new().await);
    let (id, agent) = theirs.machine("blank").await;
    let snapshot = Uuid::new_v4();
    theirs.host.snapshot(id, snapshot).await.unwrap();

    assert_eq!(ours.host.list().await.unwrap(), []);
    assert_eq!(ours.host.list_snapshots().await.unwrap(), Vec::<Uuid>::new());
    ours.host.remove(id).await.unwrap();
    ours.host.remove_snapshot(snapshot).await.unwrap();
    ours.host.prune().await.unwrap();
    for refused in [ours.host.freeze(id).await, ours.host.stop(id).await] {
        assert!(matches!(refused, Err(MachineError::NotFound(_))), "{refused:?}");
    }
    assert_eq!(sh(&agent, "echo untouched").await, "untouched\n");
    assert_eq!(theirs.host.list_snapshots().await.unwrap(), [snapshot]);
}

#[tokio::test]
async fn a_machine_reaches_neither_the_hosts_loopback_nor_its_neighbours() {
    let lab = Lab::new().await;
    let local = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = local.local_addr().unwrap().port();
    std::net::TcpStream::connect(("127.0.0.1", port)).expect("we reach it ourselves");
    let (_, agent) = lab.machine("blank").await;
    let (_, other) = lab.machine("blank").await;

    let knock = |address: &str, port: u16| {
        format!(
            "timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo open || echo shut"
        )
    };
    let gateway = "ip=$(awk '$2==\"00000000\"{print $3}' /proc/net/route); \
                   printf '%d.%d.%d.%d' 0x${ip:6:2} 0x${ip:4:2} 0x${ip:2:2} 0x${ip:0:2}";
    let gateway = sh(&agent, gateway).await;
    assert!(gateway.split('.').count() == 4, "{gateway}");
    for address in ["127.0.0.1", &gateway] {
        assert_eq!(sh(&agent, &knock(address, port)).await, "shut\n", "{address}");
    }

    lab.detached(&other, "exec python3 -m http.server 8000").await;
    let listens = knock("127.0.0.1", 8000);
    eventually("the neighbour listens", async || sh(&other, &listens).await == "open\n").await;
    let address = sh(&other, "hostname -i").await;
    assert_eq!(sh(&agent, &knock(address.trim(), 8000)).await, "shut\n", "{address}");
}

#[tokio::test]
async fn a_create_that_docker_refuses_leaves_nothing() {
    let lab = Lab::new().await;
    let mut machine = spec(Base::Template("blank".to_owned()), BTreeMap::new());
    machine.shape.memory_mb = 1; // below what Docker takes
    let refused = lab.host.create(&machine).await.map(drop);
    assert!(
        matches!(&refused, Err(MachineError::Host(text)) if text.contains("emory")),
        "{refused:?}"
    );
    assert_eq!(lab.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_create_that_its_caller_gives_up_leaves_nothing() {
    let lab = Lab::new().await;
    lab.host.prepare("blank").await.unwrap();
    for after in [1, 20, 80] {
        let machine = spec(Base::Template("blank".to_owned()), BTreeMap::new());
        let create = lab.host.create(&machine);
        assert!(tokio::time::timeout(Duration::from_millis(after), create).await.is_err());
    }
    lab.host.settled(Duration::from_secs(60)).await.unwrap();
    assert_eq!(lab.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_same_machine_is_not_made_twice() {
    let lab = Lab::new().await;
    let machine = spec(Base::Template("blank".to_owned()), BTreeMap::new());
    let first = Agent::connect(lab.host.create(&machine).await.unwrap().stream).await.unwrap();
    let second = lab.host.create(&machine).await.map(drop);
    assert!(
        matches!(&second, Err(MachineError::Host(text)) if text.contains("already")),
        "{second:?}"
    );
    assert_eq!(sh(&first, "echo untouched").await, "untouched\n");
}

#[tokio::test]
async fn notes_name_what_the_engine_does_not_limit() {
    let lab = Lab::new().await;
    let notes = lab.host.notes().await;
    assert!(notes.iter().all(|note| note.level != NoteLevel::Broken), "{notes:?}");
    for topic in ["engine", "cpu", "memory", "disk", "network", "images"] {
        assert!(notes.iter().any(|note| note.topic == topic), "{topic}: {notes:?}");
    }
}

#[tokio::test]
async fn a_command_through_the_agent_is_much_quicker_than_docker_exec() {
    let lab = Lab::new().await;
    lab.host.prepare("blank").await.unwrap();
    let begun = Instant::now();
    let (id, agent) = lab.machine("blank").await;
    let created = begun.elapsed();

    let command = ["true"].map(str::to_owned).to_vec();
    let mut through_agent = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let exec = Exec { command: Command::Argv(command.clone()), ..lab::shell("") };
        assert_eq!(agent.run(exec, None, 0).await.unwrap().exit.exit_code, 0);
        through_agent.push(begun.elapsed());
    }
    let container = lab.container(id).await;
    let mut through_docker = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        lab.docker_exec(&container, &command).await;
        through_docker.push(begun.elapsed());
    }
    through_agent.sort();
    through_docker.sort();
    let (ours, theirs) = (through_agent[10], through_docker[2]);
    println!("create to first answer {created:?}; exec: agent {ours:?}, docker {theirs:?}");
    assert!(ours * 3 < theirs, "agent {ours:?}, docker {theirs:?}");
}
