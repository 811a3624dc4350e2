//! The agent's life: its streams, one after the other, until the machine ends.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::egress::Egress;
use crate::machine::{Machine, Options, environment};
use crate::paths::Workspace;
use crate::reaper::Reaper;
use crate::user::Defaults;
use crate::{routes, stdio};

/// The variable with the secret of [`SECRET_BYTES`] bytes in hex.
pub const SECRET: &str = "MIOSA_AGENT_SECRET";
const SECRET_BYTES: usize = 32;

/// How long a peer of the socket may take to say the secret.
const SECRET_TIME: Duration = Duration::from_secs(5);

/// What processes get between TERM and KILL when the emulator is gone.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);

/// What processes get when the agent itself is told to end (`docker stop`).
const TERM_GRACE: Duration = Duration::from_secs(2);

/// Three for each stream.
const MAX_FILES: u64 = 32 * 1024;

/// Removing a directory takes a descriptor and some stack for each level: the descriptors must run out first.
const BLOCKING_STACK: usize = 32 * 1024 * 1024;

const STREAM_WINDOW: u32 = 256 * 1024;
/// A thousand stalled streams must not hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 1024;
const MAX_STREAMS: u32 = 10_000;
/// Long paths travel in headers, percent-encoded.
const MAX_HEADERS: u32 = 64 * 1024;

/// Serves until the machine ends.
pub fn run(options: Options) -> io::Result<()> {
    let _ = prctl::set_dumpable(false);
    let _ = prctl::set_child_subreaper(true);
    crate::raw::drop_capabilities();
    crate::raw::close_the_rest_on_exec();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let _ = nix::unistd::setsid();
    let secret = if options.linger { Some(secret()?) } else { None };
    let files = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Every stream may hold a few descriptors. Commands get the limit as it was.
    let raised = files.1.min(MAX_FILES);
    let _ = setrlimit(Resource::RLIMIT_NOFILE, raised.max(files.0), files.1);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .thread_stack_size(BLOCKING_STACK)
        .build()?
        .block_on(live(options, secret, files))?;
    // Threads that wait for a disk or a peer must not hold up the end.
    std::process::exit(0);
}

fn secret() -> io::Result<[u8; SECRET_BYTES]> {
    let wrong = || io::Error::other(format!("--linger needs 32 bytes in hex in {SECRET}"));
    let hex = std::env::var(SECRET).map_err(|_| wrong())?;
    let mut secret = [0; SECRET_BYTES];
    if hex.len() != 2 * SECRET_BYTES || !hex.is_ascii() {
        return Err(wrong());
    }
    for (byte, digits) in secret.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(secret)
}

/// The abstract address of a name: it is the agent's for as long as the agent lives, nobody can replace it.
pub fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

async fn live(
    options: Options,
    secret: Option<[u8; SECRET_BYTES]>,
    files: (u64, u64),
) -> io::Result<()> {
    // All that can fail for a wrong option fails before standard error goes away.
    let egress =
        if options.egress_proxy { Some(Egress::listen(options.egress_port).await?) } else { None };
    let socket = match secret {
        Some(_) => {
            let listener = StdListener::bind_addr(&address(&options.socket)?)?;
            listener.set_nonblocking(true)?;
            Some(UnixListener::from_std(listener)?)
        }
        None => None,
    };
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let streams = stdio::take()?;
    stdio::silence()?;

    let workspace = Workspace::new(options.workspace.clone());
    let (shutdown, mut shut) = watch::channel(None);
    let defaults = Defaults::of_environment();
    defaults.settle(&workspace);
    let machine = Arc::new(Machine {
        started: Instant::now(),
        env: environment(&workspace),
        changed: Mutex::default(),
        workspace,
        defaults,
        files,
        reaper: Arc::new(Reaper::default()),
        egress,
        jobs: crate::jobs::Table::default(),
        group_only: options.group_only,
        bridge: AtomicI32::new(0),
        stopped_before: std::sync::Mutex::default(),
        shutdown,
    });
    let reaper = machine.reaper.clone();
    let reaping = tokio::spawn(async move { reaper.run().await });
    let proxying = tokio::spawn({
        let machine = machine.clone();
        async move {
            if let Some(egress) = &machine.egress {
                egress.run().await;
            }
        }
    });

    let (ended, mut ends) = mpsc::channel::<()>(1);
    let first = first_stream(&machine, streams, ended)?;
    let accepting = tokio::spawn(accept(machine.clone(), socket, secret, first.clone()));
    let grace = tokio::select! {
        _ = ends.recv(), if !options.linger => ORPHAN_GRACE,
        _ = asked_to_end.recv() => TERM_GRACE,
        _ = shut.changed() => shut.borrow().unwrap_or(ORPHAN_GRACE),
    };
    machine.end_processes(grace).await;
    // The answer to the request that asked for this leaves first.
    tokio::time::sleep(Duration::from_millis(10)).await;
    first.abort();
    accepting.abort();
    proxying.abort();
    reaping.abort();
    Ok(())
}

/// Serves standard input and output; dropping `ended` is how its end is told.
fn first_stream(
    machine: &Arc<Machine>,
    streams: (OwnedFd, OwnedFd),
    ended: mpsc::Sender<()>,
) -> io::Result<AbortHandle> {
    let stream = stdio::join(streams)?;
    let machine = machine.clone();
    let serving = tokio::spawn(async move {
        serve(machine, stream).await;
        drop(ended);
    });
    Ok(serving.abort_handle())
}

/// Takes streams from the socket; a newer one that knows the secret closes the one before.
async fn accept(
    machine: Arc<Machine>,
    socket: Option<UnixListener>,
    secret: Option<[u8; SECRET_BYTES]>,
    mut current: AbortHandle,
) {
    let (Some(socket), Some(secret)) = (socket, secret) else { return };
    let (proven, mut known) = mpsc::channel::<UnixStream>(1);
    loop {
        tokio::select! {
            accepted = socket.accept() => {
                let Ok((peer, _)) = accepted else {
                    // Out of descriptors: others will be closed.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let proven = proven.clone();
                // Ends by itself: within the time for a secret.
                tokio::spawn(async move {
                    if let Some(peer) = prove(peer, secret).await {
                        let _ = proven.send(peer).await;
                    }
                });
            }
            Some(peer) = known.recv() => {
                current.abort();
                let pid = peer.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
                machine.bridge.store(pid, Ordering::Relaxed);
                current = tokio::spawn(serve(machine.clone(), peer)).abort_handle();
            }
        }
    }
}

/// The peer, if it knows the secret.
async fn prove(mut peer: UnixStream, secret: [u8; SECRET_BYTES]) -> Option<UnixStream> {
    let mut said = [0; SECRET_BYTES];
    tokio::time::timeout(SECRET_TIME, peer.read_exact(&mut said)).await.ok()?.ok()?;
    // Every byte is looked at, so that the time tells nothing.
    let differ = said.iter().zip(&secret).fold(0, |sum, (a, b)| sum | (a ^ b));
    (std::hint::black_box(differ) == 0).then_some(peer)
}

async fn serve(
    machine: Arc<Machine>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) {
    let service = service_fn(move |request| {
        let machine = machine.clone();
        async move { Ok::<_, std::convert::Infallible>(routes::answer(machine, request).await) }
    });
    // The peer is the emulator alone, so the bounds against a flood of resets only get in the way.
    let _ = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(64 * 1024)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .max_local_error_reset_streams(None)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
