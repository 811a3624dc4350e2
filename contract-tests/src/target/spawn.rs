//! An emulator of the run's own: a process on a free port that ends with the run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Address, TargetError};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running emulator.
pub struct Spawned {
    child: Child,
    /// Where it listens.
    pub address: Address,
}

impl Spawned {
    /// Starts one: this program, or the one beside this program, or the one in the path.
    ///
    /// # Errors
    /// When it cannot be found or does not become ready.
    pub async fn start(program: Option<&Path>, extra: &[String]) -> Result<Self, TargetError> {
        let program = program.map_or_else(beside, Path::to_owned);
        let shown = program.display().to_string();
        let unusable = |why: String| TargetError::Unusable(format!("{shown}: {why}"));
        let mut child = Command::new(&program)
            .args(["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--log", "error"])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A Ctrl-C is for this program alone: the emulator must live on until what was made is removed.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                unusable(format!("{error}; `scripts/build` makes it, --emulator says where it is"))
            })?;
        let out = child.stdout.take().ok_or_else(|| unusable("no output".to_owned()))?;
        let mut lines = BufReader::new(out).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .map_err(|_| unusable("not ready within 60 s".to_owned()))?
            .ok()
            .flatten()
            .ok_or_else(|| unusable("it ended before it was ready".to_owned()))?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).map_err(|_| unusable(format!("it said {line:?}")))?;
        let listen = ready["listen"].as_str().unwrap_or_default();
        Ok(Self { address: Address::parse(&format!("http://{listen}"))?, child })
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself; then there is nobody to tell.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn beside() -> PathBuf {
    const NAME: &str = "miosa-emulator";
    let own = std::env::current_exe().ok().map(|own| own.with_file_name(NAME));
    own.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(NAME))
}
