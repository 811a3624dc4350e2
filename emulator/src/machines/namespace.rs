//! Linux namespaces as machines, without a daemon.
//!
//! A machine is a process tree in its own user, mount, pid, network, host name and IPC namespaces. Its files are
//! two overlays: `/` over a bare skeleton, `/usr` over the host's own. Nothing of it outlives the emulator but
//! the files. The modules, in the order of a start: [`usermap`] and [`cgroup`] say what this process may give,
//! [`rootfs`] and [`layers`] prepare the files, [`launch`] starts the emulator's binary again, [`enter`] makes
//! the namespaces and watches over them, [`inside`] becomes the agent.

pub mod cgroup;
mod doctor;
pub mod enter;
mod files;
mod freeze;
mod inside;
pub mod launch;
pub mod layers;
mod loopback;
pub mod plan;
mod raw;
pub mod rootfs;
pub mod usermap;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::RwLock;
use uuid::Uuid;

use super::{
    AgentStream, Base, Enforced, Found, HostKind, MachineError, MachineHost, MachineSpec, Note,
    Pruned, Sealed, Shape, Started, TemplateReadiness,
};
use cgroup::{Group, Trees};
use files::Copier;
use launch::Running;
use layers::{DEEPEST, Layout, MachineMeta, SnapshotMeta};
use plan::Plan;
use usermap::UserMap;

/// Processes that one machine may have.
pub const PROCESSES: u32 = 1024;
/// Environment of every command, before the machine's own.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/home/sandbox"),
    ("USER", "root"),
    ("LANG", "C.UTF-8"),
    ("http_proxy", PROXY),
    ("https_proxy", PROXY),
    ("HTTP_PROXY", PROXY),
    ("HTTPS_PROXY", PROXY),
    ("no_proxy", "localhost,127.0.0.1,::1"),
    ("NO_PROXY", "localhost,127.0.0.1,::1"),
    // Debian's pip refuses to install beside the distribution's packages; in here nothing can be harmed.
    ("PIP_BREAK_SYSTEM_PACKAGES", "1"),
    ("PIP_ROOT_USER_ACTION", "ignore"),
];
/// The agent's egress proxy, the only way out of the machine's network.
const PROXY: &str = "http://127.0.0.1:3128";

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

/// The agent as a machine's first process.
pub fn agent_command() -> Vec<String> {
    [plan::AGENT_PATH, "serve", "--egress-proxy"].map(str::to_owned).to_vec()
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
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
    /// Read while something may refer to a layer that no meta file names yet, written while unused ones go.
    layers_in_use: RwLock<()>,
}

/// One machine: `gate` lets one operation at a time change it, `running` can be looked at any time.
#[derive(Default)]
struct Slot {
    gate: tokio::sync::Mutex<()>,
    running: Mutex<Option<Arc<Live>>>,
}

/// A machine's processes and whether they stand still.
struct Live {
    running: Running,
    frozen: std::sync::atomic::AtomicBool,
}

impl Slot {
    fn live(&self) -> Option<Arc<Live>> {
        let live = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        live.filter(|live| live.running.is_alive())
    }

    fn put(&self, live: Option<Live>) -> Option<Arc<Live>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *running, live.map(Arc::new))
    }
}

impl Live {
    fn is_frozen(&self) -> bool {
        self.frozen.load(std::sync::atomic::Ordering::Acquire)
    }

    fn freeze(&self) -> Result<(), MachineError> {
        let outcome = if self.running.group.can_freeze() {
            self.running.group.freeze()
        } else {
            freeze::stop(self.running.pid)
        };
        outcome.map_err(|e| host(format!("freezing: {e}")))?;
        self.frozen.store(true, std::sync::atomic::Ordering::Release);
        Ok(())
    }

    fn thaw(&self) -> Result<(), MachineError> {
        let outcome = if self.running.group.can_freeze() {
            self.running.group.thaw()
        } else {
            freeze::resume(self.running.pid)
        };
        outcome.map_err(|e| host(format!("thawing: {e}")))?;
        self.frozen.store(false, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

impl NamespaceHost {
    /// Prepares the data directory and removes what an interrupted run left. It does not need namespaces to
    /// work: [`Self::probe`] finds that out.
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
            slots: Mutex::default(),
            layers_in_use: RwLock::new(()),
        };
        Ok((this, leftovers))
    }

    fn slot(&self, id: Uuid) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(id).or_default().clone()
    }

    fn machine(&self, id: Uuid) -> Result<MachineMeta, MachineError> {
        let meta = self.layout.read_machine(id).map_err(|e| host(e.to_string()))?;
        meta.ok_or(MachineError::NotFound(id))
    }

    fn snapshot_meta(&self, id: Uuid) -> Result<SnapshotMeta, MachineError> {
        let meta = self.layout.read_snapshot(id).map_err(|e| host(e.to_string()))?;
        meta.ok_or(MachineError::NotFound(id))
    }

    /// What the machine's files start from.
    fn chain(&self, base: &Base) -> Result<Vec<u32>, MachineError> {
        match base {
            Base::Snapshot(id) => Ok(self.snapshot_meta(*id)?.chain),
            Base::Template(id) => match doctor::readiness(id) {
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
        slot.put(Some(Live { running, frozen: false.into() }));
        Ok(Started { stream: Box::new(stream), enforced })
    }

    fn plan(&self, id: Uuid, meta: &MachineMeta, init: Vec<String>) -> Plan {
        let mut env: BTreeMap<String, String> =
            ENVIRONMENT.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        env.extend(meta.env.clone());
        Plan {
            layers: self.layout.layers(),
            mount_point: Layout::mount_point(id),
            top: Layout::top(id, meta.top),
            chain: meta.chain.clone(),
            skeleton: self.skeleton.clone(),
            agent: self.agent.clone(),
            init,
            env,
            hostname: meta.hostname.clone(),
            ids: self.ids,
            cgroup: plan::Membership::default(),
            process_limit: None,
            shm_mb: (meta.shape.memory_mb / 2).max(64),
        }
    }

    async fn end(slot: &Slot) -> Result<(), MachineError> {
        match slot.put(None) {
            Some(live) => blocking(move || live.running.end().map_err(host)).await,
            None => Ok(()),
        }
    }

    async fn create_with(
        &self,
        spec: &MachineSpec,
        init: Vec<String>,
    ) -> Result<Started, MachineError> {
        let slot = self.slot(spec.id);
        let _gate = slot.gate.lock().await;
        let _layers = self.layers_in_use.read().await;
        if self.layout.read_machine(spec.id).map_err(|e| host(e.to_string()))?.is_some() {
            return Err(host(format!("machine {} exists", spec.id)));
        }
        let meta = MachineMeta {
            operation: spec.operation,
            hostname: spec.hostname.clone(),
            env: spec.env.clone(),
            shape: spec.shape,
            chain: self.chain(&spec.base)?,
            top: 0,
        };
        let (layout, id, record) = (self.layout.clone(), spec.id, meta.clone());
        let made =
            blocking(move || layout.add_machine(id, &record).map_err(|e| host(e.to_string())))
                .await;
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
        if let Some(path) = self.layout.discard_machine(id).map_err(|e| host(e.to_string()))? {
            self.copier.delete(&path).await?;
        }
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    /// Copies what a machine has written into a new layer.
    async fn seal(&self, id: Uuid, meta: &MachineMeta) -> Result<SnapshotMeta, MachineError> {
        if meta.chain.len() >= DEEPEST {
            return Err(host(format!(
                "snapshots upon snapshots, {DEEPEST} deep: overlayfs takes no more"
            )));
        }
        let (number, layer) =
            self.layout.new_layer().map_err(|e| host(format!("new layer: {e}")))?;
        self.copier.copy(&self.layout.upper(id, meta.top), &layer).await?;
        let size_bytes = self.copier.size(&layer).await?;
        let chain = [number].into_iter().chain(meta.chain.iter().copied()).collect();
        Ok(SnapshotMeta { chain, size_bytes })
    }

    async fn delete_unused_layers(&self) -> Result<Vec<PathBuf>, MachineError> {
        let discarded = {
            let _nobody = self.layers_in_use.write().await;
            let layout = self.layout.clone();
            blocking(move || layout.discard_unused_layers().map_err(|e| host(e.to_string())))
                .await?
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

impl Plan {
    /// The plan with the groups that were made for it.
    fn within(mut self, group: &Group, processes: u32) -> Self {
        self.cgroup = group.membership.clone();
        if group.enforced.processes.is_none() {
            self.process_limit = Some(u64::from(processes));
        }
        self
    }
}

#[async_trait]
impl MachineHost for NamespaceHost {
    fn kind(&self) -> HostKind {
        HostKind::Namespace
    }

    async fn notes(&self) -> Vec<Note> {
        doctor::notes(self.ids, &self.trees, self.probe().await)
    }

    async fn template(&self, template: &str) -> TemplateReadiness {
        doctor::readiness(template)
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        self.create_with(spec, self.config.init.clone()).await
    }

    async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let meta = self.machine(id)?;
        if slot.live().is_some() {
            return Err(host(format!("machine {id} is running")));
        }
        // What is left of one that ended by itself: its control groups.
        Self::end(&slot).await?;
        self.launch(id, &slot, &meta, self.config.init.clone()).await
    }

    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        self.machine(id)?;
        Err(MachineError::AgentUnreachable(
            "a namespace machine ends with its emulator: start it".to_owned(),
        ))
    }

    async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        self.machine(id)?;
        let live = slot.live().ok_or_else(|| not_running(id))?;
        blocking(move || live.freeze()).await
    }

    async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        self.machine(id)?;
        let live = slot.live().ok_or_else(|| not_running(id))?;
        blocking(move || live.thaw()).await
    }

    async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        self.machine(id)?;
        Self::end(&slot).await
    }

    async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        let slot = self.slot(id);
        let gate = slot.gate.lock().await;
        Self::end(&slot).await?;
        let had_layers =
            self.layout.read_machine(id).ok().flatten().is_some_and(|m| !m.chain.is_empty());
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
        let meta = self.machine(id)?;
        if self.layout.read_snapshot(snapshot).map_err(|e| host(e.to_string()))?.is_some() {
            return Err(host(format!("snapshot {snapshot} exists")));
        }
        let thaw = match slot.live() {
            Some(live) if !live.is_frozen() => {
                let frozen = live.clone();
                blocking(move || frozen.freeze()).await?;
                Some(Thaw(live))
            }
            _ => None,
        };
        let sealed = self.seal(id, &meta).await;
        drop(thaw);
        let sealed = sealed?;
        let (layout, record) = (self.layout.clone(), sealed.clone());
        blocking(move || {
            files::settle(&layout.layers())
                .map_err(|e| host(format!("writing the layer out: {e}")))?;
            layout.write_snapshot(snapshot, &record).map_err(|e| host(e.to_string()))
        })
        .await?;
        Ok(Sealed { size_bytes: sealed.size_bytes })
    }

    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
        let slot = self.slot(id);
        let _gate = slot.gate.lock().await;
        let before = self.machine(id)?;
        {
            let _layers = self.layers_in_use.read().await;
            let chain = self.snapshot_meta(snapshot)?.chain;
            Self::end(&slot).await?;
            let after = MachineMeta { chain, top: before.top + 1, ..before.clone() };
            let layout = self.layout.clone();
            blocking(move || {
                // The meta file is the moment of the change: before it the old top counts, after it the new one.
                layout.add_top(id, after.top).map_err(|e| host(e.to_string()))?;
                layout.write_machine(id, &after).map_err(|e| host(e.to_string()))
            })
            .await?;
        }
        let meta = self.machine(id)?;
        let started = self.launch(id, &slot, &meta, self.config.init.clone()).await;
        let old = self.layout.discard_top(id, before.top).map_err(|e| host(e.to_string()))?;
        if let Some(old) = old {
            self.copier.delete_later(old);
        }
        started
    }

    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        if let Some(path) =
            self.layout.discard_snapshot(snapshot).map_err(|e| host(e.to_string()))?
        {
            self.copier.delete(&path).await?;
        }
        self.delete_unused_layers().await.map(drop)
    }

    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        let layout = self.layout.clone();
        let machines = blocking(move || layout.machines().map_err(|e| host(e.to_string()))).await?;
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
        let layout = self.layout.clone();
        let snapshots =
            blocking(move || layout.snapshots().map_err(|e| host(e.to_string()))).await?;
        Ok(snapshots.into_iter().map(|(id, _)| id).collect())
    }

    async fn prune(&self) -> Result<Pruned, MachineError> {
        let removed = self.delete_unused_layers().await?;
        let text = removed.iter().map(|_| "a sealed layer that nothing uses".to_owned());
        Ok(Pruned { removed: text.collect(), bytes: None })
    }
}

/// Thaws what was frozen for a moment, also when the caller goes away in between.
struct Thaw(Arc<Live>);

impl Drop for Thaw {
    fn drop(&mut self) {
        if let Err(error) = self.0.thaw() {
            tracing::error!(%error, "a machine stays frozen");
        }
    }
}

/// A name for the control groups of this data directory.
fn owner(layout: &Layout) -> std::io::Result<String> {
    use sha2::{Digest, Sha256};
    let path = std::fs::canonicalize(layout.layers())?;
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("miosa-{short}"))
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
