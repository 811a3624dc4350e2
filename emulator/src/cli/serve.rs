//! `serve`: puts the parts together, says when it is ready, and takes everything down again.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::hosts::{self, MachineChoice};
use super::{Failure, port_holder};
use crate::api::platform;
use crate::app::{App, Config};
use crate::http::ApiError;
use crate::http::auth::AuthMode;
use crate::http::exchange::Envelope;
use crate::http::host_check::Allowed;
use crate::http::rate_limit::RateLimit;
use crate::store::lock::DataLock;
use crate::store::{Store, StoreError};
use crate::{lifecycle, proxy, server};

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Flags of `serve`; each has an environment variable.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port; port 0 takes a free one
    #[arg(
        long,
        env = "MIOSA_EMULATOR_LISTEN",
        default_value = "127.0.0.1:4010",
        value_name = "ADDR:PORT"
    )]
    listen: SocketAddr,

    /// Where state lives [default: $XDG_DATA_HOME/miosa-emulator, else ~/.local/share/miosa-emulator]
    #[arg(long, env = "MIOSA_EMULATOR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Keep nothing: a fresh directory that is removed at the end, sandboxes included
    #[arg(long, env = "MIOSA_EMULATOR_EPHEMERAL", conflicts_with = "data")]
    ephemeral: bool,

    /// Make ids and the clock's start reproducible (needs --ephemeral)
    #[arg(long, env = "MIOSA_EMULATOR_SEED", value_name = "N", requires = "ephemeral")]
    seed: Option<u64>,

    #[command(flatten)]
    machines: MachineChoice,

    /// Which credentials pass: any msk_ key, any but flagged in the journal, or only minted ones [default: open]
    #[arg(long, env = "MIOSA_EMULATOR_AUTH", value_name = "MODE")]
    auth: Option<AuthMode>,

    /// Take over unknown tenant, workspace and project ids as asked
    #[arg(long, env = "MIOSA_EMULATOR_ADOPT")]
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
        self.start_log()?;
        let beyond = !self.listen.ip().is_loopback();
        if beyond && self.auth.is_none() {
            return Err(Failure::usage(format!(
                "{} can be reached from other computers, and any key plus exec is code execution. Add --auth strict, \
                 or --auth open if you mean it.",
                self.listen
            )));
        }
        super::runtime()?.block_on(self.serve(beyond))
    }

    fn start_log(&self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|error| Failure::usage(format!("--log {}: {error}", self.log)))?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_target(false);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
        Ok(())
    }

    async fn serve(self, beyond: bool) -> Result<(), Failure> {
        let listener = match TcpListener::bind(self.listen).await {
            Ok(listener) => listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let holder = port_holder::describe(self.listen.port())
                    .unwrap_or_else(|| "another program".into());
                return Err(Failure::port(format!(
                    "port {} is taken by {holder}. Stop it, or use --listen 127.0.0.1:0 for a free port.",
                    self.listen.port()
                )));
            }
            Err(error) => {
                return Err(Failure::port(format!("cannot listen on {}: {error}", self.listen)));
            }
        };
        let address = listener.local_addr().map_err(|error| Failure::port(error.to_string()))?;
        let (data, ephemeral) = self.data_directory()?;
        let _lock = DataLock::take(&data).map_err(|error| Failure::data(error.to_string()))?;
        let store = Store::open(&data.join("state.db"))
            .map_err(|error| Failure::data(error.to_string()))?;
        let owner = owner_of(&store).await.map_err(|error| Failure::data(error.to_string()))?;
        let machines = hosts::choose(&self.machines, &data, &owner).await?;
        let kind = machines.host().map_or("none", |host| hosts::name(host.kind()));
        let config = Config {
            data: data.clone(),
            envelope: self.envelope,
            auth: self.auth.unwrap_or_default(),
            adopt: self.adopt,
            rate_limit: self.rate_limit,
            allowed: Allowed {
                hosts: self.allow_host,
                origins: self.allow_origin,
                addresses: beyond,
            },
            public_url: self.public_url,
            ..Config::default()
        };
        let app = App::new(
            config,
            store,
            self.seed,
            machines,
            Arc::new(platform::identities::PlatformIdentities::default()),
        );
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
        lifecycle::start(&app);
        stop_on_signal(&app)?;
        ready(address, kind, &data, ephemeral.is_some())?;
        server::serve(app.clone(), listener).await;
        if let Err(error) = lifecycle::shutdown(&app, ephemeral.is_some()).await {
            tracing::error!("at the end: {}", error.log.unwrap_or(error.message));
        }
        app.machines.settle().await;
        app.tasks.close();
        if tokio::time::timeout(Duration::from_secs(10), app.tasks.wait()).await.is_err() {
            tracing::warn!("{} tasks were cut at the end", app.tasks.len());
        }
        drop(app);
        if let Some(dir) = ephemeral {
            dir.close().map_err(|error| Failure::failed(format!("{}: {error}", data.display())))?;
        }
        Ok(())
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

fn stop_on_signal(app: &App) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals: {error}")));
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stopping = app.stopping.clone();
    app.tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("interrupt: stopping"),
            () = stopping.cancelled() => {}
        }
        stopping.cancel();
    });
    Ok(())
}

/// One line on standard output for programs, some on standard error for people.
fn ready(
    address: SocketAddr,
    machines: &str,
    data: &std::path::Path,
    ephemeral: bool,
) -> Result<(), Failure> {
    let host = if address.ip().is_unspecified() {
        format!("127.0.0.1:{}", address.port())
    } else {
        address.to_string()
    };
    let url = format!("http://{host}/api/v1");
    let line = json!({
        "ready": true, "url": url, "listen": address.to_string(), "machines": machines,
        "data": data, "ephemeral": ephemeral, "pid": std::process::id(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(error.to_string()))?;
    tracing::info!("MIOSA API at {url} (machines: {machines}). Point an SDK at it:");
    tracing::info!("  export MIOSA_BASE_URL={url} MIOSA_API_KEY=msk_live_local");
    Ok(())
}
