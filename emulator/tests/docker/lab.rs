//! A data directory of its own on the engine: whatever a test makes in it is gone when it is dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerInspectResponse, ImageInspect, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, DownloadFromContainerOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, ListImagesOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use miosa_agent::protocol::{Command, Exec};
use miosa_emulator::machines::docker::{DockerConfig, DockerHost, Progress};
use miosa_emulator::machines::{
    Agent, Base, MachineHost as _, MachineSpec, Shape, TemplateReadiness,
};
use uuid::Uuid;

const HOW: &str =
    "these tests need a Docker engine and its image: scripts/docker-engine && scripts/images";

/// A host, and the engine beside it to look at what the host does.
pub struct Lab {
    pub host: DockerHost,
    pub docker: Docker,
    pub progress: Arc<Mutex<Vec<Progress>>>,
    owner: String,
}

impl Lab {
    pub async fn new() -> Self {
        Self::with(BTreeMap::new()).await
    }

    pub async fn with(image_overrides: BTreeMap<String, String>) -> Self {
        Self::configured(image_overrides, None).await
    }

    /// Where snapshots of more than this many layers are made flat.
    pub async fn squashing_at(deepest: usize) -> Self {
        Self::configured(BTreeMap::new(), Some(deepest)).await
    }

    async fn configured(image_overrides: BTreeMap<String, String>, deepest: Option<usize>) -> Self {
        let owner = format!("test-{}", Uuid::new_v4());
        let progress = Arc::new(Mutex::new(Vec::new()));
        let heard = progress.clone();
        let usual = DockerConfig::new(owner.clone());
        let config = DockerConfig {
            image_overrides,
            progress: Some(Arc::new(move |step| heard.lock().unwrap().push(step))),
            deepest: deepest.unwrap_or(usual.deepest),
            ..usual
        };
        let host =
            DockerHost::connect(config).await.unwrap_or_else(|error| panic!("{error}. {HOW}"));
        let readiness = host.template("miosa-sandbox").await;
        assert_eq!(readiness, TemplateReadiness::FastReady, "{HOW}");
        let docker = Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap();
        Self { host, docker, progress, owner }
    }

    /// What another process of the emulator on the same data directory sees.
    pub async fn again(&self) -> DockerHost {
        DockerHost::connect(DockerConfig::new(self.owner.clone())).await.unwrap()
    }

    pub async fn machine(&self, template: &str) -> (Uuid, Agent) {
        let env = BTreeMap::from([("GREETING".to_owned(), "hello world".to_owned())]);
        self.from(Base::Template(template.to_owned()), env).await
    }

    pub async fn from(&self, base: Base, env: BTreeMap<String, String>) -> (Uuid, Agent) {
        let spec = spec(base, env);
        let started = self.host.create(&spec).await.unwrap();
        let agent = Agent::connect(started.stream).await.unwrap();
        let found = self.host.list().await.unwrap();
        assert!(
            found
                .iter()
                .any(|found| found.id == spec.id && found.operation == Some(spec.operation))
        );
        (spec.id, agent)
    }

    /// Starts a command that outlives its request.
    pub async fn detached(&self, agent: &Agent, line: &str) {
        let exec = Exec { detached: true, timeout_ms: None, ..shell(line) };
        drop(agent.exec(exec).await.unwrap());
    }

    /// Every container with this owner, by any label of ours.
    pub async fn containers(&self) -> Vec<String> {
        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&self.filter()).build();
        let found = self.docker.list_containers(Some(options)).await.unwrap();
        found.into_iter().filter_map(|container| container.id).collect()
    }

    pub async fn container(&self, machine: Uuid) -> String {
        for id in self.containers().await {
            let found =
                self.docker.inspect_container(&id, None::<InspectContainerOptions>).await.unwrap();
            let labels = found.config.unwrap().labels.unwrap();
            if labels.get("ai.miosa.emulator.machine") == Some(&machine.to_string()) {
                return id;
            }
        }
        panic!("no container of {machine}");
    }

    pub async fn inspect(&self, machine: Uuid) -> ContainerInspectResponse {
        let id = self.container(machine).await;
        self.docker.inspect_container(&id, None::<InspectContainerOptions>).await.unwrap()
    }

    /// A file as the engine sees it, also of a frozen machine.
    pub async fn read_out(&self, machine: Uuid, path: &str) -> Option<Vec<u8>> {
        let id = self.container(machine).await;
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let archive: Vec<Bytes> =
            self.docker.download_from_container(&id, Some(options)).try_collect().await.ok()?;
        let archive = archive.concat();
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entry = archive.entries().unwrap().next()?.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        Some(content)
    }

    /// Stops the machine on a network that does not exist any more.
    pub async fn move_to_a_network_that_goes_away(&self, machine: Uuid) {
        let container = self.container(machine).await;
        let network = NetworkCreateRequest {
            name: format!("miosa-emulator-test-{machine}"),
            ..NetworkCreateRequest::default()
        };
        let network = self.docker.create_network(network).await.unwrap().id;
        let join = NetworkConnectRequest { container: container.clone(), ..Default::default() };
        self.docker.connect_network(&network, join).await.unwrap();
        let leave = NetworkDisconnectRequest { container, force: Some(true) };
        self.docker.disconnect_network("miosa-emulator", leave).await.unwrap();
        self.host.stop(machine).await.unwrap();
        self.docker.remove_network(&network).await.unwrap();
    }

    pub async fn snapshot_images(&self) -> usize {
        let mut filters = self.filter();
        filters.get_mut("label").unwrap().push("ai.miosa.emulator.snapshot".to_owned());
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        self.docker.list_images(Some(options)).await.unwrap().len()
    }

    pub async fn snapshot_image(&self, snapshot: Uuid) -> ImageInspect {
        let mut filters = self.filter();
        filters.get_mut("label").unwrap().push(format!("ai.miosa.emulator.snapshot={snapshot}"));
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = self.docker.list_images(Some(options)).await.unwrap();
        self.docker.inspect_image(&found[0].id).await.unwrap()
    }

    /// An image as an older emulator on this data directory would have left it.
    pub async fn stale_agent_image(&self) -> String {
        let name = format!("miosa-emulator/agent:{}", Uuid::new_v4().simple());
        let labels = HashMap::from([
            ("ai.miosa.emulator.owner", self.owner.as_str()),
            ("ai.miosa.emulator.agent", "0000000000000000"),
            ("ai.miosa.emulator.base", "sha256:gone"),
        ]);
        build(&self.docker, &name, &labels, "FROM scratch\nCOPY Dockerfile /Dockerfile\n", &[])
            .await;
        name
    }

    pub async fn docker_exec(&self, container: &str, command: &[String]) {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            ..CreateExecOptions::default()
        };
        let made = self.docker.create_exec(container, options).await.unwrap();
        let StartExecResults::Attached { mut output, .. } =
            self.docker.start_exec(&made.id, None).await.unwrap()
        else {
            panic!("not attached");
        };
        while output.next().await.is_some() {}
        assert_eq!(self.docker.inspect_exec(&made.id).await.unwrap().exit_code, Some(0));
    }

    fn filter(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([(
            "label".to_owned(),
            vec![format!("ai.miosa.emulator.owner={}", self.owner)],
        )])
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A runtime of its own: the test's may be gone, or unwinding.
        let owner = self.owner.clone();
        let clean = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let host = DockerHost::connect(DockerConfig::new(owner)).await.unwrap();
                for machine in host.list().await.unwrap() {
                    host.remove(machine.id).await.unwrap();
                }
                for snapshot in host.list_snapshots().await.unwrap() {
                    host.remove_snapshot(snapshot).await.unwrap();
                }
                host.prune().await.unwrap();
            });
        });
        let cleaned = clean.join();
        assert!(cleaned.is_ok() || std::thread::panicking(), "the lab could not be cleaned");
    }
}

/// A small machine.
pub fn spec(base: Base, env: BTreeMap<String, String>) -> MachineSpec {
    MachineSpec {
        id: Uuid::new_v4(),
        operation: Uuid::new_v4(),
        base,
        shape: Shape { vcpus: 1, memory_mb: 256, disk_mb: 1024 },
        env,
        hostname: "box".to_owned(),
    }
}

/// A line for the shell, with ten seconds to run.
pub fn shell(line: &str) -> Exec {
    Exec {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: Some(10_000),
        stdin: false,
        tty: None,
        detached: false,
    }
}

/// What a line says on standard output.
pub async fn sh(agent: &Agent, line: &str) -> String {
    let finished = agent.run(shell(line), None, 1 << 20).await.unwrap();
    assert!(!finished.exit.timed_out, "{line}");
    String::from_utf8(finished.stdout.to_vec()).unwrap()
}

/// Waits until `holds` does, twenty seconds at most.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An image that holds a busybox and nothing else.
pub async fn build_busybox(name: &str) {
    let busybox = std::fs::read("/bin/busybox")
        .expect("this test puts /bin/busybox into an image: apt-get install busybox-static");
    let docker = Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap();
    let dockerfile = "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\n";
    // An image of this test alone: the build cache would give that of an earlier run.
    let labels = HashMap::from([("test", name)]);
    build(&docker, name, &labels, dockerfile, &[("busybox", &busybox)]).await;
}

async fn build(
    docker: &Docker,
    name: &str,
    labels: &HashMap<&str, &str>,
    dockerfile: &str,
    files: &[(&str, &[u8])],
) {
    let mut context = tar::Builder::new(Vec::new());
    for (path, content) in [("Dockerfile", dockerfile.as_bytes())].iter().chain(files) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        context.append_data(&mut header, path, *content).unwrap();
    }
    let context = bollard::body_full(Bytes::from(context.into_inner().unwrap()));
    let options = BuildImageOptionsBuilder::default().t(name).labels(labels).rm(true).build();
    let steps: Result<Vec<_>, _> =
        docker.build_image(options, None, Some(context)).try_collect().await;
    steps.unwrap();
}
