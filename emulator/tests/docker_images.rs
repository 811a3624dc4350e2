//! Images and snapshots on a real Docker engine. Where there is none these tests fail and say how to get one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "docker/lab.rs"]
#[allow(dead_code)] // this file needs a part of it
mod lab;

use std::collections::BTreeMap;

use bollard::query_parameters::RemoveImageOptions;
use bytes::Bytes;
use lab::{Lab, eventually, sh, spec};
use miosa_emulator::machines::{
    Agent, Base, Found, MachineError, MachineHost as _, TemplateReadiness,
};
use uuid::Uuid;

#[tokio::test]
async fn a_snapshot_of_a_writing_machine_is_one_moment_and_a_restore_goes_back_to_it() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("blank").await;
    let write =
        "i=0; while :; do i=$((i+1)); echo $i >> /workspace/a; echo $i >> /workspace/b; done";
    lab.detached(&agent, write).await;
    eventually("it writes", async || lab.read_out(id, "/workspace/b").await.is_some()).await;
    sh(&agent, "head -c 3000000 /dev/urandom > /workspace/big").await;

    let snapshot = Uuid::new_v4();
    let sealed = lab.host.snapshot(id, snapshot).await.unwrap();
    assert!((3_000_000..60_000_000).contains(&sealed.size_bytes), "{sealed:?}");
    assert_eq!(lab.host.list_snapshots().await.unwrap(), [snapshot]);
    let lines = sh(&agent, "wc -l < /workspace/a").await;
    eventually("it writes on", async || sh(&agent, "wc -l < /workspace/a").await != lines).await;
    sh(&agent, "echo later > /workspace/later").await;

    let operation = lab.host.list().await.unwrap()[0].operation;
    let restored = lab.host.restore(id, snapshot).await.unwrap();
    assert_eq!(restored.enforced.vcpus, Some(1));
    let agent = Agent::connect(restored.stream).await.unwrap();
    assert_eq!(
        sh(&agent, "ls /workspace; echo $GREETING; hostname").await,
        "a\nb\nbig\nhello world\nbox\n"
    );
    let last = sh(&agent, "tail -n 1 /workspace/a; tail -n 1 /workspace/b").await;
    let last: Vec<u64> = last.lines().map(|line| line.parse().unwrap()).collect();
    assert!(last[0] == last[1] || last[0] == last[1] + 1, "two moments: {last:?}");
    let still = sh(&agent, "wc -l < /workspace/a").await;
    assert_eq!(sh(&agent, "sleep 0.2; wc -l < /workspace/a").await, still, "the writer has ended");
    let found = lab.host.list().await.unwrap();
    assert_eq!(found, [Found { id, operation, alive: true, frozen: false }]);
    assert_eq!(lab.containers().await.len(), 1);
}

#[tokio::test]
async fn a_frozen_machine_is_sealed_and_stays_frozen() {
    let lab = Lab::new().await;
    let (id, agent) = lab.machine("blank").await;
    sh(&agent, "echo x > /workspace/x").await;
    lab.host.freeze(id).await.unwrap();
    let snapshot = Uuid::new_v4();
    lab.host.snapshot(id, snapshot).await.unwrap();
    assert!(lab.host.list().await.unwrap()[0].frozen);
    lab.host.stop(id).await.expect("a frozen machine can be stopped");
    let stopped = Uuid::new_v4();
    lab.host.snapshot(id, stopped).await.expect("a stopped machine can be sealed");
    let (_, fork) = lab.from(Base::Snapshot(stopped), BTreeMap::new()).await;
    assert_eq!(sh(&fork, "cat /workspace/x").await, "x\n");
}

#[tokio::test]
async fn forks_are_independent_and_outlive_their_snapshot() {
    let lab = Lab::new().await;
    let (source, agent) = lab.machine("blank").await;
    sh(&agent, "echo shared > /workspace/f; rm -rf /.miosa").await;
    let snapshot = Uuid::new_v4();
    lab.host.snapshot(source, snapshot).await.unwrap();

    let (one, first) = lab.from(Base::Snapshot(snapshot), BTreeMap::new()).await;
    let own = BTreeMap::from([("OWN".to_owned(), "2".to_owned())]);
    let (two, second) = lab.from(Base::Snapshot(snapshot), own).await;
    assert_eq!(
        sh(&first, "cat f; echo \"${GREETING-unset} ${OWN-unset}\"").await,
        "shared\nunset unset\n"
    );
    assert_eq!(
        sh(&second, "cat f; echo \"${GREETING-unset} ${OWN-unset}\"").await,
        "shared\nunset 2\n"
    );
    sh(&first, "echo first > f").await;
    assert_eq!(sh(&second, "cat f").await, "shared\n");
    assert_eq!(sh(&agent, "cat f").await, "shared\n");

    lab.host.stop(two).await.unwrap();
    lab.host.remove(source).await.unwrap();
    lab.host.remove_snapshot(snapshot).await.unwrap();
    lab.host.remove_snapshot(snapshot).await.expect("removing what is gone is fine");
    assert_eq!(lab.host.list_snapshots().await.unwrap(), Vec::<Uuid>::new());
    let gone = lab.host.restore(one, snapshot).await.map(drop);
    assert!(matches!(gone, Err(MachineError::NotFound(id)) if id == snapshot), "{gone:?}");
    lab.host.prune().await.unwrap();

    // The stopped one starts, and a snapshot of a fork has all its files.
    let second = Agent::connect(lab.host.start(two).await.unwrap().stream).await.unwrap();
    assert_eq!(sh(&second, "cat f").await, "shared\n");
    let next = Uuid::new_v4();
    lab.host.snapshot(one, next).await.unwrap();
    lab.host.remove(one).await.unwrap();
    let (_, third) = lab.from(Base::Snapshot(next), BTreeMap::new()).await;
    assert_eq!(sh(&third, "cat f").await, "first\n");
}

#[tokio::test]
async fn no_image_is_left_when_the_last_machine_on_a_removed_snapshot_goes() {
    let lab = Lab::new().await;
    let (source, _agent) = lab.machine("blank").await;
    let snapshot = Uuid::new_v4();
    lab.host.snapshot(source, snapshot).await.unwrap();
    let (fork, _fork) = lab.from(Base::Snapshot(snapshot), BTreeMap::new()).await;
    lab.host.remove_snapshot(snapshot).await.unwrap();
    lab.host.remove(source).await.unwrap();
    assert_eq!(lab.snapshot_images().await, 1, "the fork stands on it");
    lab.host.remove(fork).await.unwrap();
    assert_eq!(lab.snapshot_images().await, 0);
}

#[tokio::test]
async fn a_snapshots_image_knows_no_secret_of_its_machine() {
    let lab = Lab::new().await;
    let (id, _agent) = lab.machine("blank").await;
    let container = lab.inspect(id).await;
    let labels = container.config.as_ref().unwrap().labels.clone().unwrap();
    let secret = &labels["ai.miosa.emulator.secret"];
    assert_eq!(secret.len(), 64);
    let snapshot = Uuid::new_v4();
    lab.host.snapshot(id, snapshot).await.unwrap();
    let image = lab.snapshot_image(snapshot).await;
    let text = serde_json::to_string(&image.config).unwrap();
    for forbidden in [secret.as_str(), &id.to_string(), "hello world"] {
        assert!(!text.contains(forbidden), "{forbidden} in {text}");
    }
}

#[tokio::test]
async fn an_image_with_nothing_but_busybox_is_a_machine() {
    let image = format!("miosa-emulator-test/busybox:{}", Uuid::new_v4().simple());
    lab::build_busybox(&image).await;
    let overrides =
        BTreeMap::from([("bare".to_owned(), image.clone()), ("node".to_owned(), image.clone())]);
    let lab = Lab::with(overrides).await;

    let (id, agent) = lab.machine("bare").await;
    assert_eq!(sh(&agent, "echo from sh; pwd").await, "from sh\n/workspace\n");
    let entry = agent.write("/workspace/a", None, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(entry.size, 1);
    let snapshot = Uuid::new_v4();
    lab.host.snapshot(id, snapshot).await.unwrap();
    let agent = Agent::connect(lab.host.restore(id, snapshot).await.unwrap().stream).await.unwrap();
    assert_eq!(sh(&agent, "cat a").await, "x");

    // The same image is no `node`: its tools are looked for, not believed.
    let TemplateReadiness::Missing(reason) = lab.host.template("nextjs").await else {
        panic!("busybox is not Node.js");
    };
    assert!(reason.contains("lacks bash, node, npm"), "{reason}");
    let refused =
        lab.host.create(&spec(Base::Template("node".to_owned()), BTreeMap::new())).await.map(drop);
    assert!(matches!(refused, Err(MachineError::TemplateMissing { .. })), "{refused:?}");

    lab.docker.remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
    lab.host.remove_snapshot(snapshot).await.unwrap();
    lab.host.remove(id).await.unwrap();
    let pruned = lab.host.prune().await.unwrap();
    assert_eq!(pruned.removed.len(), 1, "the image with the agent: {pruned:?}");
    assert_eq!(lab.host.prune().await.unwrap().removed, Vec::<String>::new());
}

#[tokio::test]
async fn a_template_whose_image_cannot_be_had_says_so_and_leaves_nothing() {
    let nowhere = "127.0.0.1:9/nothing:1";
    let lab = Lab::with(BTreeMap::from([("python".to_owned(), nowhere.to_owned())])).await;
    assert_eq!(lab.host.template("python").await, TemplateReadiness::ColdBootOnly);
    let refused =
        lab.host.create(&spec(Base::Template("python-3.12".to_owned()), BTreeMap::new())).await;
    let Err(MachineError::TemplateMissing { template, reason }) = refused.map(drop) else {
        panic!("there is no such registry");
    };
    assert_eq!(template, "python");
    assert!(reason.contains(nowhere), "{reason}");
    assert_eq!(lab.host.template("python").await, TemplateReadiness::Missing(reason));
    assert!(
        lab.progress.lock().unwrap().last().unwrap().ended,
        "whoever shows progress is told of the end"
    );
    assert_eq!(lab.containers().await, Vec::<String>::new());
    assert_eq!(lab.host.template("miosa-sandbox").await, TemplateReadiness::FastReady);
    let TemplateReadiness::Missing(reason) = lab.host.template("no-such").await else { panic!() };
    assert!(reason.contains("no image is known"), "{reason}");
}

#[tokio::test]
async fn images_with_an_older_agent_are_pruned_a_neighbours_are_not() {
    let (ours, theirs) = (Lab::new().await, Lab::new().await);
    let (old, neighbours) = (ours.stale_agent_image().await, theirs.stale_agent_image().await);
    let (_, agent) = ours.machine("blank").await;
    let pruned = ours.host.prune().await.unwrap();
    assert!(pruned.removed.iter().any(|line| line.contains(&old)), "{pruned:?}");
    assert!(ours.docker.inspect_image(&old).await.is_err());
    ours.docker.inspect_image(&neighbours).await.expect("a neighbour's image stays");
    assert_eq!(sh(&agent, "echo untouched").await, "untouched\n");
    let pruned = theirs.host.prune().await.unwrap();
    assert!(pruned.removed.iter().any(|line| line.contains(&neighbours)), "{pruned:?}");
}

#[tokio::test]
async fn an_image_of_too_many_layers_is_made_flat_and_nothing_of_it_is_lost() {
    let lab = Lab::squashing_at(1).await;
    let (id, agent) = lab.machine("blank").await;
    sh(&agent, "mkdir dir && echo one > dir/a && ln dir/a twin && ln -s dir/a link && chmod 640 dir/a && chown 33:33 dir/a").await;
    let path = sh(&agent, "echo $PATH; rm /usr/bin/env").await;
    let mut snapshots = Vec::new();
    for level in 0..2 {
        let snapshot = Uuid::new_v4();
        lab.host.snapshot(id, snapshot).await.unwrap();
        snapshots.push(snapshot);
        let image = lab.snapshot_image(snapshot).await;
        // One of the files, one of the commit that names it.
        assert!(image.root_fs.unwrap().layers.unwrap().len() <= 2);
        let config = image.config.unwrap();
        assert_eq!(
            config.labels.unwrap().get("ai.miosa.emulator.snapshot"),
            Some(&snapshot.to_string())
        );
        let started = lab.host.restore(id, snapshot).await.unwrap();
        let agent = Agent::connect(started.stream).await.unwrap();
        let look = "cat dir/a level 2>/dev/null; stat -c '%a %u %h' dir/a; cat link; pwd; ls /usr/bin/env 2>&1 | grep -c No; echo $GREETING";
        let expected = if level == 0 { String::new() } else { format!("{level}\n") };
        let expected = format!("one\n{expected}640 33 2\none\n/workspace\n1\nhello world\n");
        assert_eq!(sh(&agent, look).await, expected);
        assert_eq!(format!("{}{}", sh(&agent, "echo $PATH").await, ""), path);
        sh(&agent, &format!("echo {} > level", level + 1)).await;
    }
    let (_, earlier) = lab.from(Base::Snapshot(snapshots[1]), BTreeMap::new()).await;
    assert_eq!(sh(&earlier, "cat level; echo ${GREETING-none}").await, "1\nnone\n");
    // Nothing is left of the making: two machines, two snapshots.
    assert_eq!(lab.containers().await.len(), 2);
    for snapshot in snapshots {
        lab.host.remove_snapshot(snapshot).await.unwrap();
    }
    for found in lab.host.list().await.unwrap() {
        lab.host.remove(found.id).await.unwrap();
    }
    lab.host.prune().await.unwrap();
    assert_eq!(lab.snapshot_images().await, 0);
}
