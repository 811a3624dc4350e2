//! Reading sealed layers, and merging them, through a helper that is root over them: the machines of an ordinary user's
//! emulator make files that this user may not read.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use super::layers::{Layout, SnapshotMeta};
use super::{NamespaceHost, host};
use crate::machines::MachineError;
use crate::machines::sealed::union::Layer;
use crate::machines::sealed::{self, Head, Opened, Union, Wanted};

/// What the helper is told on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    layers: PathBuf,
    skeleton: String,
    chain: Vec<u32>,
    first_id: u32,
    wanted: Wanted,
}

impl Order {
    /// The tree that a machine would have: its layers, the skeleton, and below `/usr` the computer's own.
    fn union(&self) -> Union {
        let of = |part: &str| -> Vec<Layer> {
            let numbers = self.chain.iter().map(u32::to_string);
            let names = numbers.chain([self.skeleton.clone()]);
            names.map(|name| Layer::sealed(self.layers.join(name).join(part))).collect()
        };
        let mut usr = of("usr");
        usr.push(Layer { dir: PathBuf::from("/usr"), public: true });
        Union { root: of("root"), mounts: vec![("usr".to_owned(), usr)], first_id: self.first_id }
    }
}

/// The helper.
pub fn serve() -> Result<(), String> {
    let order: Order =
        serde_json::from_reader(io::stdin().lock()).map_err(|error| error.to_string())?;
    let mut out = io::BufWriter::with_capacity(128 * 1024, io::stdout().lock());
    sealed::serve(&order.union(), &order.wanted, &mut out)
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

impl NamespaceHost {
    /// Starts a helper and reads what it says first.
    pub(super) async fn look(
        &self,
        snapshot: &SnapshotMeta,
        wanted: Wanted,
    ) -> Result<(Head, sealed::ByteStream), MachineError> {
        let order = Order {
            layers: self.layout.layers(),
            skeleton: self.skeleton.clone(),
            chain: snapshot.chain.clone(),
            first_id: self.ids.root().0,
            wanted,
        };
        let order = serde_json::to_vec(&order).map_err(|error| host(error.to_string()))?;
        let failed = |error: io::Error| host(format!("looking into a snapshot: {error}"));
        let mut command = self.copier.own(super::plan::LOOK, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(host("a helper without streams".to_owned()));
        };
        stdin.write_all(&order).await.map_err(failed)?;
        drop(stdin);
        let (head, rest) = sealed::receive(tokio::io::BufReader::new(stdout)).await?;
        let bytes = futures_util::stream::unfold(
            Some((Box::pin(sealed::stream_of(rest)), child)),
            |state| async move {
                let (mut bytes, mut child) = state?;
                if let Some(piece) = futures_util::StreamExt::next(&mut bytes).await {
                    return Some((piece, Some((bytes, child))));
                }
                // The end counts only when the helper says that it was one.
                match child.wait().await {
                    Ok(status) if status.success() => None,
                    _ => Some((Err(host("looking into a snapshot broke off".to_owned())), None)),
                }
            },
        );
        Ok((head, Box::pin(bytes)))
    }

    /// See [`MachineHost::open_sealed`](crate::machines::MachineHost::open_sealed).
    pub(super) async fn open_layers(
        &self,
        snapshot: &SnapshotMeta,
        path: &str,
    ) -> Result<Opened, MachineError> {
        let (head, bytes) = self.look(snapshot, Wanted::Content(path.to_owned())).await?;
        Ok(Opened { entry: sealed::content(head)?, bytes })
    }
}

/// The helper that merges: its arguments are where to, and the layers, the lowest first.
pub fn merge(arguments: Vec<std::ffi::OsString>) -> Result<(), String> {
    let paths: Vec<PathBuf> = arguments.into_iter().map(PathBuf::from).collect();
    let (to, layers) = paths.split_first().ok_or("nothing to merge")?;
    super::merge::merge(to, layers).map_err(|error| error.to_string())
}

/// Where layers are, the lowest first.
pub fn lowest_first(layout: &Layout, chain: &[u32]) -> Vec<PathBuf> {
    chain.iter().rev().map(|number| layout.layers().join(number.to_string())).collect()
}
