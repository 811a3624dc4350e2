//! What becomes of a machine's files and processes from create to remove.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "namespace/machines.rs"]
mod machines;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use machines::{Bench, Machine, bench, eventually, open, processes_with, spec};
use miosa_emulator::machines::{Base, MachineError, MachineHost, TemplateReadiness};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uuid::Uuid;

#[tokio::test]
async fn a_machine_has_its_name_environment_directories_and_tools() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    assert_eq!(machine.ok("echo $GREETING; hostname").await, "hello there\nbox");
    machine.ok("cd /workspace && touch a /tmp/a /root/a /home/sandbox/a /etc/a /opt/a").await;
    assert_eq!(machine.ok("stat -c %a /tmp").await, "1777");
    assert_eq!(machine.ok("python -c 'print(6*7)'").await, "42");
    assert_eq!(machine.ok("getent hosts box | cut -d' ' -f1").await, "127.0.1.1");
    machine.ok("touch /usr/local/bin/new /usr/bin/new /usr/lib/new /usr/local/lib/new").await;
    assert_eq!(
        machine.ok("echo shm > /dev/shm/x; cat /dev/shm/x; echo gone > /dev/null").await,
        "shm"
    );
    machine.ok("script -qc 'test -t 0' /dev/null").await;
    bench.host.remove(machine.id).await.unwrap();
}

#[tokio::test]
async fn a_failed_create_leaves_nothing_and_says_why() {
    let bench = bench().await;
    let lost = spec(Base::Snapshot(Uuid::new_v4()));
    assert!(matches!(bench.host.create(&lost).await, Err(MachineError::NotFound(_))));
    let unknown = spec(Base::Template("no-such".into()));
    assert!(matches!(bench.host.create(&unknown).await, Err(MachineError::TemplateMissing { .. })));
    let mut unnamable = spec(Base::Template("blank".into()));
    unnamable.hostname = "x".repeat(200);
    let Err(MachineError::Host(text)) = bench.host.create(&unnamable).await else {
        panic!("created with an impossible name")
    };
    assert!(text.contains("host name"), "{text}");
    assert_eq!(bench.host.list().await.unwrap(), []);
    assert_eq!(traces(&unnamable.id.to_string()), Vec::<String>::new());
    assert_eq!(
        bench.host.template("no-such").await,
        TemplateReadiness::Missing("there is no template no-such".into())
    );
}

#[tokio::test]
async fn files_and_deletions_survive_stop_and_start() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine
        .ok("echo kept > /workspace/a; rm /usr/bin/env; rm -r /opt; cd /; rm -r srv; mkdir srv")
        .await;
    bench.host.stop(machine.id).await.unwrap();
    let found = bench.host.list().await.unwrap();
    assert!(found.iter().any(|f| f.id == machine.id && !f.alive && f.operation.is_some()));
    let mut machine = Machine::new(machine.id, bench.host.start(machine.id).await.unwrap());
    assert_eq!(machine.ok("cat /workspace/a").await, "kept");
    machine.ok("test ! -e /usr/bin/env -a ! -e /opt -a -d /srv").await;
    assert!(bench.host.start(machine.id).await.is_err(), "started twice");
    bench.host.stop(machine.id).await.unwrap();
    bench.host.stop(machine.id).await.unwrap();
}

#[tokio::test]
async fn files_survive_a_new_emulator() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine.ok("echo kept > /workspace/a").await;
    let snapshot = bench.snapshot(&machine).await;
    drop(bench.host);
    let host = open(bench.data.path()).await;
    assert_eq!(host.list_snapshots().await.unwrap(), [snapshot]);
    assert!(host.attach(machine.id).await.is_err());
    let mut machine = Machine::new(machine.id, host.start(machine.id).await.unwrap());
    assert_eq!(machine.ok("cat /workspace/a").await, "kept");
    host.remove(machine.id).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_holds_one_moment_of_files_that_are_being_written() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    // One process, two descriptors open for good: each line goes into both files, one after the other.
    machine
        .ok("( exec 3>/workspace/first 4>/workspace/second; n=0; while :; do n=$((n+1)); echo $n >&3; echo $n >&4; done ) & disown")
        .await;
    machine.ok("until [ \"$(wc -l < /workspace/second)\" -ge 2000 ]; do :; done").await;
    let snapshot = bench.snapshot(&machine).await;
    let mut fork = bench.fork(snapshot).await;
    let lines = |text: String| text.parse::<i64>().unwrap();
    let first = lines(fork.ok("wc -l < /workspace/first").await);
    let second = lines(fork.ok("wc -l < /workspace/second").await);
    assert!(second >= 2000 && (first - second == 0 || first - second == 1), "{first} {second}");
    assert_eq!(fork.ok("tail -n 1 /workspace/first").await, first.to_string());
    // The writer goes on in the machine, through the same descriptors, and nothing of it reaches the snapshot.
    let later = lines(machine.ok("wc -l < /workspace/first").await);
    machine
        .ok(&format!("until [ \"$(wc -l < /workspace/first)\" -ge {} ]; do :; done", later + 1000))
        .await;
    assert_eq!(lines(fork.ok("wc -l < /workspace/first").await), first);
    assert_eq!(lines(bench.fork(snapshot).await.ok("wc -l < /workspace/first").await), first);
}

#[tokio::test]
async fn a_restore_drops_later_changes_and_ends_processes() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine.ok("echo one > /workspace/a").await;
    let snapshot = bench.snapshot(&machine).await;
    let mark = Uuid::new_v4();
    machine.ok(&format!("echo two > /workspace/a; touch /workspace/b; rm /usr/bin/env; (exec -a {mark} sleep 1000) & disown")).await;
    eventually("it runs", || processes_with(&mark.to_string()).len() == 1).await;
    let started = bench.host.restore(machine.id, snapshot).await.unwrap();
    assert!(processes_with(&mark.to_string()).is_empty());
    let mut machine = Machine::new(machine.id, started);
    assert_eq!(
        machine.ok("cat /workspace/a; ls /workspace; ls /usr/bin/env").await,
        "one\na\n/usr/bin/env"
    );
    // And again, from a machine that already stands on a snapshot.
    machine.ok("rm /workspace/a").await;
    let mut machine =
        Machine::new(machine.id, bench.host.restore(machine.id, snapshot).await.unwrap());
    assert_eq!(machine.ok("cat /workspace/a").await, "one");
}

#[tokio::test]
async fn a_fork_and_its_origin_do_not_see_each_others_changes() {
    let bench = bench().await;
    let mut origin = bench.blank().await;
    origin.ok("echo shared > /workspace/a").await;
    let snapshot = bench.snapshot(&origin).await;
    let (mut one, mut two) = (bench.fork(snapshot).await, bench.fork(snapshot).await);
    one.ok("echo one > /workspace/a").await;
    origin.ok("rm /workspace/a").await;
    assert_eq!(one.ok("cat /workspace/a").await, "one");
    assert_eq!(two.ok("cat /workspace/a").await, "shared");
    origin.refused("cat /workspace/a").await;
}

#[tokio::test]
async fn deletions_links_modes_and_holes_survive_snapshot_upon_snapshot() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine
        .ok("cd /workspace; mkdir -p d/deep; echo x > d/deep/x; echo y > d/y; ln d/y hard; ln -s d/y soft; \
             echo s > secret; chmod 0 secret; mkdir shut; chmod 0 shut; truncate -s 100M hole; rm /usr/bin/env; mkfifo fifo")
        .await;
    let first = bench.host.snapshot(machine.id, Uuid::from_u128(1)).await.unwrap();
    assert!(first.size_bytes < 100_000, "a hole was counted or filled: {}", first.size_bytes);
    let mut fork = bench.fork(Uuid::from_u128(1)).await;
    let expected = "0 secret\n0 shut\n2 d/y\nsoft -> d/y";
    let look = "cd /workspace; stat -c '%a %n' secret shut; stat -c '%h %n' d/y; ls -l soft | grep -o 'soft.*'; test -p fifo";
    assert_eq!(fork.ok(look).await, expected);
    assert_eq!(fork.ok("test ! -e /usr/bin/env && cat /workspace/secret").await, "s");
    // A directory that is removed and made again hides what is below; a file that comes back is there.
    fork.ok("cd /workspace; rm -r d; mkdir d; touch d/new; echo back > /usr/bin/env; rm secret")
        .await;
    let second = bench.snapshot(&fork).await;
    let mut third = bench.fork(second).await;
    assert_eq!(
        third.ok("cd /workspace; ls d; cat /usr/bin/env; ls secret 2>&1 | grep -c No").await,
        "new\nback\n1"
    );
    let mut again = bench.fork(Uuid::from_u128(1)).await;
    assert_eq!(again.ok(look).await, expected);
}

#[tokio::test]
async fn a_machine_stands_on_as_many_layers_as_a_snapshot_may_have() {
    use std::os::unix::fs::chown;
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine.ok("echo deep > /workspace/deep").await;
    let bottom = bench.snapshot(&machine).await;
    // A snapshot of 300 layers, written as the host writes them; their numbers are as long as they may get.
    let owner = std::fs::metadata(bench.data.path().join("layers/0/root")).unwrap();
    let (uid, gid) =
        (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    let mut chain = Vec::new();
    for number in 100_000..100_299 {
        for part in ["root", "usr"] {
            let dir = bench.data.path().join(format!("layers/{number}/{part}"));
            std::fs::create_dir_all(&dir).unwrap();
            chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        chain.push(number.to_string());
    }
    chain.push("0".to_owned());
    let meta = format!(r#"{{"chain":[{}],"size_bytes":1}}"#, chain.join(","));
    std::fs::write(bench.data.path().join(format!("snapshots/{bottom}/meta.json")), meta).unwrap();
    let mut top = bench.fork(bottom).await;
    assert_eq!(top.ok("cat /workspace/deep").await, "deep");
    // One more is one too many: they become one, and who stands on them stays where it is.
    top.ok("echo top > /workspace/top").await;
    let deeper = bench.snapshot(&top).await;
    assert_eq!(layers_of(&bench, deeper).len(), 1);
    let mut fork = bench.fork(deeper).await;
    assert_eq!(fork.ok("cat /workspace/deep /workspace/top").await, "deep\ntop");
    assert_eq!(top.ok("cat /workspace/deep /workspace/top").await, "deep\ntop");
}

/// The layers of a snapshot, as the host writes them down.
fn layers_of(bench: &Bench, snapshot: Uuid) -> Vec<u64> {
    let meta = bench.data.path().join(format!("snapshots/{snapshot}/meta.json"));
    let meta: serde_json::Value = serde_json::from_slice(&std::fs::read(meta).unwrap()).unwrap();
    meta["chain"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn layers_are_merged_before_they_are_too_many_and_nothing_of_the_files_is_lost() {
    let data = tempfile::TempDir::new().unwrap();
    let host = machines::open(data.path()).await.merging_at(3);
    let bench = Bench { host, data };
    let mut machine = bench.blank().await;
    machine
        .ok("cd /workspace; mkdir -p d/deep again emptied shut; echo x > d/deep/x; echo y > d/y; ln d/y twin; ln -s d/y soft; \
             echo f > again/f; echo f > emptied/f; touch goes; echo s > secret; chmod 0 secret shut; mkfifo fifo; \
             chmod 1777 d; touch -d 2020-01-01 d; truncate -s 100M hole; rm /usr/bin/env; echo 0 > level; \
             python3 -c 'import os; os.setxattr(\"d/y\", \"user.note\", b\"kept\")'; chown 33:33 goes 2>/dev/null || true")
        .await;
    let mut snapshots = Vec::new();
    // What each level does to what the levels below have left.
    let steps = [
        "rm -r again; mkdir again; touch again/new",
        "rm goes; rm -r emptied; echo now a file > emptied",
        "rm emptied; mkdir emptied; touch emptied/fresh; rm secret; echo back > /usr/bin/env",
        "rm -r d/deep; ln -s nowhere d/deep",
        "true",
        "mv twin moved; echo more >> moved",
        "rm d/deep; mkdir -p d/deep/down; touch d/deep/down/here",
        "touch -d 2020-01-01 d",
    ];
    for (level, step) in (1..).zip(steps) {
        let snapshot = bench.snapshot(&machine).await;
        assert!(layers_of(&bench, snapshot).len() <= 3, "level {level}");
        snapshots.push(snapshot);
        let started = bench.host.restore(machine.id, snapshot).await.unwrap();
        machine = Machine::new(machine.id, started);
        machine
            .ok(&format!(
                "cd /workspace; [ $(cat level) = {} ] && echo {level} > level; {step}",
                level - 1
            ))
            .await;
    }
    let last = bench.snapshot(&machine).await;
    let expected = "8\nagain/new\nd/deep/down/here\nd/y\nemptied/fresh\nfifo\nhole\nlevel\nmoved\nsoft\n0 shut\n1777 2020 d\nsoft -> d/y\nback\ny\ny\nmore\nkept\n100M";
    let look = "cd /workspace; cat level; find . ! -type d -printf '%P\\n' | sort; stat -c '%a %n' shut; \
                stat -c '%a %y %n' d | sed 's/-.* / /'; ls -l soft | grep -o 'soft.*'; cat /usr/bin/env d/y moved; \
                python3 -c 'import os; print(os.getxattr(\"d/y\", \"user.note\").decode())'; du -h --apparent-size hole | cut -f1";
    let mut fork = bench.fork(last).await;
    for machine in [&mut machine, &mut fork] {
        assert_eq!(machine.ok(look).await, expected);
    }
    // Nobody's files are touched by what another does to the same ones.
    fork.ok("cd /workspace; echo changed > d/y; chmod 700 moved").await;
    assert_eq!(machine.ok("cd /workspace; cat d/y; stat -c %a moved").await, "y\n644");
    // Each of the earlier ones is as it was, whether its layers were merged or not.
    for (level, snapshot) in snapshots.iter().enumerate() {
        let mut earlier = bench.fork(*snapshot).await;
        assert_eq!(earlier.ok("cat /workspace/level").await, level.to_string());
        let exist = ["secret", "goes", "emptied/f", "again/f"];
        let gone_at = [3, 2, 2, 1];
        for (name, gone) in exist.iter().zip(gone_at) {
            let (_, code) = earlier.run(&format!("test -e /workspace/{name}")).await;
            assert_eq!(code == 0, level < gone, "{name} at level {level}");
        }
        bench.host.remove(earlier.id).await.unwrap();
    }
    // And what is not needed any more goes, layer by layer.
    for snapshot in snapshots {
        bench.host.remove_snapshot(snapshot).await.unwrap();
    }
    assert_eq!(machine.ok("cat /workspace/level").await, "8");
    assert_eq!(bench.fork(last).await.ok("cat /workspace/level").await, "8");
}

#[tokio::test]
async fn a_snapshot_is_looked_into_as_a_machine_would_see_it() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine.ok("cd /workspace; mkdir d gone; echo one > d/a; echo s > secret; chmod 0 secret; touch gone/x").await;
    let first = bench.snapshot(&machine).await;
    let mut machine =
        Machine::new(machine.id, bench.host.restore(machine.id, first).await.unwrap());
    machine.ok("cd /workspace; rm -r gone; echo two > d/b; rm /usr/bin/env; ln -s /etc/shadow link; mkdir d/c").await;
    let second = bench.snapshot(&machine).await;
    let names = async |path: &str| -> Vec<String> {
        let entries = bench.host.list_sealed(second, path).await.unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    };
    assert_eq!(names("/workspace").await, ["d", "link", "secret"]);
    assert_eq!(names("/workspace/d").await, ["a", "b", "c"]);
    // `/bin` is a link, and `/usr` is for the most part the computer's own.
    let programs = names("/bin").await;
    assert!(programs.contains(&"bash".to_owned()) && !programs.contains(&"env".to_owned()));
    let read = async |path: &str| -> Result<Vec<u8>, String> {
        let opened = bench.host.open_sealed(second, path).await.map_err(|e| e.to_string())?;
        let pieces: Vec<_> = futures_util::StreamExt::collect(opened.bytes).await;
        Ok(pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect())
    };
    assert_eq!(read("/workspace/d/a").await.unwrap(), b"one\n");
    assert_eq!(read("/workspace/secret").await.unwrap(), b"s\n");
    assert_eq!(read("/bin/bash").await.unwrap(), std::fs::read("/bin/bash").unwrap());
    // The machine's own, not the computer's.
    let shadow = String::from_utf8(read("/workspace/link").await.unwrap()).unwrap();
    assert!(shadow.contains("root:*:"), "{shadow}");
    assert!(read("/workspace/gone/x").await.is_err());
    // An archive names its files' owners as the machine knows them.
    let archive = read("/workspace").await.unwrap();
    let mut archive = tar::Archive::new(&*archive);
    let owners: Vec<u64> =
        archive.entries().unwrap().map(|member| member.unwrap().header().uid().unwrap()).collect();
    assert!(owners.len() == 7 && owners.iter().all(|uid| *uid == 0), "{owners:?}");
}

#[tokio::test]
async fn a_data_directory_on_a_containers_layers_is_reported_with_advice() {
    if std::env::var_os("ON_OVERLAY").is_none() {
        if !nix::unistd::geteuid().is_root() {
            // Only root can prepare the trial, and its trial covers what an ordinary user would see.
            return;
        }
        let dir = tempfile::TempDir::new().unwrap();
        let exe = std::env::current_exe().unwrap();
        let script = format!(
            "cd {} && mkdir l u w m && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m && cd / && \
             TMPDIR={0}/m ON_OVERLAY=1 exec {} --exact a_data_directory_on_a_containers_layers_is_reported_with_advice",
            dir.path().display(),
            exe.display()
        );
        let output =
            Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let bench = bench().await;
    let notes = bench.host.notes().await;
    let note = notes.iter().find(|n| n.topic == "namespaces").unwrap();
    assert_eq!(note.level, miosa_emulator::machines::NoteLevel::Broken);
    assert!(
        note.text.contains("overlay") && note.text.contains("choose another --data"),
        "{note:?}"
    );
    assert!(bench.host.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restore_costs_the_same_for_a_kilobyte_and_200_megabytes() {
    let bench = bench().await;
    let mut small = bench.blank().await;
    small.ok("head -c 1000 /dev/urandom > /workspace/a").await;
    let mut large = bench.blank().await;
    large.ok("head -c 200000000 /dev/urandom > /workspace/a").await;
    let (of_small, of_large) = (bench.snapshot(&small).await, bench.snapshot(&large).await);
    drop((small, large));
    // The best of several: other work on this computer can only add.
    let mut best = [(of_small, "1000", Duration::MAX), (of_large, "200000000", Duration::MAX)];
    for _ in 0..6 {
        for (snapshot, size, best) in &mut best {
            let begun = Instant::now();
            let mut fork = bench.fork(*snapshot).await;
            *best = begun.elapsed().min(*best);
            assert_eq!(fork.ok("stat -c %s /workspace/a").await, *size);
            bench.host.remove(fork.id).await.unwrap();
        }
    }
    let [(.., small), (.., large)] = best;
    println!("1 kB: {small:?}, 200 MB: {large:?}");
    assert!(large < small * 3, "{small:?} {large:?}");
}

#[tokio::test]
async fn a_frozen_machine_stands_still_and_goes_on() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    machine.ok("( while :; do echo >> /workspace/beat; done ) & disown").await;
    let beat = upper_file(&bench, machine.id, "beat");
    let size = || std::fs::metadata(&beat).map_or(0, |m| m.len());
    eventually("it writes", || size() > 100).await;
    bench.host.freeze(machine.id).await.unwrap();
    let frozen = size();
    assert!(bench.host.list().await.unwrap().iter().any(|f| f.frozen && f.alive));
    // A snapshot leaves a frozen machine frozen.
    bench.snapshot(&machine).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(size(), frozen);
    bench.host.thaw(machine.id).await.unwrap();
    eventually("it goes on", || size() > frozen).await;
    bench.host.freeze(machine.id).await.unwrap();
    bench.host.remove(machine.id).await.unwrap();
}

#[tokio::test]
async fn snapshots_go_when_nothing_stands_on_them() {
    let bench = bench().await;
    let layers = || std::fs::read_dir(bench.data.path().join("layers")).unwrap().count();
    let mut origin = bench.blank().await;
    origin.ok("echo kept > /workspace/a").await;
    let snapshot = bench.snapshot(&origin).await;
    let fork = bench.fork(snapshot).await;
    bench.host.remove(origin.id).await.unwrap();
    bench.host.remove_snapshot(snapshot).await.unwrap();
    assert!(bench.host.list_snapshots().await.unwrap().is_empty());
    bench.host.stop(fork.id).await.unwrap();
    let mut fork = Machine::new(fork.id, bench.host.start(fork.id).await.unwrap());
    assert_eq!(fork.ok("cat /workspace/a").await, "kept");
    assert_eq!(layers(), 1);
    bench.host.remove(fork.id).await.unwrap();
    assert_eq!(layers(), 0);
    bench.host.remove_snapshot(snapshot).await.unwrap();
    bench.host.remove(fork.id).await.unwrap();
}

#[tokio::test]
async fn removing_leaves_no_process_mount_group_or_file() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let mark = Uuid::new_v4().to_string();
    machine
        .ok(&format!(
            "mkdir -m 0 /workspace/shut; setsid bash -c '(exec -a {mark} sleep 1000) & disown'"
        ))
        .await;
    eventually("it runs", || processes_with(&mark).len() == 1).await;
    let id = machine.id.to_string();
    bench.host.remove(machine.id).await.unwrap();
    assert!(processes_with(&mark).is_empty());
    assert_eq!(traces(&id), Vec::<String>::new());
    let left = Command::new("find")
        .arg(bench.data.path())
        .args(["-name", &format!("*{id}*")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    assert_eq!(std::fs::read_dir(bench.data.path().join("trash")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_machine_ends_with_its_host() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let mark = Uuid::new_v4().to_string();
    machine.ok(&format!("(exec -a {mark} sleep 1000) & disown")).await;
    eventually("it runs", || processes_with(&mark).len() == 1).await;
    drop(bench.host);
    assert!(processes_with(&mark).is_empty());
    assert_eq!(traces(&machine.id.to_string()), Vec::<String>::new());
}

/// Not a test: an emulator to be killed by the next one.
#[tokio::test]
async fn holds_a_machine_until_it_is_killed() {
    let Some(mark) = std::env::var_os("HOLD_A_MACHINE") else { return };
    let data = std::env::var_os("DATA").unwrap();
    let host = open(std::path::Path::new(&data)).await;
    let spec = spec(Base::Template("blank".into()));
    let mut machine = Machine::new(spec.id, host.create(&spec).await.unwrap());
    machine.ok(&format!("setsid bash -c '(exec -a {} sleep 1000) & disown'", mark.display())).await;
    if std::env::var_os("FROZEN").is_some() {
        host.freeze(machine.id).await.unwrap();
    }
    println!("HOLDING");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn no_process_outlives_a_killed_emulator() {
    dies_with_its_emulator(false).await;
}

#[tokio::test]
async fn no_frozen_process_outlives_a_killed_emulator() {
    dies_with_its_emulator(true).await;
}

async fn dies_with_its_emulator(frozen: bool) {
    let mark = Uuid::new_v4().to_string();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "holds_a_machine_until_it_is_killed", "--nocapture"]);
    let data = tempfile::TempDir::new().unwrap();
    command.env("HOLD_A_MACHINE", &mark).env("DATA", data.path()).stdout(Stdio::piped());
    if frozen {
        command.env("FROZEN", "1");
    }
    let mut emulator = command.spawn().unwrap();
    let mut output = emulator.stdout.take().unwrap();
    let mut text = String::new();
    let mut buffer = [0; 256];
    while !text.contains("HOLDING") {
        let count = output.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert_eq!(processes_with(&mark).len(), 1);
    emulator.kill().unwrap();
    emulator.wait().unwrap();
    eventually("it ends", || processes_with(&mark).is_empty()).await;
    // The next emulator takes away what only it may.
    let host = open(data.path()).await;
    let found = host.list().await.unwrap();
    assert!(found.len() == 1 && !found[0].alive, "{found:?}");
    assert_eq!(traces(&found[0].id.to_string()), Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_machine_along() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let mark = Uuid::new_v4().to_string();
    machine.ok(&format!("(exec -a {mark} sleep 1000) & disown")).await;
    eventually("it runs", || processes_with(&mark).len() == 1).await;
    // The process, its parent (process 1), and that one's parent.
    let parent = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("PPid:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    let mut ancestor = processes_with(&mark)[0];
    while !std::fs::read_to_string(format!("/proc/{ancestor}/comm"))
        .unwrap()
        .starts_with("miosa-machine")
    {
        ancestor = parent(ancestor);
        assert!(ancestor > 1);
    }
    kill(Pid::from_raw(ancestor as i32), Signal::SIGKILL).unwrap();
    eventually("it ends", || processes_with(&mark).is_empty()).await;
    assert!(bench.host.list().await.unwrap().iter().all(|f| !f.alive));
    let mut machine = Machine::new(machine.id, bench.host.start(machine.id).await.unwrap());
    machine.ok("true").await;
}

#[tokio::test]
async fn a_data_directory_of_other_ids_is_refused() {
    let data = tempfile::TempDir::new().unwrap();
    std::fs::write(data.path().join("ids.json"), r#"{"single":{"uid":7,"gid":7}}"#).unwrap();
    let config = machines::config(data.path());
    let Err(error) = miosa_emulator::machines::namespace::NamespaceHost::open(config).await else {
        panic!("opened")
    };
    assert!(error.to_string().contains("other user ids"), "{error}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1);
}

#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    machines::again_as_an_ordinary_user("all_of_it_holds_for_an_ordinary_user");
}

/// Where the host sees a file of the machine's workspace.
fn upper_file(bench: &machines::Bench, id: Uuid, name: &str) -> std::path::PathBuf {
    bench.data.path().join(format!("machines/{id}/top-0/upper/root/workspace/{name}"))
}

/// Mounts and control groups that bear a machine's id.
fn traces(id: &str) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let mut found: Vec<String> =
        mounts.lines().filter(|l| l.contains(id)).map(str::to_owned).collect();
    let groups = Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("*{id}*")])
        .output()
        .unwrap();
    found.extend(String::from_utf8_lossy(&groups.stdout).lines().map(str::to_owned));
    found
}
