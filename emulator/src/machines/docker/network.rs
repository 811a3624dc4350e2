//! The bridge that machines are on: theirs alone, and they do not see each other on it.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{
    Network, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectContainerOptions, ListNetworksOptionsBuilder};
use tokio::sync::Mutex;

use super::engine::{ACT, ASK, Failed, bounded};

/// Its name; one for all emulators of an engine.
pub const NAME: &str = "miosa-emulator";
/// Docker's own bridge, where no other can be made.
const FALLBACK: &str = "bridge";

/// Finds or makes the bridge.
#[derive(Default)]
pub struct Bridge {
    /// Its id, and why it is not ours where it is not.
    found: Mutex<Option<(String, Option<String>)>>,
}

impl Bridge {
    /// What containers name as their network.
    pub async fn id(&self, docker: &Docker) -> String {
        let mut found = self.found.lock().await;
        if let Some((id, _)) = &*found {
            return id.clone();
        }
        let (id, why_not) = match ours(docker).await {
            Ok(id) => (id, None),
            Err(failed) => {
                tracing::warn!(%failed, "no network for machines can be made: they share Docker's default bridge");
                (FALLBACK.to_owned(), Some(failed.to_string()))
            }
        };
        *found = Some((id.clone(), why_not));
        id
    }

    /// Puts a stopped container whose network was removed (`docker network prune` does that) on ours again.
    pub async fn rejoin(&self, docker: &Docker, container: &str) -> Result<(), Failed> {
        let inspected = docker.inspect_container(container, None::<InspectContainerOptions>);
        let inspected = bounded("looking at a container", ASK, inspected).await?;
        let joined = inspected.network_settings.and_then(|settings| settings.networks);
        for gone in joined.unwrap_or_default().into_keys() {
            let leave =
                NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
            let left = docker.disconnect_network(&gone, leave);
            bounded("leaving a network", ACT, left).await?;
        }
        self.forget().await;
        let join = NetworkConnectRequest {
            container: container.to_owned(),
            ..NetworkConnectRequest::default()
        };
        let id = self.id(docker).await;
        bounded("joining a network", ACT, docker.connect_network(&id, join)).await
    }

    /// Looked up again next time: somebody has removed it.
    pub async fn forget(&self) {
        *self.found.lock().await = None;
    }

    /// Why machines are on Docker's default bridge, if they are.
    pub async fn why_not_ours(&self) -> Option<String> {
        self.found.lock().await.as_ref().and_then(|(_, why)| why.clone())
    }
}

async fn ours(docker: &Docker) -> Result<String, Failed> {
    if let Some(id) = lookup(docker).await? {
        return Ok(id);
    }
    let request = NetworkCreateRequest {
        name: NAME.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from([(
            "com.docker.network.bridge.enable_icc".to_owned(),
            "false".to_owned(),
        )])),
        ..NetworkCreateRequest::default()
    };
    match bounded("making a network", ACT, docker.create_network(request)).await {
        Ok(made) => {
            // Two emulators may have made one each at the same moment: both take the same.
            match lookup(docker).await? {
                Some(first) => {
                    if first != made.id {
                        let extra = docker.remove_network(&made.id);
                        let _ = bounded("removing a network", ACT, extra).await;
                    }
                    Ok(first)
                }
                None => Ok(made.id),
            }
        }
        Err(failed) if failed.is_conflict() => lookup(docker).await?.ok_or(failed),
        Err(failed) => Err(failed),
    }
}

/// The network of our name, the oldest if there are two.
async fn lookup(docker: &Docker) -> Result<Option<String>, Failed> {
    let filters = HashMap::from([("name", vec![NAME])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let all = bounded("listing networks", ASK, docker.list_networks(Some(options))).await?;
    // The engine's filter finds names that merely contain it.
    let mut ours: Vec<Network> =
        all.into_iter().filter(|network| network.name.as_deref() == Some(NAME)).collect();
    ours.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    Ok(ours.into_iter().next().and_then(|network| network.id))
}
