//! What every handler, layer and background task works with: one cheap handle, made once at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::compute::code::Turns;
use crate::api::compute::sandboxes::activity::Activity;
use crate::api::compute::sandboxes::measures::Measures;
use crate::api::compute::templates::builds::queue::Builds;
use crate::api::compute::templates::builds::run::Bounds;
use crate::api::compute::terminals::registry::Terminals;
use crate::api::platform::egress::gate::Gates;
use crate::clock::Clock;
use crate::http::auth::{AuthMode, Identities};
use crate::http::exchange::Envelope;
use crate::http::host_check::Allowed;
use crate::http::idempotency::InFlight;
use crate::http::journal::Journal;
use crate::http::rate_limit::{DEFAULT_PER_MINUTE, Limiter, RateLimit};
use crate::http::route::RouteTable;
use crate::http::tickets::Tickets;
use crate::ids::Ids;
use crate::machines::Machines;
use crate::proxy::PreviewPorts;
use crate::recorder::Recorder;
use crate::store::Store;

/// What was chosen at start. Read once from flags and environment, then passed down.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where state and machines live.
    pub data: PathBuf,
    /// How envelopes are written.
    pub envelope: Envelope,
    /// How strict credentials are read.
    pub auth: AuthMode,
    /// Fingerprint of the key that passes though it was not minted: with it the first key is minted.
    pub root_key: Option<String>,
    /// Whether unknown tenant, workspace and project ids are taken over as asked.
    pub adopt: bool,
    /// Whether and how requests are limited.
    pub rate_limit: RateLimit,
    /// Which hosts and origins may talk to the API.
    pub allowed: Allowed,
    /// How clients reach the emulator, when that is not what their `Host` says.
    pub public_url: Option<String>,
    /// The journal's caps: entries and bytes.
    pub journal: (usize, usize),
    /// How long the server waits for a client.
    pub patience: Patience,
    /// How many builds of templates run at once, and how long.
    pub builds: Bounds,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            envelope: Envelope::default(),
            auth: AuthMode::default(),
            root_key: None,
            adopt: false,
            rate_limit: RateLimit::PerMinute(DEFAULT_PER_MINUTE),
            allowed: Allowed::default(),
            public_url: None,
            journal: (10_000, 16 * 1024 * 1024),
            patience: Patience::default(),
            builds: Bounds::default(),
        }
    }
}

/// How long the server waits for a client.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request; also how long a connection may stay without one.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// For open requests, at the end.
    pub grace: Duration,
    /// Of a client, with `wait=true`, for the readiness of a sandbox (miosa-go 2.0).
    pub ready: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            ready: Duration::from_secs(30),
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Everything, behind one handle.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What an [`App`] holds.
pub struct Parts {
    /// What was chosen at start.
    pub config: Config,
    /// State.
    pub store: Store,
    /// Policy time.
    pub clock: Clock,
    /// Ids.
    pub ids: Ids,
    /// Machines and their agents.
    pub machines: Machines,
    /// Who is at work in which sandbox.
    pub activity: Activity,
    /// Terminals that are open.
    pub terminals: Terminals,
    /// Whose turn it is in which interpreter.
    pub code: Turns,
    /// What sandboxes used, over time.
    pub measures: Measures,
    /// Builds of templates.
    pub builds: Builds,
    /// Who is this credential.
    pub identities: Arc<dyn Identities>,
    /// Tickets that open streams.
    pub tickets: Tickets,
    /// The journal of requests.
    pub journal: Journal,
    /// Rate-limit counters.
    pub limiter: Limiter,
    /// Idempotency keys under way.
    pub in_flight: InFlight,
    /// Loopback ports of previews.
    pub previews: PreviewPorts,
    /// The table that routes; set once by the router.
    pub routes: OnceLock<RouteTable>,
    /// Where the emulator listens; set once by the server.
    pub listening: OnceLock<SocketAddr>,
    /// Wakes the lifecycle: something became due, or a clock moved.
    pub due: Notify,
    /// Wakes streams of events. The store rings it by itself when a transaction with events has committed.
    pub emitted: Arc<Notify>,
    /// What happens inside machines, on its way to the store.
    pub recorder: Recorder,
    /// Who may reach what from inside a machine.
    pub egress: Gates,
    /// Tasks that outlive their request; the server waits for them at its end.
    pub tasks: TaskTracker,
    /// Cancelled when the emulator stops.
    pub stopping: CancellationToken,
}

impl App {
    /// Puts the parts together.
    pub fn new(
        config: Config,
        store: Store,
        seed: Option<u64>,
        machines: Machines,
        identities: Arc<dyn Identities>,
    ) -> Self {
        let journal = Journal::new(config.journal.0, config.journal.1);
        let emitted = store.emitted();
        Self(Arc::new(Parts {
            config,
            store,
            clock: Clock::new(seed.is_some()),
            ids: Ids::new(seed),
            machines,
            activity: Activity::default(),
            terminals: Terminals::default(),
            code: Turns::default(),
            measures: Measures::default(),
            builds: Builds::default(),
            identities,
            tickets: Tickets::default(),
            journal,
            limiter: Limiter::default(),
            in_flight: InFlight::default(),
            previews: PreviewPorts::default(),
            routes: OnceLock::new(),
            listening: OnceLock::new(),
            due: Notify::new(),
            emitted,
            recorder: Recorder::default(),
            egress: Gates::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }
}
