//! Looks for programs in an image without running anything: a container that is never started, and its files.

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
    let body = ContainerCreateBody {
        image: Some(id.to_owned()),
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
    let container = bounded("looking into an image", ACT, made).await?.id;
    let found = look(docker, &container, &path).await;
    let remove = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    bounded("removing a probe", ACT, docker.remove_container(&container, Some(remove))).await?;
    found
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
