//! A WebSocket client: what a test sees is what a client would.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::{BOUND, Client};

/// An open socket.
pub struct Socket {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub response: Response,
}

/// Opens the WebSocket at `path` below `/api/v1`; the status and body of a refusal.
pub async fn open(
    client: &Client,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, (u16, String)> {
    let url = format!("ws://{}/api/v1{path}", client.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in &client.headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    if let Some(key) = &client.key {
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
    }
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let connecting = tokio_tungstenite::connect_async(request);
    match tokio::time::timeout(BOUND, connecting).await.unwrap() {
        Ok((stream, response)) => Ok(Socket { stream, response }),
        Err(Error::Http(refusal)) => {
            let body = refusal.body().clone().unwrap_or_default();
            Err((refusal.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
        }
        Err(other) => panic!("{other}"),
    }
}

impl Socket {
    pub async fn send(&mut self, message: impl Into<Message>) {
        self.stream.send(message.into()).await.unwrap();
    }

    /// The next message; `None` when the connection is over.
    pub async fn next(&mut self) -> Option<Message> {
        let next = async {
            loop {
                match self.stream.next().await? {
                    Ok(Message::Ping(_) | Message::Pong(_)) => {}
                    Ok(message) => return Some(message),
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(BOUND, next).await.expect("a message in time")
    }

    /// Everything up to the close, and the close.
    pub async fn rest(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await {
            all.push(message);
        }
        all
    }

    /// The close code, whatever comes before.
    pub async fn closed(&mut self) -> Option<u16> {
        self.rest().await.into_iter().find_map(|message| match message {
            Message::Close(Some(close)) => Some(close.code.into()),
            _ => None,
        })
    }

    /// Reads binary messages until their bytes hold `wanted`; gives them all.
    pub async fn until(&mut self, wanted: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !all.windows(wanted.len()).any(|piece| piece == wanted) {
            match self.next().await {
                Some(Message::Binary(bytes)) => all.extend_from_slice(&bytes),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&all)),
            }
        }
        all
    }
}
