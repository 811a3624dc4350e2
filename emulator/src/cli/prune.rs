//! `prune`: gives back what nothing uses any more.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::hosts::{self, MachineChoice};
use crate::store::Store;
use crate::store::lock::DataLock;

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The data directory
    #[arg(long, env = "MIOSA_EMULATOR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    machines: MachineChoice,
}

impl Prune {
    pub(super) fn run(self) -> Result<(), Failure> {
        super::wait_for(async {
            let data = hosts::data_directory(self.data.as_ref())?;
            // A running emulator may be about to use what looks unused.
            let _lock = DataLock::take(&data).map_err(|error| Failure::data(error.to_string()))?;
            let store = Store::open(&data.join("state.db"))
                .map_err(|error| Failure::data(error.to_string()))?;
            let owner = super::serve::owner_of(&store)
                .await
                .map_err(|error| Failure::data(error.to_string()))?;
            let machines = hosts::choose(&self.machines, &data, &owner).await?;
            if machines.host().is_none() {
                return super::say("0 removed: there are no machines here");
            }
            let pruned =
                machines.prune().await.map_err(|error| Failure::failed(error.to_string()))?;
            for thing in &pruned.removed {
                super::say(format_args!("removed {thing}"))?;
            }
            let things = pruned.removed.len();
            match pruned.bytes {
                Some(bytes) => {
                    let megabytes = bytes as f64 / 1e6;
                    super::say(format_args!("{things} removed, {megabytes:.1} MB given back"))
                }
                None => super::say(format_args!("{things} removed")),
            }
        })
    }
}
