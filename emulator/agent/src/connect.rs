//! The bridge to a lingering agent: what `docker exec` runs after the emulator came back.

use std::io;
use std::os::unix::net::UnixStream as StdStream;

use nix::sys::prctl;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Options;
use crate::{serve, stdio};

/// Bridges until either side ends. The secret is the first thing that comes through.
pub fn run(options: &Options) -> io::Result<()> {
    // First of all: the environment that `docker exec` gave may hold the secret.
    let _ = prctl::set_dumpable(false);
    crate::raw::drop_capabilities();
    let agent = StdStream::connect_addr(&serve::address(&options.socket)?)?;
    agent.set_nonblocking(true)?;
    let streams = stdio::take()?;
    stdio::silence()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // A TERM to every process is for the machine's, not for the way to its agent.
        let _deaf = signal(SignalKind::terminate())?;
        let (mut from_outside, mut to_outside) = tokio::io::split(stdio::join(streams)?);
        let (mut from_agent, mut to_agent) = UnixStream::from_std(agent)?.into_split();
        tokio::select! {
            ended = tokio::io::copy(&mut from_outside, &mut to_agent) => ended.map(drop),
            ended = tokio::io::copy(&mut from_agent, &mut to_outside) => ended.map(drop),
        }
    })?;
    std::process::exit(0);
}
