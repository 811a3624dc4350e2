//! Plain processes of this computer as machines: unconfined, only when asked for by name.
//!
//! A machine is a directory and an agent that works in it. Nothing holds its commands back: they see the whole
//! computer, as whoever runs the emulator. What it is good for: trying the API where nothing else works, and
//! tests of the API that need no isolation. An agent ends with its stream, so no process outlives the emulator.

mod files;
mod process;

use std::collections::HashMap;
use std::os::unix::net::UnixStream as Pair;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use miosa_agent::protocol::Entry;
use serde::{Deserialize, Serialize};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::agent::{ELF, fingerprint};
use super::sealed::union::Layer;
use super::sealed::{self, Head, Opened, Union, Wanted};
use super::{
    AgentStream, Base, Enforced, Found, HostKind, MachineError, MachineHost, MachineSpec, Note,
    NoteLevel, Pruned, Sealed, Started, TemplateReadiness, no_image, templates,
};
use process::AgentProcess;

/// Machines below one directory.
pub struct HostMachines {
    root: PathBuf,
    program: PathBuf,
    running: Mutex<HashMap<Uuid, AgentProcess>>,
}

/// What is remembered of a machine beside its files.
#[derive(Serialize, Deserialize)]
struct Record {
    operation: Uuid,
    env: std::collections::BTreeMap<String, String>,
}

impl HostMachines {
    /// Machines in `root/machines`, snapshots in `root/snapshots`. Puts the agent's program there.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, MachineError> {
        let root = root.into();
        let program = root.join(format!("miosa-agent-{}", fingerprint()));
        for directory in ["machines", "snapshots"] {
            let made = tokio::fs::create_dir_all(root.join(directory)).await;
            made.map_err(failed("cannot make a directory"))?;
        }
        files::install(&program, ELF).await?;
        Ok(Self { root, program, running: Mutex::default() })
    }

    fn machine(&self, id: Uuid) -> PathBuf {
        self.root.join("machines").join(id.to_string())
    }

    fn sealed(&self, snapshot: Uuid) -> PathBuf {
        self.root.join("snapshots").join(snapshot.to_string())
    }

    async fn record(&self, id: Uuid) -> Result<Record, MachineError> {
        let path = self.machine(id).join("machine.json");
        let json = tokio::fs::read(path).await.map_err(|_| MachineError::NotFound(id))?;
        serde_json::from_slice(&json).map_err(failed("machine.json"))
    }

    /// The files first, the record last: a directory without a record was torn.
    async fn make(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        let machine = self.machine(spec.id);
        tokio::fs::create_dir_all(&machine).await.map_err(failed("cannot make a directory"))?;
        let workspace = machine.join("workspace");
        match &spec.base {
            Base::Template(template) => {
                if let TemplateReadiness::Missing(reason) = readiness(template) {
                    let template = template.clone();
                    return Err(MachineError::TemplateMissing { template, reason });
                }
                let made = tokio::fs::create_dir(&workspace).await;
                made.map_err(failed("cannot make a directory"))?;
            }
            Base::Image(image) => return Err(no_image(self.image(image).await, image)),
            Base::Snapshot(snapshot) => {
                let sealed = self.sealed(*snapshot);
                if !sealed.is_dir() {
                    return Err(MachineError::NotFound(*snapshot));
                }
                files::copy(&sealed, &workspace).await?;
            }
        }
        let record = Record { operation: spec.operation, env: spec.env.clone() };
        let json = serde_json::to_vec(&record).map_err(failed("machine.json"))?;
        let written = tokio::fs::write(machine.join("machine.json"), json).await;
        written.map_err(failed("machine.json"))?;
        self.run(spec.id, &record).await
    }

    async fn run(&self, id: Uuid, record: &Record) -> Result<Started, MachineError> {
        let workspace = self.machine(id).join("workspace");
        // A restore that was cut short between its last two steps: the copy is whole.
        let fresh = self.machine(id).join("workspace.new");
        if !workspace.exists() && fresh.exists() {
            let renamed = tokio::fs::rename(&fresh, &workspace).await;
            renamed.map_err(failed("cannot put the copy in place"))?;
        }
        let (process, stream) = AgentProcess::spawn(&self.program, &workspace, &record.env)?;
        if let Some(old) = self.running.lock().await.insert(id, process) {
            old.end().await;
        }
        Ok(Started { stream, enforced: Enforced::default() })
    }
}

fn readiness(template: &str) -> TemplateReadiness {
    let Some(template) = templates::find(template) else {
        return TemplateReadiness::Missing("this host has only the built-in templates".to_owned());
    };
    let absent: Vec<_> =
        template.tools.iter().filter(|tool| !files::in_path(tool)).copied().collect();
    if absent.is_empty() {
        TemplateReadiness::FastReady
    } else {
        TemplateReadiness::Missing(format!("not in PATH: {}", absent.join(", ")))
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> MachineError {
    move |error| MachineError::Host(format!("{what}: {error}"))
}

#[async_trait]
impl MachineHost for HostMachines {
    fn kind(&self) -> HostKind {
        HostKind::Host
    }

    async fn notes(&self) -> Vec<Note> {
        let limited =
            |topic, text: &str| Note { level: NoteLevel::Limited, topic, text: text.into() };
        vec![
            limited("isolation", "commands run unconfined on this computer, with your own rights"),
            limited("limits", "no limit of CPU, memory, disk or processes is enforced"),
            limited("network", "machines share this computer's network and ports"),
        ]
    }

    async fn template(&self, template: &str) -> TemplateReadiness {
        readiness(template)
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        if self.machine(spec.id).exists() {
            return Err(MachineError::Host(format!("machine {} is there already", spec.id)));
        }
        let made = self.make(spec).await;
        if made.is_err() {
            self.remove(spec.id).await?;
        }
        made
    }

    async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
        let record = self.record(id).await?;
        self.run(id, &record).await
    }

    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        self.record(id).await?;
        let text = "a process of this computer ends with the emulator that started it";
        Err(MachineError::AgentUnreachable(text.to_owned()))
    }

    async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        let mut running = self.running.lock().await;
        running.get_mut(&id).ok_or(MachineError::NotFound(id))?.freeze().await
    }

    async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        let mut running = self.running.lock().await;
        running.get_mut(&id).ok_or(MachineError::NotFound(id))?.thaw();
        Ok(())
    }

    async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        let process = self.running.lock().await.remove(&id);
        if let Some(process) = process {
            process.end().await;
        }
        Ok(())
    }

    async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        self.stop(id).await?;
        files::remove(&self.machine(id)).await
    }

    async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        self.record(id).await?;
        let (workspace, sealed) = (self.machine(id).join("workspace"), self.sealed(snapshot));
        if sealed.exists() {
            return Err(MachineError::Host(format!("snapshot {snapshot} is there already")));
        }
        let thaw = {
            let mut running = self.running.lock().await;
            match running.get_mut(&id) {
                Some(process) if !process.frozen() => {
                    process.freeze().await?;
                    true
                }
                _ => false,
            }
        };
        let part = self.root.join("snapshots").join(format!(".{snapshot}.part"));
        let copied = async {
            files::remove(&part).await?;
            files::copy(&workspace, &part).await?;
            let renamed = tokio::fs::rename(&part, &sealed).await;
            renamed.map_err(failed("cannot seal the copy"))
        }
        .await;
        if thaw {
            self.thaw(id).await?;
        }
        if copied.is_err() {
            files::remove(&part).await?;
        }
        copied?;
        Ok(Sealed { size_bytes: files::size(&sealed).await })
    }

    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
        let record = self.record(id).await?;
        let sealed = self.sealed(snapshot);
        if !sealed.is_dir() {
            return Err(MachineError::NotFound(snapshot));
        }
        let (workspace, fresh) =
            (self.machine(id).join("workspace"), self.machine(id).join("workspace.new"));
        files::remove(&fresh).await?;
        files::copy(&sealed, &fresh).await?;
        self.stop(id).await?;
        files::remove(&workspace).await?;
        let renamed = tokio::fs::rename(&fresh, &workspace).await;
        renamed.map_err(failed("cannot put the copy in place"))?;
        self.run(id, &record).await
    }

    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        files::remove(&self.sealed(snapshot)).await
    }

    async fn list_sealed(&self, snapshot: Uuid, path: &str) -> Result<Vec<Entry>, MachineError> {
        let (head, _) = self.look(snapshot, Wanted::Entries(path.to_owned())).await?;
        sealed::entries(head)
    }

    async fn open_sealed(&self, snapshot: Uuid, path: &str) -> Result<Opened, MachineError> {
        let (head, rest) = self.look(snapshot, Wanted::Content(path.to_owned())).await?;
        Ok(Opened { entry: sealed::content(head)?, bytes: Box::pin(sealed::stream_of(rest)) })
    }

    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        let mut found = Vec::new();
        for id in files::ids(&self.root.join("machines")).await? {
            let operation = self.record(id).await.ok().map(|record| record.operation);
            let mut running = self.running.lock().await;
            let process = running.get_mut(&id);
            let (alive, frozen) =
                process.map_or((false, false), |process| (process.alive(), process.frozen()));
            found.push(Found { id, operation, alive, frozen });
        }
        Ok(found)
    }

    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        files::ids(&self.root.join("snapshots")).await
    }

    async fn prune(&self) -> Result<Pruned, MachineError> {
        files::prune(&self.root, &self.program).await
    }
}

impl HostMachines {
    /// Reads a snapshot beside the async runtime: all there is of a machine here is its `/workspace`.
    async fn look(
        &self,
        snapshot: Uuid,
        wanted: Wanted,
    ) -> Result<(Head, BufReader<UnixStream>), MachineError> {
        let sealed = self.sealed(snapshot);
        if !sealed.is_dir() {
            return Err(MachineError::NotFound(snapshot));
        }
        let (ours, mut theirs) = Pair::pair().map_err(failed("no socket"))?;
        ours.set_nonblocking(true).map_err(failed("no socket"))?;
        let ours = UnixStream::from_std(ours).map_err(failed("no socket"))?;
        tokio::task::spawn_blocking(move || {
            let workspace = ("workspace".to_owned(), vec![Layer::sealed(sealed)]);
            let union = Union { mounts: vec![workspace], ..Union::default() };
            // Who no longer listens has hung up; who does, misses the end.
            if let Err(error) = sealed::serve(&union, &wanted, &mut theirs) {
                tracing::debug!(%error, "looking into a snapshot broke off");
            }
        });
        sealed::receive(BufReader::new(ours)).await
    }

    /// Where this host keeps everything.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
