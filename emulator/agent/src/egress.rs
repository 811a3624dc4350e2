//! The way out of a machine that has only `lo`: an HTTP proxy whose connections the emulator makes.
//!
//! The agent resolves no names and judges no targets; it hands each connection to a waiting `POST /v1/egress`
//! and tells the program inside what the emulator said (`protocol::egress`).

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::protocol::{Failure, FailureCode, egress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Outcome, invalid, streamed};
use crate::machine::Machine;
use crate::tunnel;

/// Where programs inside find the proxy, unless the command line says otherwise.
pub const PORT: u16 = 3128;

/// How long a connection waits for the emulator to take it.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// How long a program may take to say what it wants, and how long that may be.
const HEAD_TIME: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 16 * 1024;

/// How long a program that was refused may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many connections may be on their way to the emulator.
const MAX_WAITING: usize = 1024;

/// The proxy, and the requests of the emulator that wait for a connection.
pub struct Egress {
    listener: TcpListener,
    wait: mpsc::Sender<oneshot::Sender<Leaving>>,
    waiting: Mutex<mpsc::Receiver<oneshot::Sender<Leaving>>>,
}

/// A connection that wants out.
struct Leaving {
    wanted: Wanted,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
}

/// What the program asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    target: String,
    /// Whether the program waits for our word (`CONNECT`).
    tunnel: bool,
    /// What goes to the target before the program's further bytes.
    first: Bytes,
}

impl Egress {
    /// Listens on the machine's loopback.
    pub async fn listen(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (wait, waiting) = mpsc::channel(MAX_WAITING);
        Ok(Self { listener, wait, waiting: Mutex::new(waiting) })
    }

    /// Takes connections for ever.
    pub async fn run(&self) {
        let mut entering = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if entering.len() < MAX_WAITING => {
                    match accepted {
                        Ok((socket, _)) => entering.push(self.enter(socket)),
                        // Out of descriptors: others will be closed.
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
                Some(()) = entering.next() => {}
            }
        }
    }

    async fn enter(&self, socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        let (mut from, mut to) = socket.into_split();
        let wanted = match tokio::time::timeout(HEAD_TIME, read_head(&mut from)).await {
            Ok(Ok(Some(wanted))) => wanted,
            Ok(Ok(None)) => return refuse(&mut to, "400 Bad Request", "not a proxy request").await,
            Ok(Err(_)) | Err(_) => return,
        };
        let mut leaving = Leaving { wanted, from, to };
        let deadline = Instant::now() + TAKEN_WITHIN;
        loop {
            let next = async { self.waiting.lock().await.recv().await };
            let Ok(Some(request)) = tokio::time::timeout_at(deadline, next).await else {
                let why = "the emulator does not answer";
                return refuse(&mut leaving.to, "504 Gateway Timeout", why).await;
            };
            match request.send(leaving) {
                Ok(()) => return,
                // That request has gone away meanwhile.
                Err(back) => leaving = back,
            }
        }
    }
}

/// Answers a waiting request of the emulator with the next connection.
pub async fn take(machine: &Machine, body: Incoming) -> Outcome {
    let none = || Failure::new(FailureCode::NotFound, "this machine has no proxy");
    let egress = machine.egress.as_ref().ok_or_else(none)?;
    let (give, given) = oneshot::channel();
    egress.wait.send(give).await.map_err(invalid)?;
    let Leaving { wanted, from, mut to } = given.await.map_err(invalid)?;
    let target = HeaderValue::try_from(&wanted.target).map_err(invalid)?;
    let gone = CancellationToken::new();
    let refused = CancellationToken::new();
    let out = tunnel::down(wanted.first, from, gone.clone());
    let mut answer = streamed(out.take_until(refused.clone().cancelled_owned()));
    answer.headers_mut().insert(egress::TARGET, target);
    let tunnel = wanted.tunnel;
    // Ends with the request's body, or when the emulator gives up on it.
    tokio::spawn(async move {
        match follow(body, &mut to, tunnel, gone).await {
            Ok(true) => return,
            Ok(false) => {
                // What the program still sends is read away: closing over it could cost it the answer.
                let _ = tokio::time::timeout(FAREWELL, drain(to.as_ref())).await;
            }
            Err(_) => {}
        }
        refused.cancel();
    });
    Ok(answer)
}

/// Reads until the program closes its side.
async fn drain(socket: &TcpStream) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        socket.readable().await?;
        match socket.try_read(&mut piece) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Tells the program what the emulator said, then passes on what comes from outside. Whether it was accepted.
async fn follow(
    mut body: Incoming,
    to: &mut OwnedWriteHalf,
    tunnel: bool,
    gone: CancellationToken,
) -> io::Result<bool> {
    let mut said = next_bytes(&mut body).await;
    let rest = said.split_off(1.min(said.len()));
    match said.first() {
        Some(&egress::CONNECTED) => {
            if tunnel {
                to.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            }
            to.write_all(&rest).await?;
            gone.run_until_cancelled(tunnel::up(body, to)).await.unwrap_or(Ok(()))?;
            return Ok(true);
        }
        Some(&egress::FORBIDDEN) => {
            refuse(to, "403 Forbidden", &sentence(rest, body).await).await;
        }
        Some(_) => refuse(to, "502 Bad Gateway", &sentence(rest, body).await).await,
        None => refuse(to, "502 Bad Gateway", "the emulator gave up on the connection").await,
    }
    to.shutdown().await?;
    Ok(false)
}

async fn next_bytes(body: &mut Incoming) -> Bytes {
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(bytes) if !bytes.is_empty() => return bytes,
            _ => {}
        }
    }
    Bytes::new()
}

async fn sentence(first: Bytes, mut body: Incoming) -> String {
    let mut text = first.to_vec();
    while text.len() < MAX_HEAD {
        let more = next_bytes(&mut body).await;
        if more.is_empty() {
            break;
        }
        text.extend_from_slice(&more);
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn refuse(to: &mut OwnedWriteHalf, status: &str, why: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{why}\n",
        why.len() + 1
    );
    let _ = to.write_all(answer.as_bytes()).await;
}

/// Reads up to the end of the head; `None` when it is not a request to a proxy.
async fn read_head(from: &mut OwnedReadHalf) -> io::Result<Option<Wanted>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(parse(&bytes, &rest));
        }
        if bytes.len() > MAX_HEAD {
            return Ok(None);
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What a head asks for; `rest` is what came after it.
fn parse(head: &[u8], rest: &[u8]) -> Option<Wanted> {
    let head = std::str::from_utf8(head).ok()?;
    let (line, fields) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
    let uri: http::Uri = uri.parse().ok()?;
    let authority = uri.authority()?;
    let host = authority.host();
    if method == "CONNECT" {
        let target = format!("{host}:{}", authority.port_u16()?);
        return Some(Wanted { target, tunnel: true, first: Bytes::copy_from_slice(rest) });
    }
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut first = format!("{method} {path} {version}\r\n");
    for field in fields.split("\r\n").filter(|field| !field.is_empty()) {
        let name = field.split(':').next().unwrap_or_default().to_ascii_lowercase();
        // The next request may be for another target, so each connection carries one.
        if !matches!(name.as_str(), "proxy-connection" | "proxy-authorization" | "connection") {
            first.push_str(field);
            first.push_str("\r\n");
        }
    }
    first.push_str("Connection: close\r\n\r\n");
    let first = Bytes::from([first.as_bytes(), rest].concat());
    let target = format!("{host}:{}", authority.port_u16().unwrap_or(80));
    Some(Wanted { target, tunnel: false, first })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_names_host_and_port() {
        let wanted =
            parse(b"CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org\r\n\r\n", b"x").unwrap();
        assert_eq!((wanted.target.as_str(), wanted.tunnel), ("pypi.org:443", true));
        assert_eq!(&wanted.first[..], b"x");
        let six = parse(b"CONNECT [::1]:8 HTTP/1.1\r\n\r\n", b"").unwrap();
        assert_eq!(six.target, "[::1]:8");
        assert_eq!(parse(b"CONNECT pypi.org HTTP/1.1\r\n\r\n", b""), None);
    }

    #[test]
    fn a_plain_request_goes_on_in_origin_form_and_alone() {
        let head = b"POST http://h.test/a?b HTTP/1.1\r\nHost: h.test\r\nConnection: keep-alive\r\n\
            Proxy-Authorization: secret\r\nContent-Length: 2\r\n\r\n";
        let wanted = parse(head, b"hi").unwrap();
        assert_eq!((wanted.target.as_str(), wanted.tunnel), ("h.test:80", false));
        assert_eq!(
            std::str::from_utf8(&wanted.first).unwrap(),
            "POST /a?b HTTP/1.1\r\nHost: h.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b""), None);
        assert_eq!(parse(b"GET https://h/ HTTP/1.1\r\n\r\n", b""), None);
    }
}
