//! What every request needs to know of the machine: its options, its environment, its processes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use miosa_agent::protocol::{Environment, Failure, FailureCode};
use tokio::sync::watch;

use crate::egress::Egress;
use crate::jobs::Table;
use crate::paths::Workspace;
use crate::reaper::Reaper;
use crate::user::Defaults;

/// The command line.
#[derive(Debug)]
pub struct Options {
    pub linger: bool,
    pub egress_proxy: bool,
    pub egress_port: u16,
    pub group_only: bool,
    pub workspace: PathBuf,
    pub socket: String,
}

impl Options {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            linger: false,
            egress_proxy: false,
            egress_port: crate::egress::PORT,
            group_only: false,
            workspace: PathBuf::from(crate::paths::WORKSPACE),
            socket: "miosa-agent".to_owned(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--linger" => options.linger = true,
                "--egress-proxy" => options.egress_proxy = true,
                "--group-only" => options.group_only = true,
                "--workspace" => options.workspace = PathBuf::from(value()?),
                "--egress-port" => {
                    options.egress_port = value()?.parse().map_err(|_| "not a port".to_owned())?;
                }
                "--socket" => options.socket = value()?,
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        if !options.workspace.is_absolute() {
            return Err("--workspace needs an absolute path".to_owned());
        }
        Ok(options)
    }
}

/// The machine as its agent sees it.
pub struct Machine {
    pub started: Instant,
    pub workspace: Workspace,
    /// The environment of every command, as the agent was started with it.
    pub env: Vec<(OsString, OsString)>,
    /// What is different by now.
    pub changed: Mutex<Environment>,
    /// Who commands run as, and where, when they do not say.
    pub defaults: Defaults,
    /// The limits of open files (soft, hard) that commands get.
    pub files: (u64, u64),
    pub reaper: Arc<Reaper>,
    pub egress: Option<Egress>,
    pub jobs: Table,
    /// Whether other processes than the machine's are in sight.
    pub group_only: bool,
    /// The process that bridges the current stream, 0 for none: a freeze must not stop it.
    pub bridge: AtomicI32,
    /// While frozen: what had stopped before, so that the thaw does not wake it.
    pub stopped_before: Mutex<Option<HashSet<i32>>>,
    /// Set once: end every process within this grace, then the agent.
    pub shutdown: watch::Sender<Option<Duration>>,
}

impl Machine {
    /// The environment of a command that starts now.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = |name: &OsString| {
            let changes =
                |name: &str| changed.unset.contains(name) || changed.set.contains_key(name);
            !name.to_str().is_some_and(changes)
        };
        let mut env: Vec<_> = self.env.iter().filter(|(name, _)| stays(name)).cloned().collect();
        env.extend(changed.set.iter().map(|(name, value)| (name.into(), value.into())));
        env
    }

    /// Changes the environment of commands that start from now on.
    pub fn change_environment(&self, to: Environment) -> Result<(), Failure> {
        if let Some(name) = to.set.keys().find(|name| name.is_empty() || name.contains('=')) {
            let text = format!("{name:?} cannot be the name of a variable");
            return Err(Failure::new(FailureCode::InvalidRequest, text));
        }
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = to;
        Ok(())
    }
}

/// The variables of the agent that commands get.
pub fn environment(workspace: &Workspace) -> Vec<(OsString, OsString)> {
    let mut env: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| !name.as_bytes().starts_with(b"MIOSA_AGENT_"))
        .collect();
    let mut default = |name: &str, value: OsString| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.into(), value));
        }
    };
    default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    let root = nix::unistd::geteuid().is_root();
    default("HOME", if root { "/root".into() } else { workspace.root().into() });
    default("LANG", "C.UTF-8".into());
    env
}
