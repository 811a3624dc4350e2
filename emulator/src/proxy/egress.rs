//! The way out of a machine whose network has only `lo`.
//!
//! The agent's proxy asks; the emulator resolves the name, judges every address that it resolves to, and connects to
//! an address that it has judged: a name that changes its mind in between gains nothing. Never reached: this computer
//! (loopback and every address of its own, so neither its services nor `/_emulator`) and link-local addresses (the
//! metadata services of clouds). Other private addresses are reached, as from any program on this computer. Before that
//! comes what the sandbox's own egress policy says, and after it the record of the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::relay::relay;
use crate::api::platform::egress::gate::Verdict;
use crate::api::platform::egress::{Effect, Host};
use crate::app::App;
use crate::machines::agent::Egress;
use crate::machines::{Agent, HostKind};

/// How many connections of a machine may be taken at the same moment.
const WAITING: usize = 4;
/// How many a machine may have.
const CONNECTIONS: usize = 256;
/// How long a name may take to resolve, and a target to answer.
const REACH: Duration = Duration::from_secs(10);
/// How long one of several addresses may take: the next may answer at once.
const CONNECT: Duration = Duration::from_secs(4);
/// A connection on which nothing moves for this long is given up.
const IDLE: Duration = Duration::from_secs(600);
/// A pause after an agent's failure, so that a broken one is not asked without end.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a machine must not reach an address; `None` when it may.
pub type Judge = fn(IpAddr) -> Option<&'static str>;

/// Serves every namespace machine from the moment its agent is there. Called once at start, before the first machine.
pub fn watch(app: &App) {
    if app.machines.host().is_none_or(|host| host.kind() != HostKind::Namespace) {
        return;
    }
    let mut started = app.machines.started();
    let (watched, stopping) = (app.clone(), app.stopping.clone());
    app.tasks.spawn(async move {
        loop {
            let id = tokio::select! {
                () = stopping.cancelled() => return,
                started = started.recv() => match started {
                    Ok(id) => id,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!("{missed} machines start without a way out");
                        continue;
                    }
                    Err(RecvError::Closed) => return,
                },
            };
            // It may have ended already.
            if let Ok(agent) = watched.machines.agent(id) {
                let warden = Warden { app: watched.clone(), sandbox: id };
                watched.tasks.spawn(serve_under(
                    Some(warden),
                    agent,
                    watched.stopping.clone(),
                    forbidden,
                ));
            }
        }
    });
}

/// Holds a machine to its sandbox's egress policy, and records where it connects to.
struct Warden {
    app: App,
    sandbox: Uuid,
}

impl Drop for Warden {
    /// The last connection of a machine that has ended; if another is left, what applies is read once more.
    fn drop(&mut self) {
        self.app.egress.forget(self.sandbox);
    }
}

/// Makes the connections that a machine asks for until its agent or the emulator ends, whatever its policy.
pub async fn serve(agent: Arc<Agent>, stopping: CancellationToken, judge: Judge) {
    serve_under(None, agent, stopping, judge).await;
}

async fn serve_under(
    warden: Option<Warden>,
    agent: Arc<Agent>,
    stopping: CancellationToken,
    judge: Judge,
) {
    let warden = warden.map(Arc::new);
    let closing = agent.closing();
    let mut waiting = FuturesUnordered::new();
    // Dropped with this future: every connection ends with the machine.
    let mut connections = JoinSet::new();
    loop {
        while waiting.len() < WAITING && waiting.len() + connections.len() < CONNECTIONS {
            waiting.push(agent.accept_egress());
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = stopping.cancelled() => return,
            Some(asked) = waiting.next(), if !waiting.is_empty() => match asked {
                Ok(asked) => drop(connections.spawn(pass(asked, judge, closing.clone(), warden.clone()))),
                Err(error) => {
                    tracing::debug!("an agent takes no connections out: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn pass(asked: Egress, judge: Judge, ended: CancellationToken, warden: Option<Arc<Warden>>) {
    let told = match tokio::time::timeout(REACH, admitted(&asked.target, judge, warden)).await {
        Ok(Ok(outside)) => match asked.accept().await {
            Ok(inside) => {
                relay(inside, outside, IDLE, &ended).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Ok(Err(Unreached::Forbidden(why))) => asked.refuse(&why).await,
        Ok(Err(Unreached::Failed(why))) => asked.fail(&why).await,
        Err(_) => asked.fail("it did not answer in time").await,
    };
    if let Err(error) = told {
        tracing::trace!("a connection out of a machine broke: {error}");
    }
}

/// Connects if the sandbox's policy lets it, and records that it wanted to.
async fn admitted(
    target: &str,
    judge: Judge,
    warden: Option<Arc<Warden>>,
) -> Result<TcpStream, Unreached> {
    let Some(warden) = warden else { return reach(target, judge).await };
    let app = &warden.app;
    let unread = |_| Unreached::Failed("its egress policy cannot be read".to_owned());
    let Some(gate) = app.egress.of(app, warden.sandbox).await.map_err(unread)? else {
        return reach(target, judge).await;
    };
    let (host, port) = Host::of(target);
    let verdict = gate.judge(&host);
    if verdict.stopped {
        gate.record(app, &host, port, verdict, false);
        return Err(Unreached::Forbidden(format!(
            "{host} is denied by the sandbox's egress policy"
        )));
    }
    // The rule that denies an address which the name resolved to.
    let denied = OnceLock::new();
    let reached = reach(target, |address| {
        judge(address).or_else(|| {
            let _ = denied.set(gate.denies(address)?);
            Some("in a network that the sandbox's egress policy denies")
        })
    })
    .await;
    let forbidden = matches!(reached, Err(Unreached::Forbidden(_)));
    let verdict = match denied.get().filter(|_| forbidden) {
        Some(rule) => Verdict { effect: Effect::Deny, stopped: true, rule: Some(*rule) },
        None => verdict,
    };
    gate.record(app, &host, port, verdict, forbidden && !verdict.stopped);
    reached
}

#[derive(Debug, PartialEq, Eq)]
enum Unreached {
    Forbidden(String),
    Failed(String),
}

/// Connects to the first address of the target that may be reached and answers.
async fn reach(
    target: &str,
    judge: impl Fn(IpAddr) -> Option<&'static str>,
) -> Result<TcpStream, Unreached> {
    let failed = |why: String| Unreached::Failed(why);
    let resolved = tokio::net::lookup_host(target)
        .await
        .map_err(|error| failed(format!("{target} cannot be resolved: {error}")))?;
    let mut outcome = failed(format!("{target} has no address"));
    for address in resolved {
        if let Some(why) = judge(address.ip()) {
            outcome =
                Unreached::Forbidden(format!("{target} is {why}, which a sandbox must not reach"));
            continue;
        }
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(_) => outcome = failed(format!("{target} did not answer in time")),
            Ok(Err(error)) => outcome = failed(format!("{target} cannot be reached: {error}")),
        }
    }
    Err(outcome)
}

/// The rule for every machine.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    let special = match carried(address) {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    };
    special.or_else(|| is_own(carried(address)).then_some("an address of this computer"))
}

/// The IPv4 address that an IPv6 address carries in it (mapped, compatible, NAT64, 6to4), else the address itself.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] if !matches!((high, low), (0, 0 | 1)) => {
            v4(high, low)
        }
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.octets().first() == Some(&0) {
        Some("an unspecified address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("a multicast address")
    } else {
        None
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else {
        None
    }
}

/// Whether the address is this computer's: exactly those can be bound.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_and_its_link_are_out_of_reach_in_every_spelling() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(forbidden(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn other_addresses_are_reached() {
        // Documentation addresses: nobody's, so not this computer's either.
        for address in ["192.0.2.1", "198.51.100.7", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        for target in ["localhost:80", "127.1:80", "2130706433:80", "[::ffff:127.0.0.1]:80"] {
            let Err(error) = reach(target, forbidden).await else { panic!("{target}") };
            // Where the resolver does not know a spelling, it leads nowhere either.
            let spelled = target.starts_with("127.1") || target.starts_with("213");
            assert!(matches!(error, Unreached::Forbidden(_)) || spelled, "{target}: {error:?}");
        }
    }
}
