//! Sealed copies as images: a commit of the container, told to forget which machine it was.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use uuid::Uuid;

use super::containers::Container;
use super::engine::{ASK, COPY, Failed, bounded};
use super::images::id;
use super::squash::{self, Squash};
use super::{labels, plan};
use crate::machines::{MachineError, Sealed};

/// Most layers of a snapshot's image; with more it is made flat. The engine's storage takes about 125.
pub const DEEPEST: usize = 100;

/// The snapshots of one data directory.
pub struct Snapshots {
    docker: Docker,
    owner: String,
    deepest: usize,
}

impl Snapshots {
    /// Of an engine.
    pub fn new(docker: Docker, owner: String, deepest: usize) -> Self {
        Self { docker, owner, deepest: deepest.max(1) }
    }

    /// Seals a container's files. The engine itself freezes and thaws: a crash of ours leaves nothing frozen.
    pub async fn seal(
        &self,
        container: &Container,
        snapshot: Uuid,
    ) -> Result<Sealed, MachineError> {
        let options = CommitContainerOptionsBuilder::default()
            .container(&container.id)
            .repo(labels::SNAPSHOT_REPOSITORY)
            .tag(&labels::snapshot_tag(&self.owner, snapshot))
            .comment("a snapshot of miosa-emulator")
            .pause(true)
            .build();
        let config = plan::forgetting(&container.labels, &self.owner, snapshot);
        let made =
            bounded("sealing a snapshot", COPY, self.docker.commit_container(options, config));
        let made = made.await?.id;
        let image = self.inspect(&made).await?.unwrap_or_default();
        let whole = image.size.unwrap_or(0);
        let base = self.inspect(&container.image).await?.and_then(|image| image.size).unwrap_or(0);
        let layers = image.root_fs.as_ref().and_then(|files| files.layers.as_ref());
        if layers.is_some_and(|layers| layers.len() > self.deepest) {
            let squash = Squash { docker: &self.docker, owner: &self.owner, snapshot };
            let flat = squash.run(&made, squash::config(image)).await;
            // The name has gone over; what is left of the deep image goes, unless machines stand on its layers.
            self.discard(&made).await;
            flat?;
        }
        Ok(Sealed { size_bytes: u64::try_from(whole.saturating_sub(base)).unwrap_or(0) })
    }

    /// Removes an image that has no name any more, if nothing uses it.
    async fn discard(&self, image: &str) {
        if let Err(failed) = self.remove_name(image).await
            && !failed.is_missing()
        {
            tracing::debug!(image, "stays until the next prune: {failed}");
        }
    }

    /// The id of a snapshot's image.
    pub async fn image(&self, snapshot: Uuid) -> Result<String, MachineError> {
        match self.inspect(&labels::snapshot_image(&self.owner, snapshot)).await? {
            Some(image) => id(&image),
            None => Err(MachineError::NotFound(snapshot)),
        }
    }

    /// Every snapshot.
    pub async fn list(&self) -> Result<Vec<Uuid>, MachineError> {
        let images = self.images(&[(labels::SNAPSHOT, None)], false).await?;
        let prefix = labels::snapshot_image(&self.owner, Uuid::nil());
        let prefix = prefix.trim_end_matches(&Uuid::nil().to_string()).to_owned();
        let mut found: Vec<Uuid> = images
            .iter()
            .flat_map(|image| &image.repo_tags)
            .filter_map(|tag| tag.strip_prefix(&prefix)?.parse().ok())
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes a snapshot. Where a container stands on it, its image gets another name until that is gone.
    pub async fn remove(&self, snapshot: Uuid) -> Result<(), MachineError> {
        let name = labels::snapshot_image(&self.owner, snapshot);
        let Some(image) = self.inspect(&name).await? else { return Ok(()) };
        let image = id(&image)?;
        if self.in_use(&image).await? {
            // Removing the only name of an image in use is refused, and forcing it takes the image from stopped ones.
            let options = TagImageOptionsBuilder::default()
                .repo(labels::KEPT_REPOSITORY)
                .tag(&labels::snapshot_tag(&self.owner, snapshot))
                .build();
            bounded("naming an image", ASK, self.docker.tag_image(&name, Some(options))).await?;
        }
        match self.remove_name(&name).await {
            Err(failed) if !failed.is_missing() => Err(failed.into()),
            _ => Ok(()),
        }
    }

    /// Removes images of removed snapshots that no container stands on any more; says which.
    pub async fn sweep(&self) -> Result<Vec<String>, MachineError> {
        let mut removed = Vec::new();
        for image in self.images(&[(labels::SNAPSHOT, None)], false).await? {
            let kept = format!("{}:", labels::KEPT_REPOSITORY);
            // A name of another kind means that somebody wants it.
            if !image.repo_tags.iter().all(|tag| tag.starts_with(&kept))
                || self.in_use(&image.id).await?
            {
                continue;
            }
            for name in image.repo_tags {
                if self.remove_name(&name).await.is_ok() {
                    removed.push(format!("image {name}"));
                }
            }
        }
        Ok(removed)
    }

    /// Images of this data directory with these labels.
    pub async fn images(
        &self,
        with: &[(&str, Option<&str>)],
        dangling: bool,
    ) -> Result<Vec<ImageSummary>, MachineError> {
        let mut all = vec![(labels::OWNER, Some(self.owner.as_str()))];
        all.extend_from_slice(with);
        let mut filters: HashMap<String, Vec<String>> = labels::filter(&all);
        if dangling {
            filters.insert("dangling".to_owned(), vec!["true".to_owned()]);
        }
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        Ok(bounded("listing images", ASK, self.docker.list_images(Some(options))).await?)
    }

    /// Removes one name of an image, and the image with its last one, if nothing uses it.
    pub async fn remove_name(&self, name: &str) -> Result<(), Failed> {
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(false).build();
        let removed = self.docker.remove_image(name, Some(options), None);
        // A flat one holds all of a machine's files.
        bounded("removing an image", COPY, removed).await.map(drop)
    }

    /// Whether any container, running or not, stands on this very image.
    async fn in_use(&self, image: &str) -> Result<bool, MachineError> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("ancestor", vec![image])]))
            .build();
        let found = bounded("listing containers", ASK, self.docker.list_containers(Some(options)));
        Ok(found.await?.iter().any(|container| container.image_id.as_deref() == Some(image)))
    }

    async fn inspect(&self, image: &str) -> Result<Option<ImageInspect>, MachineError> {
        match bounded("looking at an image", ASK, self.docker.inspect_image(image)).await {
            Ok(found) => Ok(Some(found)),
            Err(failed) if failed.is_missing() => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }
}
