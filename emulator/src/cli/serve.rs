//! `serve`: puts the parts together, says when it is ready, and takes everything down again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::hosts::{self, MachineChoice};
use super::log::LogFormat;
use super::{Failure, listen, log, port_holder, stop};
use crate::api::platform;
use crate::app::{App, Config};
use crate::http::ApiError;
use crate::http::auth::{self, AuthMode};
use crate::http::exchange::Envelope;
use crate::http::host_check::Allowed;
use crate::http::rate_limit::RateLimit;
use crate::store::lock::DataLock;
use crate::store::{Store, StoreError};
use crate::{lifecycle, proxy, server};

/// Flags of `serve`; each has an environment variable.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port; port 0 takes a free one
    #[arg(
        long,
        env = "MIOSA_EMULATOR_LISTEN",
        default_value = "127.0.0.1:4010",
        value_name = "ADDR:PORT",
        value_parser = listen::address
    )]
    listen: SocketAddr,

    /// Where state lives; if not said, $XDG_DATA_HOME/miosa-emulator, else ~/.local/share/miosa-emulator
    #[arg(long, env = "MIOSA_EMULATOR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Keep nothing: a fresh directory that is removed at the end, sandboxes included
    #[arg(long, env = "MIOSA_EMULATOR_EPHEMERAL", value_parser = BoolishValueParser::new())]
    ephemeral: bool,

    /// Make ids and the clock's start reproducible (needs --ephemeral)
    #[arg(long, env = "MIOSA_EMULATOR_SEED", value_name = "N")]
    seed: Option<u64>,

    #[command(flatten)]
    machines: MachineChoice,

    /// Which credentials pass; if not said, `open`, and on loopback only
    #[arg(long, env = "MIOSA_EMULATOR_AUTH", value_name = "MODE")]
    auth: Option<AuthMode>,

    /// With --auth strict: the key that passes though it was not minted, to mint the others with
    #[arg(long, env = "MIOSA_EMULATOR_ROOT_KEY", hide_env_values = true, value_name = "KEY")]
    root_key: Option<String>,

    /// Take over unknown tenant, workspace and project ids as asked
    #[arg(long, env = "MIOSA_EMULATOR_ADOPT", value_parser = BoolishValueParser::new())]
    adopt: bool,

    /// How envelopes are written
    #[arg(
        long,
        env = "MIOSA_EMULATOR_ENVELOPE",
        value_enum,
        default_value = "superset",
        value_name = "FORM"
    )]
    envelope: Envelope,

    /// Requests a minute per workspace: off, observe, or a number
    #[arg(long, env = "MIOSA_EMULATOR_RATE_LIMIT", default_value = "300", value_name = "LIMIT")]
    rate_limit: RateLimit,

    /// A host name beside localhost under which the API may be called
    #[arg(long, env = "MIOSA_EMULATOR_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    allow_host: Vec<String>,

    /// An origin whose pages may call the API (turns on CORS for it)
    #[arg(long, env = "MIOSA_EMULATOR_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    allow_origin: Vec<String>,

    /// How clients reach the emulator, when that is not what their Host header says
    #[arg(long, env = "MIOSA_EMULATOR_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,

    /// Seed this fault, to see whether the contract suite finds it; `defects` lists them
    #[cfg(feature = "defects")]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "NAME")]
    defect: Option<crate::defects::catalogue::Defect>,

    /// How the log is written (to standard error)
    #[arg(
        long,
        env = "MIOSA_EMULATOR_LOG_FORMAT",
        value_enum,
        default_value = "text",
        value_name = "FORM"
    )]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, env = "MIOSA_EMULATOR_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.check()?;
        #[cfg(feature = "defects")]
        self.defect.into_iter().for_each(crate::defects::choose);
        log::start(&self.log, self.log_format)?;
        super::wait_for(self.serve())
    }

    /// What the flags mean together. Not left to the parser: to it a variable that says `false` is present.
    fn check(&self) -> Result<(), Failure> {
        if self.ephemeral && self.data.is_some() {
            return Err(Failure::usage(
                "--ephemeral keeps nothing and --data says where to keep it: use one of them",
            ));
        }
        if self.seed.is_some() && !self.ephemeral {
            return Err(Failure::usage(
                "--seed needs --ephemeral: on kept state a second start would hand out the same ids again",
            ));
        }
        if self.root_key.as_deref().is_some_and(|key| !auth::is_key(key)) {
            return Err(Failure::usage(
                "--root-key must be msk_ and at least one visible character; no other credential is read as a key",
            ));
        }
        if self.beyond() && self.auth.is_none() {
            return Err(Failure::usage(format!(
                "{} can be reached from other computers, and any key plus exec is code execution. Add --auth strict, \
                 or --auth open if you mean it.",
                self.listen
            )));
        }
        Ok(())
    }

    /// Whether other computers can reach it.
    fn beyond(&self) -> bool {
        !self.listen.ip().is_loopback()
    }

    async fn serve(self) -> Result<(), Failure> {
        let stopping = stop::on_signal()?;
        let (listener, address) = self.bind().await?;
        let (data, ephemeral) = self.data_directory()?;
        let _lock = DataLock::take(&data).map_err(|error| Failure::data(error.to_string()))?;
        let (app, kind) = tokio::select! {
            prepared = self.prepare(&data, address) => prepared?,
            // Nothing has been promised to anyone yet; what was begun is settled by the next start.
            () = stopping.cancelled() => return Ok(()),
        };
        if self.auth == Some(AuthMode::Strict) && self.ephemeral && self.root_key.is_none() {
            tracing::warn!(
                "--auth strict with nothing kept and no --root-key: there is no key that could pass"
            );
        }
        follow(&app, stopping);
        lifecycle::start(&app);
        ready(address, kind, &data, ephemeral.is_some(), app.config.auth);
        server::serve(app.clone(), listener).await;
        stop::end(&app, ephemeral.is_some()).await;
        drop(app);
        if let Some(dir) = ephemeral {
            dir.close().map_err(|error| Failure::failed(format!("{}: {error}", data.display())))?;
        }
        Ok(())
    }

    async fn bind(&self) -> Result<(TcpListener, SocketAddr), Failure> {
        let bound = TcpListener::bind(self.listen).await.and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        bound.map_err(|error| {
            if error.kind() != std::io::ErrorKind::AddrInUse {
                return Failure::port(format!("cannot listen on {}: {error}", self.listen));
            }
            let port = self.listen.port();
            let holder = port_holder::describe(port).unwrap_or_else(|| "another program".into());
            Failure::port(format!(
                "port {port} is taken by {holder}. Stop it, or use --listen 127.0.0.1:0 for a free port."
            ))
        })
    }

    /// The parts, put together; what an earlier run has left is settled.
    async fn prepare(
        &self,
        data: &Path,
        address: SocketAddr,
    ) -> Result<(App, &'static str), Failure> {
        let store = Store::open(&data.join("state.db"))
            .map_err(|error| Failure::data(error.to_string()))?;
        let owner = owner_of(&store).await.map_err(|error| Failure::data(error.to_string()))?;
        let machines = hosts::choose(&self.machines, data, &owner).await?;
        let kind = machines.host().map_or("none", |host| hosts::name(host.kind()));
        let config = Config {
            data: data.to_owned(),
            envelope: self.envelope,
            auth: self.auth.unwrap_or_default(),
            root_key: self.root_key.as_deref().map(crate::ids::fingerprint),
            adopt: self.adopt,
            rate_limit: self.rate_limit,
            allowed: Allowed {
                hosts: self.allow_host.clone(),
                origins: self.allow_origin.clone(),
                addresses: self.beyond(),
            },
            public_url: self.public_url.clone(),
            ..Config::default()
        };
        let identities = Arc::new(platform::identities::PlatformIdentities::default());
        let app = App::new(config, store, self.seed, machines, identities);
        let _ = app.listening.set(address);
        let prepared: Result<(), ApiError> = async {
            platform::prepare(&app).await?;
            // Before the first machine starts or is taken back: each gets its way out.
            proxy::egress::watch(&app);
            lifecycle::reconcile(&app).await?;
            proxy::restore(&app).await.map_err(ApiError::from)
        }
        .await;
        prepared.map_err(|error| Failure::data(error.log.unwrap_or(error.message)))?;
        Ok((app, kind))
    }

    fn data_directory(&self) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
        if self.ephemeral {
            let dir = tempfile::Builder::new()
                .prefix("miosa-emulator-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o711))
                .tempdir()
                .map_err(|error| Failure::data(error.to_string()))?;
            return Ok((dir.path().to_owned(), Some(dir)));
        }
        hosts::data_directory(self.data.as_ref()).map(|dir| (dir, None))
    }
}

/// The data directory's own id: containers carry it, so that a reaper never touches a neighbour's.
pub(super) async fn owner_of(store: &Store) -> Result<String, StoreError> {
    store.write(|tx| tx.setting_or("data_id", || uuid::Uuid::new_v4().to_string())).await
}

/// The emulator stops when a signal has come.
fn follow(app: &App, stopping: CancellationToken) {
    let of_app = app.stopping.clone();
    app.tasks.spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => of_app.cancel(),
            () = of_app.cancelled() => {}
        }
    });
}

/// One line on standard output for programs, some on standard error for people.
fn ready(address: SocketAddr, machines: &str, data: &Path, ephemeral: bool, auth: AuthMode) {
    // Where only minted keys pass, an invented one would be wrong advice.
    let key = if auth == AuthMode::Strict { "<a minted key>" } else { "msk_live_local" };
    let host = listen::host(&address.to_string());
    let url = format!("http://{host}/api/v1");
    let line = json!({
        "ready": true, "url": url, "listen": address.to_string(), "machines": machines,
        "data": data, "ephemeral": ephemeral, "pid": std::process::id(),
    });
    if let Err(failure) = super::say(line) {
        tracing::warn!("the ready line could not be written: {}", failure.message);
    }
    tracing::info!("MIOSA API at {url} (machines: {machines}). Point an SDK at it:");
    tracing::info!("  export MIOSA_BASE_URL={url} MIOSA_API_KEY={key}");
}
