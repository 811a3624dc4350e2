//! Images of too many layers made flat: the engine takes about 125, and each snapshot upon a snapshot adds one.
//!
//! The files go out of a container that is never started and come back as an image of one layer; a second such container,
//! of the flat image, is committed with the configuration that the snapshot had. Nothing that stands on the old image
//! notices.

use bollard::Docker;
use bollard::models::{ContainerConfig, CreateImageInfo, ImageInspect};
use bollard::query_parameters::{CommitContainerOptionsBuilder, CreateImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::engine::{COPY, bounded};
use super::{labels, probe};
use crate::machines::MachineError;

/// Pieces that wait between the engine's two ends.
const AHEAD: usize = 4;

/// What it takes to make an image flat.
pub struct Squash<'d> {
    /// The engine.
    pub docker: &'d Docker,
    /// The data directory's id.
    pub owner: &'d str,
    /// The snapshot, whose name the flat image gets.
    pub snapshot: Uuid,
}

impl Squash<'_> {
    /// Makes a flat image of `image` with its configuration; the snapshot's name goes over to it.
    pub async fn run(&self, image: &str, config: ContainerConfig) -> Result<(), MachineError> {
        let full = probe::container(self.docker, self.owner, image).await?;
        let flat = self.flatten(&full).await;
        probe::remove(self.docker, &full).await?;
        let flat = flat?;
        let empty = probe::container(self.docker, self.owner, &flat).await?;
        let named = self.name(&empty, config).await;
        probe::remove(self.docker, &empty).await?;
        named
    }

    /// The files of a container as an image of one layer; its id.
    async fn flatten(&self, container: &str) -> Result<String, MachineError> {
        let (pieces, read) = mpsc::channel::<Result<Bytes, std::io::Error>>(AHEAD);
        let export = async move {
            let mut archive = std::pin::pin!(self.docker.export_container(container));
            while let Some(piece) = archive.next().await {
                let piece = piece.map_err(std::io::Error::other);
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .changes(vec![format!("LABEL {}={}", labels::OWNER, self.owner)])
            .build();
        let body = bollard::body_try_stream(ReceiverStream::new(read));
        let import = async {
            let mut id = None;
            let mut said =
                std::pin::pin!(self.docker.create_image(Some(options), Some(body), None));
            while let Some(CreateImageInfo { status, error_detail, .. }) = said.try_next().await? {
                if let Some(error) = error_detail.and_then(|detail| detail.message) {
                    return Err(bollard::errors::Error::DockerStreamError { error });
                }
                id = status.filter(|text| text.starts_with("sha256:")).or(id);
            }
            Ok(id)
        };
        let both = async { tokio::try_join!(export, import).map(|((), id)| id) };
        let id = bounded("making a snapshot's image flat", COPY, both).await?;
        id.ok_or_else(|| MachineError::Host("Docker named no id for an image".to_owned()))
    }

    async fn name(&self, container: &str, config: ContainerConfig) -> Result<(), MachineError> {
        let options = CommitContainerOptionsBuilder::default()
            .container(container)
            .repo(labels::SNAPSHOT_REPOSITORY)
            .tag(&labels::snapshot_tag(self.owner, self.snapshot))
            .comment("a snapshot of miosa-emulator")
            .build();
        let commit = self.docker.commit_container(options, config);
        bounded("naming a flat image", COPY, commit).await?;
        Ok(())
    }
}

/// The configuration of an image as a commit takes it.
pub fn config(image: ImageInspect) -> ContainerConfig {
    let Some(config) = image.config else { return ContainerConfig::default() };
    ContainerConfig {
        user: config.user,
        env: config.env,
        cmd: config.cmd,
        entrypoint: config.entrypoint,
        working_dir: config.working_dir,
        labels: config.labels,
        stop_signal: config.stop_signal,
        shell: config.shell,
        exposed_ports: config.exposed_ports,
        ..ContainerConfig::default()
    }
}
