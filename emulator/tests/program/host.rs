//! What emulators leave on this computer: processes, control groups, mounts, containers, images.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder};
use miosa_emulator::machines::MachineHost as _;
use miosa_emulator::machines::docker::{DockerConfig, DockerHost};

const OWNER: &str = "ai.miosa.emulator.owner";
const MACHINE: &str = "ai.miosa.emulator.machine";

/// Processes with this command line.
pub fn processes(line: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end() == line
        })
        .collect()
}

/// Control groups with this text in their name, and the processes in them.
pub fn groups(text: &str) -> Vec<(PathBuf, Vec<i32>)> {
    let mut found = Vec::new();
    let mut next = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = next.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if entry.file_name().to_string_lossy().contains(text) {
                let list = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
                found.push((path, list.lines().filter_map(|line| line.parse().ok()).collect()));
            } else {
                next.push(path);
            }
        }
    }
    found
}

/// Mounts on this computer, in any process's view, with this text in them.
pub fn mounts(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<String> = pids
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok())
        .flat_map(|table| {
            table.lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Machines whose files are in a data directory of the namespace kind.
pub fn directories(data: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(data.join("namespace/machines")).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn docker() -> Docker {
    Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap()
}

/// Containers of a data directory: engine's id, machine, state.
pub async fn containers(owner: &str) -> Vec<(String, String, String)> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{OWNER}={owner}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = docker().await.list_containers(Some(options)).await.unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|container| {
            let machine = container.labels.and_then(|labels| labels.get(MACHINE).cloned());
            let state = container.state.map(|state| state.to_string());
            (container.id.unwrap(), machine.unwrap_or_default(), state.unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

/// Leaves what an emulator leaves that dies while it looks into an image.
pub async fn leave_a_look(owner: &str) {
    let labels = [(OWNER, owner), ("ai.miosa.emulator.probe", "1")];
    let body = bollard::models::ContainerCreateBody {
        image: Some("miosa-emulator/sandbox:1".to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..Default::default()
    };
    let options = None::<bollard::query_parameters::CreateContainerOptions>;
    docker().await.create_container(options, body).await.unwrap();
}

/// Every container on the engine, by id and machine, whosever it is.
pub async fn every_container() -> Vec<String> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let found = docker().await.list_containers(Some(options)).await.unwrap();
    let machine = |labels: Option<HashMap<String, String>>| labels?.get(MACHINE).cloned();
    found.into_iter().filter_map(|container| machine(container.labels)).collect()
}

/// Images of a data directory that are snapshots, kept ones too.
pub async fn snapshot_images(of: impl Fn(&str) -> bool) -> Vec<String> {
    let options = ListImagesOptionsBuilder::default().build();
    let found = docker().await.list_images(Some(options)).await.unwrap();
    let snapshots = ["miosa-emulator/snapshot:", "miosa-emulator/kept:"];
    found
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .filter(|tag| snapshots.iter().any(|prefix| tag.starts_with(prefix)) && of(tag))
        .collect()
}

/// Removes everything of a data directory from the engine, in a runtime of its own: the test's may be unwinding.
pub fn clear(owner: String) {
    let cleared = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let host = DockerHost::connect(DockerConfig::new(owner)).await.unwrap();
            for machine in host.list().await.unwrap() {
                host.remove(machine.id).await.unwrap();
            }
            for snapshot in host.list_snapshots().await.unwrap() {
                host.remove_snapshot(snapshot).await.unwrap();
            }
        });
    });
    let cleared = cleared.join();
    assert!(cleared.is_ok() || std::thread::panicking(), "the engine could not be cleared");
}
