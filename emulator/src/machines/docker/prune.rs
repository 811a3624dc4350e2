//! Gives back what nothing uses any more. Never a neighbour's: everything is asked for by owner.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::engine::{ASK, bounded};
use super::labels;
use super::machine::Engine;
use crate::machines::{MachineError, Pruned};

/// Removes images with an older agent or without their base, images of removed snapshots, untagged ones, and probes.
/// An image that a container uses stays: the engine refuses, and that is all right.
pub async fn prune(engine: &Engine) -> Result<Pruned, MachineError> {
    let Engine { images, snapshots, .. } = engine;
    // Nobody looks into an image or derives one meanwhile.
    let _exclusive = images.exclusive().await;
    let mut removed = torn_looks(engine).await?;

    for image in snapshots.images(&[(labels::BASE, None)], false).await? {
        let current =
            image.labels.get(labels::AGENT).is_some_and(|agent| agent == images.agent_hash());
        let base = image.labels.get(labels::BASE).cloned().unwrap_or_default();
        // A base without a name is there only for the sake of this image.
        let named = images.inspect(&base).await?.is_some_and(|base| {
            !base.repo_tags.unwrap_or_default().is_empty()
                || !base.repo_digests.unwrap_or_default().is_empty()
        });
        // A snapshot's image inherits the labels of the image below it.
        if image.labels.contains_key(labels::SNAPSHOT) || (current && named) {
            continue;
        }
        for name in image.repo_tags {
            if snapshots.remove_name(&name).await.is_ok() {
                removed.push(format!("image {name}, with an older agent or base"));
            }
        }
    }

    removed.extend(snapshots.sweep().await?);

    for image in snapshots.images(&[], true).await? {
        if snapshots.remove_name(&image.id).await.is_ok() {
            removed.push(format!("image {}, which has no name", image.id));
        }
    }
    Ok(Pruned { removed, bytes: None })
}

/// Removes the containers through which an emulator was looking into an image when it died; says which. Nobody of this
/// owner may be looking.
pub async fn torn_looks(engine: &Engine) -> Result<Vec<String>, MachineError> {
    let Engine { docker, owner, containers, .. } = engine;
    let filters: HashMap<_, _> =
        labels::filter(&[(labels::OWNER, Some(owner)), (labels::PROBE, None)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let probes = bounded("listing containers", ASK, docker.list_containers(Some(options))).await?;
    let mut removed = Vec::new();
    for id in probes.into_iter().filter_map(|probe| probe.id) {
        containers.remove(&id).await?;
        removed.push(format!("container {id}, a torn look into an image"));
    }
    Ok(removed)
}
