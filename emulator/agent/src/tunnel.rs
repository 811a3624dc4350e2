//! Bytes between a request and a socket, both ways, each of which may end first.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::protocol::{Failure, FailureCode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use crate::answer::{Outcome, streamed};

const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How much is read from a socket at a time.
const PIECE: usize = 64 * 1024;

#[derive(Deserialize)]
pub struct Which {
    port: u16,
}

/// Connects to a port of the machine itself.
pub async fn to_port(Which { port }: Which, body: Incoming) -> Outcome {
    let socket = connect(port).await?;
    let _ = socket.set_nodelay(true);
    let (from, mut to) = socket.into_split();
    let gone = CancellationToken::new();
    let answer = down(Bytes::new(), from, gone.clone());
    // Ends with the request's body, or when the client goes away.
    tokio::spawn(async move { gone.run_until_cancelled(up(body, &mut to)).await });
    Ok(streamed(answer))
}

async fn connect(port: u16) -> Result<TcpStream, Failure> {
    let mut refusal = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        match tokio::time::timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) if error.raw_os_error() == Some(nix::errno::Errno::EMFILE as i32) => {
                return Err(Failure::new(FailureCode::Io, error.to_string()));
            }
            Ok(Err(_)) => {}
            Err(_) => refusal = io::ErrorKind::TimedOut.into(),
        }
    }
    let text = format!("nothing answers on port {port}: {refusal}");
    Err(Failure::new(FailureCode::ConnectionRefused, text))
}

/// What comes out of the socket, after `first`; `gone` is cancelled when the client goes away before the end.
pub fn down(
    first: Bytes,
    socket: OwnedReadHalf,
    gone: CancellationToken,
) -> impl Stream<Item = io::Result<Bytes>> {
    let state = (first, socket, gone.drop_guard());
    futures_util::stream::try_unfold(state, |(first, mut socket, guard)| async move {
        if !first.is_empty() {
            return Ok(Some((first, (Bytes::new(), socket, guard))));
        }
        let mut piece = Vec::with_capacity(PIECE);
        let read = socket.read_buf(&mut piece).await?;
        if read == 0 {
            // The end of one direction leaves the other open.
            guard.disarm();
            return Ok(None);
        }
        piece.shrink_to(read * 2);
        Ok(Some((Bytes::from(piece), (first, socket, guard))))
    })
}

/// Puts the request's bytes into the socket, then ends that direction.
pub async fn up(mut body: Incoming, socket: &mut OwnedWriteHalf) -> io::Result<()> {
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() else { continue };
        socket.write_all(&bytes).await?;
    }
    socket.shutdown().await
}
