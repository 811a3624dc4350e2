//! An emulator in this process.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miosa_emulator::api::platform;
use miosa_emulator::app::{App, Config};
use miosa_emulator::machines::Machines;
use miosa_emulator::machines::agent::ELF;
use miosa_emulator::machines::host::HostMachines;
use miosa_emulator::machines::namespace::{
    NamespaceConfig, NamespaceHost, PROCESSES, agent_command,
};
use miosa_emulator::store::Store;
use miosa_emulator::{lifecycle, proxy, server};
use tokio::net::TcpListener;

/// A running emulator. It ends with the value; its data go with it.
pub struct Emulator {
    pub address: SocketAddr,
    app: App,
    data: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Emulator {
    /// Without machines.
    pub async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::boot(data, Machines::none("a test".to_owned()), configure).await
    }

    /// With machines: namespaces where the emulator's program has been built, else plain processes.
    pub async fn with_machines() -> Self {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().join("machines");
        let machines = match program() {
            Some(program) => {
                let config = NamespaceConfig {
                    data: root,
                    program,
                    agent: ELF,
                    processes: PROCESSES,
                    init: agent_command(),
                };
                Machines::new(Arc::new(NamespaceHost::open(config).await.unwrap()))
            }
            None => Machines::new(Arc::new(HostMachines::open(root).await.unwrap())),
        };
        Self::boot(data, machines, |_| {}).await
    }

    async fn boot(
        data: tempfile::TempDir,
        machines: Machines,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        configure(&mut config);
        let store = Store::open(&data.path().join("state.db")).unwrap();
        let identities = Arc::new(platform::identities::PlatformIdentities::default());
        let app = App::new(config, store, None, machines, identities);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _ = app.listening.set(address);
        platform::prepare(&app).await.map_err(|error| error.log).unwrap();
        proxy::egress::watch(&app);
        lifecycle::reconcile(&app).await.map_err(|error| error.log).unwrap();
        proxy::restore(&app).await.unwrap();
        lifecycle::start(&app);
        let server = tokio::spawn(server::serve(app.clone(), listener));
        Self { address, app, data, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it in order; nothing of its machines stays.
    pub async fn stop(self) {
        self.app.stopping.cancel();
        self.server.await.unwrap();
        lifecycle::shutdown(&self.app, true).await.map_err(|error| error.log).unwrap();
        drop(self.data);
    }
}

/// The emulator's program, beside the one that is tested; it is a namespace's first process.
pub fn program() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_miosa-contract")).with_file_name("miosa-emulator");
    beside.is_file().then_some(beside)
}
