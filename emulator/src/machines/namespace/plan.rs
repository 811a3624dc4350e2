//! What the emulator tells the two stages of a machine's start.
//!
//! The plan crosses process boundaries on a pipe, never in arguments or environment: it carries the machine's
//! environment, and arguments are readable by every user of the computer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::usermap::UserMap;

/// The hidden subcommand under which the emulator's binary runs the stages.
pub const SUBCOMMAND: &str = "__machine";
/// First stage: makes the namespaces, starts the second, stays as its supervisor.
pub const SUPERVISE: &str = "supervise";
/// Second stage: process 1 of the machine until it becomes the agent.
pub const INIT: &str = "init";
/// Runs a program as root of a throw-away user namespace, for files that an ordinary user's machine has made.
pub const AS_ROOT: &str = "as-root";
/// Reads sealed layers.
pub const LOOK: &str = "look";
/// Merges sealed layers.
pub const MERGE: &str = "merge";

/// Where the agent's program lies inside.
pub const AGENT_PATH: &str = "/run/miosa/agent";

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

/// One start of one machine. Paths without a leading slash are relative to `<data>/layers`, the working
/// directory of both stages: overlayfs takes its layers in one page of options, so they must be short.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// `<data>/layers`, absolute.
    pub layers: PathBuf,
    /// The empty directory on which the root is mounted.
    pub mount_point: String,
    /// Holds `upper` and `work`, each with `root` and `usr`.
    pub top: String,
    /// Sealed layers below the top, the newest first.
    pub chain: Vec<u32>,
    /// Holds `root` and `usr`, the lowest layers of our own.
    pub skeleton: String,
    /// Two directories of which overlayfs makes a read-only one: the agent's, and an empty one.
    pub agent: [String; 2],
    /// The first process and its arguments.
    pub init: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// The machine's host name.
    pub hostname: String,
    /// How ids inside map to ids outside.
    pub ids: UserMap,
    /// Control groups to be in.
    pub cgroup: Membership,
    /// Hard limit of processes of one user, for where no control group limits them.
    pub process_limit: Option<u64>,
    /// Size of `/dev/shm` in MiB.
    pub shm_mb: u32,
}

/// Control groups as the supervisor needs them: it takes the machine in and steps out again itself, so that
/// freezing the machine does not freeze the one who must be able to end it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Membership {
    /// `cgroup.procs` files of the machine's groups.
    pub join: Vec<PathBuf>,
    /// `cgroup.procs` files of the groups where the emulator is.
    pub leave: Vec<PathBuf>,
    /// The freezer's file and what thaws it.
    pub thaw: Option<(PathBuf, String)>,
    /// The machine's groups, to be removed after its end.
    pub dirs: Vec<PathBuf>,
}

/// The agent as a machine's first process.
pub fn agent_command() -> Vec<String> {
    [AGENT_PATH, "serve", "--egress-proxy"].map(str::to_owned).to_vec()
}

/// The environment of a machine's commands: ours, then the machine's own.
pub fn environment(own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> =
        ENVIRONMENT.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    env.extend(own.clone());
    env
}

impl Plan {
    /// The plan with the groups that were made for it.
    pub fn within(mut self, group: &Group, processes: u32) -> Self {
        self.cgroup = group.membership.clone();
        if group.enforced.processes.is_none() {
            self.process_limit = Some(u64::from(processes));
        }
        self
    }
}
