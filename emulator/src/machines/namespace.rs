//! Linux namespaces as machines, without a daemon.
//!
//! A machine is a process tree in its own user, mount, pid, network, host name and IPC namespaces. Its files are
//! two overlays: `/` over a bare skeleton, `/usr` over the host's own. Nothing of it outlives the emulator but
//! the files. The modules, in the order of a start: [`usermap`] and [`cgroup`] say what this process may give,
//! [`rootfs`] and [`layers`] prepare the files, [`launch`] starts the emulator's binary again, [`enter`] makes
//! the namespaces and watches over them, [`inside`] becomes the agent.

mod cgroup;
mod doctor;
pub mod enter;
mod files;
mod freeze;
mod inside;
mod launch;
mod layers;
mod live;
mod look;
mod loopback;
mod merge;
mod plan;
pub(super) mod raw;
mod rootfs;
mod usermap;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use miosa_agent::protocol::Entry;
use tokio::sync::RwLock;
use uuid::Uuid;

use super::sealed::{self, Opened, Wanted};
use super::{
    AgentStream, Base, Enforced, Found, HostKind, MachineError, MachineHost, MachineSpec, Note,
    Pruned, Sealed, Shape, Started, TemplateReadiness, no_image,
};
use cgroup::Trees;
use files::Copier;
use layers::{DEEPEST, Layout, MachineMeta, SnapshotMeta};
use live::{Frozen, Slot};
use plan::Plan;
pub use plan::agent_command;
use usermap::UserMap;

/// Processes that one machine may have.
pub const PROCESSES: u32 = 1024;
/// How long a start waits for processes that are ending.
const ENDING: Duration = Duration::from_secs(2);
/// As many layers, with numbers of six digits, fit into overlayfs' page of options.
const LAST_RESORT: usize = 300;

/// How to make machines.
#[derive(Debug, Clone)]
pub struct NamespaceConfig {
    /// Where their files are. Made if absent; its owner becomes the machines' root.
    pub data: PathBuf,
    /// The emulator's own program, whose `main` calls [`enter::maybe_enter`]. `/proc/self/exe` in the emulator.
    pub program: PathBuf,
    /// The agent's ELF.
    pub agent: &'static [u8],
    /// Processes that one machine may have: [`PROCESSES`].
    pub processes: u32,
    /// A machine's first process and its arguments: [`agent_command`], or something else in a test.
    pub init: Vec<String>,
}

/// Machines of one data directory.
pub struct NamespaceHost {
    config: NamespaceConfig,
    ids: UserMap,
    layout: Layout,
    skeleton: String,
    agent: [String; 2],
    trees: Trees,
    /// Prefix of our control groups: the data directory's, so that nobody else's are swept.
    owner: String,
    copier: Copier,
    /// See [`Self::merging_at`].
    deepest: usize,
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
    /// Read while something may refer to a layer that no meta file names yet, written while unused ones go.
    layers_in_use: RwLock<()>,
}

impl NamespaceHost {
    /// Prepares the data directory and removes what an interrupted run left, processes included: the caller
    /// holds the lock on the data directory. It does not need namespaces to work: [`Self::probe`] finds that out.
    pub async fn open(config: NamespaceConfig) -> Result<Self, MachineError> {
        let (host, leftovers) = blocking(move || Self::prepare(config)).await?;
        for path in leftovers {
            host.copier.delete(&path).await?;
        }
        Ok(host)
    }

    fn prepare(config: NamespaceConfig) -> Result<(Self, Vec<PathBuf>), MachineError> {
        let failed = |what: &'static str| move |e: std::io::Error| host(format!("{what}: {e}"));
        let ids = UserMap::choose().map_err(failed("user ids"))?;
        let layout = Layout::open(&config.data, ids).map_err(failed("data directory"))?;
        let owner = owner(&layout).map_err(failed("owner"))?;
        let trees = Trees::discover(&format!("{owner}-probe"));
        trees.sweep(&format!("{owner}-"));
        let skeleton = rootfs::prepare(&layout, ids).map_err(failed("skeleton"))?;
        let agent = files::place_agent(&layout, config.agent).map_err(failed("agent"))?;
        let leftovers = layout.sweep().map_err(failed("leftovers"))?;
        let copier = Copier::new(&config.program, ids);
        let this = Self {
            config,
            ids,
            layout,
            skeleton,
            agent,
            trees,
            owner,
            copier,
            deepest: DEEPEST,
            slots: Mutex::default(),
            layers_in_use: RwLock::new(()),
        };
        Ok((this, leftovers))
    }

    /// Merges the layers of a snapshot that would have more than this many. For tests; usually there are 48.
    #[must_use]
    pub fn merging_at(mut self, deepest: usize) -> Self {
        self.deepest = deepest.max(1);
        self
    }

    fn slot(&self, id: Uuid) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(id).or_default().clone()
    }

    /// Works on the data directory beside the async runtime.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, MachineError> {
        let layout = self.layout.clone();
        blocking(move || work(&layout).map_err(|e| host(format!("data directory: {e}")))).await
    }

    async fn machine(&self, id: Uuid) -> Result<MachineMeta, MachineError> {
        self.on_disk(move |l| l.read_machine(id)).await?.ok_or(MachineError::NotFound(id))
    }

    async fn snapshot_meta(&self, id: Uuid) -> Result<SnapshotMeta, MachineError> {
        self.on_disk(move |l| l.read_snapshot(id)).await?.ok_or(MachineError::NotFound(id))
    }

    /// What the machine's files start from.
    async fn chain(&self, base: &Base) -> Result<Vec<u32>, MachineError> {
        match base {
            Base::Snapshot(id) => Ok(self.snapshot_meta(*id).await?.chain),
            Base::Image(image) => Err(no_image(self.image(image).await, image)),
            Base::Template(id) => match self.template(id).await {
                TemplateReadiness::Missing(reason) => {
                    Err(MachineError::TemplateMissing { template: id.clone(), reason })
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    /// Starts the processes of a machine that has none.
    async fn launch(
        &self,
        id: Uuid,
        slot: &Slot,
        meta: &MachineMeta,
        init: Vec<String>,
    ) -> Result<Started, MachineError> {
        let plan = self.plan(id, meta, init);
        let program = self.config.program.clone();
        let (trees, name) = (self.trees.clone(), format!("{}-{id}", self.owner));
        let (shape, processes) = (meta.shape, self.config.processes);
        let (running, stream) = blocking(move || {
            let group = trees.make(&name, shape, processes);
            let plan = plan.within(&group, processes);
            launch::launch(&program, &plan, group).map_err(host)
        })
        .await?;
        let mut enforced = running.group.enforced;
        enforced.processes = Some(self.config.processes);
        stream.set_nonblocking(true).map_err(|e| host(e.to_string()))?;
        let stream = tokio::net::UnixStream::from_std(stream).map_err(|e| host(e.to_string()))?;
        slot.put(running);
        Ok(Started { stream: Box::new(stream), enforced })
    }

    fn plan(&self, id: Uuid, meta: &MachineMeta, init: Vec<String>) -> Plan {
        Plan {
            layers: self.layout.layers(),
            mount_point: Layout::mount_point(id),
            top: Layout::top(id, meta.top),
            chain: meta.chain.clone(),
            skeleton: self.skeleton.clone(),
            agent: self.agent.clone(),
            init,
            env: plan::environment(&meta.env),
            hostname: meta.hostname.clone(),
            ids: self.ids,
            cgroup: plan::Membership::default(),
            process_limit: None,
            shm_mb: (meta.shape.memory_mb / 2).max(64),
        }
    }

    async fn create_with(
        &self,
        spec: &MachineSpec,
        init: Vec<String>,
    ) -> Result<Started, MachineError> {
        let id = spec.id;
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let _layers = self.layers_in_use.read().await;
        if self.on_disk(move |l| l.read_machine(id)).await?.is_some() {
            return Err(host(format!("machine {} exists", spec.id)));
        }
        let meta = MachineMeta {
            operation: spec.operation,
            hostname: spec.hostname.clone(),
            env: spec.env.clone(),
            shape: spec.shape,
            chain: self.chain(&spec.base).await?,
            top: 0,
        };
        let record = meta.clone();
        let made = self.on_disk(move |l| l.add_machine(id, &record)).await;
        let started = match made {
            Ok(()) => self.launch(spec.id, &slot, &meta, init).await,
            Err(error) => Err(error),
        };
        if started.is_err() {
            self.erase(spec.id).await?;
        }
        started
    }

    /// Removes a machine's files, once it has no processes.
    async fn erase(&self, id: Uuid) -> Result<(), MachineError> {
        if let Some(path) = self.on_disk(move |l| l.discard_machine(id)).await? {
            self.copier.delete(&path).await?;
        }
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    /// Copies what a machine has written into a new layer.
    async fn seal(&self, id: Uuid, meta: &MachineMeta) -> Result<SnapshotMeta, MachineError> {
        let (number, layer) = self.on_disk(Layout::new_layer).await?;
        let copied = self.copier.copy(&self.layout.upper(id, meta.top), &layer).await;
        let measured = match copied {
            Ok(()) => self.copier.size(&layer).await,
            Err(error) => Err(error),
        };
        if measured.is_err() {
            self.copier.delete(&layer).await?;
        }
        let size_bytes = measured?;
        let chain = [number].into_iter().chain(meta.chain.iter().copied()).collect();
        Ok(SnapshotMeta { chain, size_bytes })
    }

    /// Makes one layer of a chain that has grown too long. Where that fails the chain stays, as long as overlayfs takes it.
    async fn shorten(&self, sealed: SnapshotMeta) -> Result<SnapshotMeta, MachineError> {
        if sealed.chain.len() <= self.deepest {
            return Ok(sealed);
        }
        let (number, layer) = self.on_disk(Layout::new_layer).await?;
        let layers = look::lowest_first(&self.layout, &sealed.chain);
        match self.copier.merge(&layer, &layers).await {
            Ok(()) => {
                // The newest has no other reader: its files live on in the merged one.
                if let Some(newest) = layers.last() {
                    self.copier.delete(newest).await?;
                }
                Ok(SnapshotMeta { chain: vec![number], ..sealed })
            }
            Err(error) => {
                self.copier.delete(&layer).await?;
                if sealed.chain.len() > LAST_RESORT {
                    return Err(error);
                }
                tracing::warn!(%error, "the layers of a snapshot could not be merged");
                Ok(sealed)
            }
        }
    }

    async fn delete_unused_layers(&self) -> Result<Vec<PathBuf>, MachineError> {
        let discarded = {
            let _nobody = self.layers_in_use.write().await;
            self.on_disk(Layout::discard_unused_layers).await?
        };
        for path in &discarded {
            self.copier.delete(path).await?;
        }
        Ok(discarded)
    }

    /// Starts a machine, waits for its first process to do nothing, and removes it: whether namespaces and
    /// overlayfs work here at all, and what can be enforced.
    pub async fn probe(&self) -> Result<Enforced, MachineError> {
        let spec = MachineSpec {
            id: Uuid::new_v4(),
            operation: Uuid::new_v4(),
            base: Base::Template("blank".to_owned()),
            shape: Shape { vcpus: 1, memory_mb: 256, disk_mb: 256 },
            env: BTreeMap::new(),
            hostname: "probe".to_owned(),
        };
        let started = self.create_with(&spec, vec!["/bin/sleep".into(), "60".into()]).await?;
        self.remove(spec.id).await?;
        Ok(started.enforced)
    }
}

#[async_trait]
impl MachineHost for NamespaceHost {
    fn kind(&self) -> HostKind {
        HostKind::Namespace
    }

    async fn notes(&self) -> Vec<Note> {
        let probe = self.probe().await;
        let (ids, trees) = (self.ids, self.trees.clone());
        blocking(move || Ok(doctor::notes(ids, &trees, probe))).await.unwrap_or_default()
    }

    async fn template(&self, template: &str) -> TemplateReadiness {
        let name = template.to_owned();
        let looked = blocking(move || Ok(doctor::readiness(&name))).await;
        looked.unwrap_or_else(|error| TemplateReadiness::Missing(error.to_string()))
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        self.create_with(spec, self.config.init.clone()).await
    }

    async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let meta = self.machine(id).await?;
        // An agent that has lost its emulator gives processes a moment to end.
        let deadline = Instant::now() + ENDING;
        while slot.live().is_some() {
            if Instant::now() > deadline {
                return Err(host(format!("machine {id} is running")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slot.end().await?;
        self.launch(id, &slot, &meta, self.config.init.clone()).await
    }

    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        self.machine(id).await?;
        Err(MachineError::AgentUnreachable(
            "a namespace machine ends with its emulator: start it".to_owned(),
        ))
    }

    async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        self.machine(id).await?;
        let live = slot.live().ok_or_else(|| not_running(id))?;
        blocking(move || live.freeze()).await
    }

    async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        self.machine(id).await?;
        let live = slot.live().ok_or_else(|| not_running(id))?;
        blocking(move || live.thaw()).await
    }

    async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        self.machine(id).await?;
        slot.end().await
    }

    async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let gate = slot.gate.lock().await;
        slot.end().await?;
        let meta = self.on_disk(move |l| l.read_machine(id)).await;
        let had_layers = meta.is_ok_and(|meta| meta.is_some_and(|meta| !meta.chain.is_empty()));
        self.erase(id).await?;
        drop(gate);
        if had_layers {
            self.delete_unused_layers().await?;
        }
        Ok(())
    }

    async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let _layers = self.layers_in_use.read().await;
        let meta = self.machine(id).await?;
        if self.on_disk(move |l| l.read_snapshot(snapshot)).await?.is_some() {
            return Err(host(format!("snapshot {snapshot} exists")));
        }
        let frozen = match slot.live() {
            Some(live) if !live.is_frozen() => Some(Frozen::new(live).await?),
            _ => None,
        };
        let sealed = self.seal(id, &meta).await;
        if let Some(frozen) = frozen {
            frozen.thaw().await?;
        }
        let sealed = self.shorten(sealed?).await?;
        let record = sealed.clone();
        self.on_disk(move |layout| {
            if let Some(newest) = record.chain.first() {
                files::settle(&layout.layers().join(newest.to_string()))?;
            }
            layout.write_snapshot(snapshot, &record)
        })
        .await?;
        Ok(Sealed { size_bytes: sealed.size_bytes })
    }

    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let before = self.machine(id).await?;
        {
            let _layers = self.layers_in_use.read().await;
            let chain = self.snapshot_meta(snapshot).await?.chain;
            slot.end().await?;
            let after = MachineMeta { chain, top: before.top + 1, ..before.clone() };
            self.on_disk(move |layout| {
                // The meta file is the moment of the change: before it the old top counts, after it the new one.
                layout.add_top(id, after.top)?;
                layout.write_machine(id, &after)
            })
            .await?;
        }
        let meta = self.machine(id).await?;
        let started = self.launch(id, &slot, &meta, self.config.init.clone()).await;
        let old = self.on_disk(move |l| l.discard_top(id, before.top)).await?;
        if let Some(old) = old {
            self.copier.delete_later(old);
        }
        started
    }

    async fn resize(&self, id: Uuid, shape: Shape) -> Result<Option<Enforced>, MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let meta = self.machine(id).await?;
        let enforced = match slot.live() {
            Some(live) => Some(blocking(move || live.resize(shape)).await?),
            None => None,
        };
        self.on_disk(move |l| l.write_machine(id, &MachineMeta { shape, ..meta })).await?;
        let processes = Some(self.config.processes);
        Ok(enforced.map(|enforced| Enforced { processes, ..enforced }))
    }

    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        if let Some(path) = self.on_disk(move |l| l.discard_snapshot(snapshot)).await? {
            self.copier.delete(&path).await?;
        }
        self.delete_unused_layers().await.map(drop)
    }

    async fn list_sealed(&self, snapshot: Uuid, path: &str) -> Result<Vec<Entry>, MachineError> {
        let _layers = self.layers_in_use.read().await;
        let meta = self.snapshot_meta(snapshot).await?;
        let (head, _) = self.look(&meta, Wanted::Entries(path.to_owned())).await?;
        sealed::entries(head)
    }

    async fn open_sealed(&self, snapshot: Uuid, path: &str) -> Result<Opened, MachineError> {
        let meta = self.snapshot_meta(snapshot).await?;
        self.open_layers(&meta, path).await
    }

    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        let machines = self.on_disk(Layout::machines).await?;
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = machines.into_iter().map(|(id, meta)| {
            let live = slots.get(&id).and_then(|slot| slot.live());
            Found {
                id,
                operation: Some(meta.operation),
                alive: live.is_some(),
                frozen: live.is_some_and(|live| live.is_frozen()),
            }
        });
        Ok(found.collect())
    }

    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        let snapshots = self.on_disk(Layout::snapshots).await?;
        Ok(snapshots.into_iter().map(|(id, _)| id).collect())
    }

    async fn prune(&self) -> Result<Pruned, MachineError> {
        let removed = self.delete_unused_layers().await?;
        let text = removed.iter().map(|_| "a sealed layer that nothing uses".to_owned());
        Ok(Pruned { removed: text.collect(), bytes: None })
    }
}

/// A name for the control groups of this data directory.
fn owner(layout: &Layout) -> std::io::Result<String> {
    use sha2::{Digest, Sha256};
    let path = std::fs::canonicalize(layout.layers())?;
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let short = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Ok(format!("miosa-{short:016x}"))
}

fn host(text: String) -> MachineError {
    MachineError::Host(text)
}

fn not_running(id: Uuid) -> MachineError {
    host(format!("machine {id} is not running"))
}

/// Runs what blocks beside the async runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MachineError> + Send + 'static,
) -> Result<T, MachineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(host(format!("a blocking step did not finish: {error}"))),
    }
}
