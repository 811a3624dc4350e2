//! A few requests to a running emulator.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Failure, listen};

/// Where the emulator is.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// Address and port of the running emulator
    #[arg(
        long,
        env = "MIOSA_EMULATOR_LISTEN",
        default_value = "127.0.0.1:4010",
        value_name = "ADDR:PORT"
    )]
    pub(super) listen: String,
}

impl At {
    /// The address to connect to: what a server listens on may be `0.0.0.0`.
    ///
    /// # Errors
    /// Wrong usage: port 0 is any port, so nobody can be asked there.
    pub(super) fn host(&self) -> Result<String, Failure> {
        let host = listen::host(&self.listen);
        if host.ends_with(":0") {
            return Err(Failure::usage(
                "port 0 is a free port that `serve` picked: give --listen the address of its ready line",
            ));
        }
        Ok(host)
    }

    /// One request below `/_emulator`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value), Failure> {
        const BOUND: Duration = Duration::from_secs(10);
        let host = self.host()?;
        let asked = tokio::time::timeout(BOUND, request(&host, method, path, key)).await;
        let answer =
            asked.unwrap_or_else(|_| Err(format!("no answer within {} s", BOUND.as_secs())));
        answer.map_err(|error| {
            Failure::failed(format!(
                "no emulator answers at {host}: {error}. Start one with `miosa-emulator serve`, or say --listen ADDR:PORT."
            ))
        })
    }
}

async fn request(
    host: &str,
    method: Method,
    path: &str,
    key: Option<&str>,
) -> Result<(StatusCode, Value), String> {
    let stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", host);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Full::new(Bytes::new())).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    driver.abort();
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
