//! Connections: TCP, with TLS where the URL says so, from a chosen address of this computer where a rule needs that.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Address;

/// The body of a request.
pub type Body = Full<Bytes>;

const PATIENCE: Duration = Duration::from_secs(10);

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
});

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection.
pub struct Wire(Box<dyn Stream>);

/// Opens connections to one server.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    source: Option<IpAddr>,
}

impl Connector {
    /// To this server, from this address.
    pub fn new(address: Address, source: Option<IpAddr>) -> Self {
        Self { address, source }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nobody listens there, or not in time.
    pub async fn connect(&self) -> io::Result<Wire> {
        tokio::time::timeout(PATIENCE, self.open())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s"))?
    }

    async fn open(&self) -> io::Result<Wire> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        let hosts = tokio::net::lookup_host((self.address.host.as_str(), self.address.port));
        for peer in hosts.await? {
            let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(source) = self.source.filter(|source| source.is_ipv4() == peer.is_ipv4()) {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            match socket.connect(peer).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    if !self.address.tls {
                        return Ok(Wire(Box::new(stream)));
                    }
                    let name = ServerName::try_from(self.address.host.clone())
                        .map_err(io::Error::other)?;
                    let tls = TlsConnector::from(TLS.clone()).connect(name, stream).await?;
                    return Ok(Wire(Box::new(tls)));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(TokioIo::new(connector.connect().await?)) })
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
