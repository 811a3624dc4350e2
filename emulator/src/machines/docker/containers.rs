//! Machines as containers: found by their labels, made, attached, removed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::engine::{ACT, ASK, Failed, bounded};
use super::labels;
use super::plan::{AGENT_PATH, Plan, SECRET_VARIABLE};
use super::stream::Attached;
use crate::machines::{AgentStream, MachineError};

/// A container of this data directory.
#[derive(Debug, Clone)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// The machine it is.
    pub machine: Uuid,
    /// The id of its image.
    pub image: String,
    /// Its state.
    pub state: ContainerSummaryStateEnum,
    /// Its labels.
    pub labels: HashMap<String, String>,
    generation: u64,
}

impl Container {
    fn of(summary: ContainerSummary) -> Option<Self> {
        let labels = summary.labels?;
        Some(Self {
            id: summary.id?,
            machine: labels.get(labels::MACHINE)?.parse().ok()?,
            image: summary.image_id.unwrap_or_default(),
            state: summary.state.unwrap_or(ContainerSummaryStateEnum::EMPTY),
            generation: labels.get(labels::GENERATION)?.parse().ok()?,
            labels,
        })
    }

    /// Whether its processes are there, running or frozen.
    pub fn alive(&self) -> bool {
        matches!(
            self.state,
            ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::PAUSED
                | ContainerSummaryStateEnum::RESTARTING
        )
    }

    /// Whether they are frozen.
    pub fn frozen(&self) -> bool {
        self.state == ContainerSummaryStateEnum::PAUSED
    }
}

/// The containers of one data directory.
pub struct Containers {
    docker: Docker,
    owner: String,
}

impl Containers {
    /// Of an engine.
    pub fn new(docker: Docker, owner: String) -> Self {
        Self { docker, owner }
    }

    /// Every machine's containers, the one that is the machine first.
    pub async fn list(&self, machine: Option<Uuid>) -> Result<Vec<Container>, MachineError> {
        let machine = machine.map(|id| id.to_string());
        let filters = labels::filter(&[
            (labels::OWNER, Some(&self.owner)),
            (labels::MACHINE, machine.as_deref()),
        ]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = bounded("listing containers", ASK, self.docker.list_containers(Some(options)));
        let mut found: Vec<_> = found.await?.into_iter().filter_map(Container::of).collect();
        found.sort_by_key(|container| (container.machine, container.generation));
        Ok(found)
    }

    /// The machine's container.
    pub async fn find(&self, machine: Uuid) -> Result<Container, MachineError> {
        self.list(Some(machine)).await?.into_iter().next().ok_or(MachineError::NotFound(machine))
    }

    /// Makes a container and does not start it. `agent` is unpacked at its root.
    pub async fn make(
        &self,
        plan: &Plan,
        network: &str,
        agent: Option<Bytes>,
    ) -> Result<String, Failed> {
        let options =
            CreateContainerOptionsBuilder::default().name(&plan.name(&self.owner)).build();
        let body = plan.body(&self.owner, network);
        let made = self.docker.create_container(Some(options), body);
        let id = bounded("making a container", ACT, made).await?.id;
        if let Some(agent) = agent {
            self.put_agent(&id, agent).await?;
        }
        Ok(id)
    }

    /// Puts the agent into a container that does not run: its own copy may be of another version, or gone.
    pub async fn put_agent(&self, id: &str, agent: Bytes) -> Result<(), Failed> {
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let put = self.docker.upload_to_container(id, Some(options), bollard::body_full(agent));
        bounded("putting the agent into a container", ACT, put).await
    }

    /// Starts a container with its streams in hand: the agent's first bytes must not be lost.
    pub async fn start(&self, id: &str) -> Result<AgentStream, Failed> {
        let options = AttachContainerOptionsBuilder::default()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let attached = self.docker.attach_container(id, Some(options));
        let streams = bounded("attaching to a container", ASK, attached).await?;
        let start = self.docker.start_container(id, None::<StartContainerOptions>);
        bounded("starting a container", ACT, start).await?;
        Ok(Box::new(Attached::new(streams.output, streams.input)))
    }

    /// A fresh pair of streams to the agent of a container that runs.
    pub async fn connect(&self, container: &Container) -> Result<AgentStream, MachineError> {
        let unreachable = |what: String| MachineError::AgentUnreachable(what);
        let secret = container
            .labels
            .get(labels::SECRET)
            .and_then(|hex| unhex(hex))
            .ok_or_else(|| unreachable("its container carries no secret".to_owned()))?;
        let command = CreateExecOptions {
            cmd: Some(vec![AGENT_PATH.to_owned(), "connect".to_owned()]),
            // The container's environment would show the secret to whoever looks at the right moment.
            env: Some(vec![format!("{SECRET_VARIABLE}=")]),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            user: Some("0:0".to_owned()),
            ..CreateExecOptions::default()
        };
        let failed = |failed: Failed| match failed {
            Failed::TimedOut(what, after) => MachineError::TimedOut { what, after },
            other => MachineError::AgentUnreachable(other.to_string()),
        };
        let made = self.docker.create_exec(&container.id, command);
        let made = bounded("reaching the agent", ASK, made).await.map_err(failed)?;
        let options = StartExecOptions { output_capacity: Some(64 * 1024), ..Default::default() };
        let started = self.docker.start_exec(&made.id, Some(options));
        match bounded("reaching the agent", ASK, started).await.map_err(failed)? {
            StartExecResults::Detached => Err(unreachable("Docker gave no streams".to_owned())),
            StartExecResults::Attached { output, input } => {
                let mut stream = Attached::new(output, input);
                let said = async {
                    stream.write_all(&secret).await?;
                    stream.flush().await
                };
                match tokio::time::timeout(ASK, said).await {
                    Ok(Ok(())) => Ok(Box::new(stream)),
                    Ok(Err(error)) => Err(unreachable(error.to_string())),
                    Err(_) => {
                        Err(MachineError::TimedOut { what: "reaching the agent", after: ASK })
                    }
                }
            }
        }
    }

    /// Ends a container's processes and removes its files; it is gone when this returns.
    pub async fn remove(&self, id: &str) -> Result<(), MachineError> {
        let end = Instant::now() + ACT;
        let mut wait = Duration::from_millis(5);
        loop {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            let removed = self.docker.remove_container(id, Some(options));
            match bounded("removing a container", ACT, removed).await {
                Ok(()) => return Ok(()),
                Err(failed) if failed.is_missing() => return Ok(()),
                // Somebody else is removing it: gone in a moment.
                Err(failed) if failed.is_conflict() && Instant::now() < end => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_millis(200));
                }
                Err(failed) => return Err(failed.into()),
            }
        }
    }
}

/// Bytes of hex digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.is_empty() {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(generation: &str, state: ContainerSummaryStateEnum) -> ContainerSummary {
        let labels = [
            (labels::MACHINE, Uuid::nil().to_string()),
            (labels::GENERATION, generation.to_owned()),
        ];
        ContainerSummary {
            id: Some("c".to_owned()),
            state: Some(state),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn a_paused_container_is_alive_and_frozen() {
        let container = Container::of(summary("0", ContainerSummaryStateEnum::PAUSED)).unwrap();
        assert!(container.alive() && container.frozen());
        let container = Container::of(summary("0", ContainerSummaryStateEnum::EXITED)).unwrap();
        assert!(!container.alive() && !container.frozen());
    }

    #[test]
    fn a_container_without_our_labels_is_no_machine() {
        assert!(Container::of(ContainerSummary::default()).is_none());
        assert!(Container::of(summary("", ContainerSummaryStateEnum::RUNNING)).is_none());
    }

    #[test]
    fn a_secret_is_read_back_from_its_digits() {
        assert_eq!(unhex("00ff10"), Some(vec![0, 255, 16]));
        for wrong in ["", "0", "zz", "é"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
