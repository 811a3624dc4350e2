//! Whether a server in a machine answers, and with what.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// The status that the server behind an open tunnel answers `GET path` with. The caller bounds the time.
///
/// # Errors
/// Why there is none, in words.
pub async fn http_status<S>(tunnel: S, port: u16, path: &str) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(tunnel)).await.map_err(broken)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path)
        .header("host", format!("localhost:{port}"))
        .header("user-agent", "miosa-emulator-probe")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    Ok(sender.send_request(request).await.map_err(broken)?.status())
}
