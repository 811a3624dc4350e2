//! Looks into an image without running anything: a container that is never started, and its files.

use std::collections::{BTreeSet, HashMap};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ImageInspect};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder,
};

use super::engine::{ACT, ASK, bounded};
use super::labels;
use crate::machines::{MachineError, templates};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which of the programs that any template promises are in the image's `PATH`.
pub async fn tools(
    docker: &Docker,
    owner: &str,
    image: &ImageInspect,
    id: &str,
) -> Result<BTreeSet<String>, MachineError> {
    let env = image.config.as_ref().and_then(|config| config.env.as_ref());
    let path = env
        .into_iter()
        .flatten()
        .find_map(|line| line.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH)
        .to_owned();
    let container = container(docker, owner, id).await?;
    let found = look(docker, &container, &path).await;
    remove(docker, &container).await?;
    found
}

/// A container of an image that only holds its files; its id. The next start removes one that was forgotten.
pub async fn container(docker: &Docker, owner: &str, image: &str) -> Result<String, MachineError> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        // Never run, but the engine wants one.
        entrypoint: Some(vec!["/".to_owned()]),
        labels: Some(HashMap::from(
            [(labels::OWNER, owner), (labels::PROBE, "1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        )),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    };
    let made = docker.create_container(None::<CreateContainerOptions>, body);
    Ok(bounded("looking into an image", ACT, made).await?.id)
}

/// Removes such a container.
pub async fn remove(docker: &Docker, container: &str) -> Result<(), MachineError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    Ok(bounded("removing a probe", ACT, docker.remove_container(container, Some(options))).await?)
}

async fn look(
    docker: &Docker,
    container: &str,
    path: &str,
) -> Result<BTreeSet<String>, MachineError> {
    let promised: BTreeSet<&str> =
        templates::BUILT_IN.iter().flat_map(|template| template.tools).copied().collect();
    let mut found = BTreeSet::new();
    for tool in promised {
        for directory in path.split(':').filter(|directory| directory.starts_with('/')) {
            let file = format!("{directory}/{tool}");
            let options = ContainerArchiveInfoOptionsBuilder::default().path(&file).build();
            let looked = docker.get_container_archive_info(container, Some(options));
            match bounded("looking for a program in an image", ASK, looked).await {
                // Go's FileMode: the uppermost bit is a directory; a link has all permissions.
                Ok(entry) if entry.file_mode >> 31 == 0 && entry.file_mode & 0o111 != 0 => {
                    found.insert(tool.to_owned());
                    break;
                }
                Ok(_) => {}
                Err(failed) if failed.is_missing() => {}
                Err(failed) => return Err(failed.into()),
            }
        }
    }
    Ok(found)
}
