//! A populated world serves every operation: each of its requests is answered with a success by a correct emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::PathBuf;
use std::sync::Arc;

use miosa_contract::target::spawn::Spawned;
use miosa_contract::target::{Limits, Profile};
use miosa_contract::{Case, Target, World};

/// Operations that no request can make succeed here, and why.
const EXCUSED: &[(&str, &str)] = &[(
    "cancelSandboxBatch",
    "409: a batch that is small enough to be cheap is done before it can be cancelled",
)];

async fn emulator(machines: &str) -> (Spawned, Arc<Target>) {
    let own = std::env::current_exe().unwrap();
    let program: PathBuf = own.ancestors().nth(2).unwrap().join("miosa-emulator");
    let extra = [format!("--machines={machines}")];
    let spawned = Spawned::start(Some(&program), &extra).await.unwrap();
    let limits = Limits { budget: u64::MAX, per_minute: None, chosen: true };
    let opened = Target::open(spawned.address.clone(), Profile::Emulator, None, limits).await;
    (spawned, Arc::new(opened.expect("a target")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_succeeds_in_a_populated_world() {
    let (spawned, target) = emulator("namespace").await;
    let case = Case::new(target.clone());
    let client = case.organization().unwrap();
    let world = World::populate(&client).await.unwrap();
    let mut failed = Vec::new();
    for (place, operation) in World::in_order().into_iter().enumerate() {
        if place == 150 {
            client.breathe().await.unwrap();
        }
        let Some(sending) = world.call(&client, operation) else {
            failed.push(format!("{} {}: no request", operation.id(), operation.name()));
            continue;
        };
        let (status, said) = if World::is_endless(operation) {
            match sending.open().await {
                Ok((_, response)) => (response.status().as_u16(), String::new()),
                Err(fault) => (0, format!("{fault:?}")),
            }
        } else {
            match sending.send().await {
                Ok(reply) => (reply.status, reply.summary()),
                Err(fault) => (0, format!("{fault:?}")),
            }
        };
        let excused = EXCUSED.iter().any(|(id, _)| *id == operation.id());
        if !(100..300).contains(&status) && !excused {
            failed.push(format!("{} {}: {status} {said}", operation.id(), operation.name()));
        }
    }
    spawned.stop().await;
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_can_be_populated_without_machines() {
    let (spawned, target) = emulator("none").await;
    let client = Case::new(target).organization().unwrap();
    let world = World::populate_without_machines(&client).await.unwrap();
    assert!(world.id("workspace").is_some() && world.id("sandbox").is_none());
    spawned.stop().await;
}
