//! WebSockets: the handshake is an exchange of the case, and what was said on the socket is its answer's body.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{AUTHORIZATION, HOST, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue, Method};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::sending::{Arrived, Sent};
use super::{Client, Reply};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::target::BOUND;
use crate::target::wire::Wire;

/// So much of each message is shown in reports.
const SHOWN: usize = 200;

/// A socket that is open.
pub struct Socket {
    sent: Sent,
    headers: HeaderMap,
    stream: WebSocketStream<Wire>,
    transcript: String,
}

impl Client {
    /// Opens the WebSocket at this path; the answer that refuses it.
    ///
    /// # Errors
    /// [`Fault::Broken`] when there is neither; [`Fault::Unable`] when the request may not be sent.
    pub async fn socket(
        &self,
        path: &str,
        protocol: Option<&str>,
    ) -> Result<Result<Socket, Reply>, Fault> {
        let target = self.target().clone();
        target.turn().await?;
        let url = target.address.api(path);
        let mut headers = self.headers().to_vec();
        if let Some(protocol) = protocol {
            headers.push((SEC_WEBSOCKET_PROTOCOL.to_string(), protocol.to_owned()));
        }
        let sent = Sent {
            client: self.clone(),
            exchange: Exchange {
                at: Utc::now(),
                credential: self.credential().map(|credential| credential.variable.clone()),
                method: "GET".to_owned(),
                url: url.clone(),
                headers: headers.clone(),
                body: Bytes::new(),
                peculiar: Some("the handshake of a WebSocket".to_owned()),
                answer: None,
                failure: None,
                millis: 0,
            },
            method: Method::GET,
            path: path.to_owned(),
            since: Instant::now(),
        };
        let unsendable = |why: String| Fault::unable(format!("GET {url}: {why}"));
        let mut request = url
            .replacen("http", "ws", 1)
            .into_client_request()
            .map_err(|error| unsendable(error.to_string()))?;
        let bearer = self.credential().map(|it| format!("Bearer {}", it.secret));
        let bearer = bearer.map(|bearer| (AUTHORIZATION.to_string(), bearer));
        let host = Some((HOST.to_string(), target.address.authority().to_owned()));
        for (name, value) in headers.into_iter().chain(bearer).chain(host) {
            let name = http::HeaderName::try_from(name).map_err(|e| unsendable(e.to_string()))?;
            let value = HeaderValue::try_from(value).map_err(|e| unsendable(e.to_string()))?;
            request.headers_mut().insert(name, value);
        }
        let opening = async {
            let wire = target.connector(self.is_apart()).connect().await.map_err(Error::Io)?;
            tokio_tungstenite::client_async(request, wire).await
        };
        match tokio::time::timeout(BOUND, opening).await {
            Ok(Ok((stream, response))) => {
                let headers = response.headers().clone();
                Ok(Ok(Socket { sent, headers, stream, transcript: String::new() }))
            }
            Ok(Err(Error::Http(refusal))) => {
                let (parts, body) = refusal.into_parts();
                let arrived = Arrived {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    body: body.unwrap_or_default().into(),
                };
                self.conclude(sent, Ok(arrived)).map(Err)
            }
            Ok(Err(error)) => Err(sent.failed(&error.to_string())),
            Err(_) => Err(sent.failed(&format!("no answer within {} s", BOUND.as_secs()))),
        }
    }
}

impl Socket {
    /// A header of the handshake's answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Says something. That the other end has gone shows when it is read.
    pub async fn say(&mut self, message: Message) {
        self.note("> ", &message);
        let _ = self.stream.send(message).await;
    }

    /// The next message that carries something, a close included; none when the connection is over.
    ///
    /// # Errors
    /// [`Fault::Broken`] when neither comes within the bound.
    pub async fn next(&mut self, bound: Duration) -> Result<Option<Message>, Fault> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        match tokio::time::timeout(bound, next).await {
            Ok(message) => {
                if let Some(message) = &message {
                    self.note("< ", message);
                }
                Ok(message)
            }
            Err(_) => {
                let why = format!("nothing within {} s", bound.as_secs());
                Err(Fault::broken("another message, or the socket's end", why))
            }
        }
    }

    /// Writes down what was said, and hangs up.
    pub fn close(self) -> usize {
        let Self { sent, headers, transcript, .. } = self;
        sent.done(101, &headers, transcript.into())
    }

    fn note(&mut self, direction: &str, message: &Message) {
        let shown = match message {
            Message::Close(frame) => {
                format!("close {}", frame.as_ref().map_or(0, |frame| frame.code.into()))
            }
            Message::Text(text) => format!("text {}", cut(text.as_str())),
            other => {
                let bytes = other.clone().into_data();
                format!("binary {} bytes {}", bytes.len(), cut(&bytes.escape_ascii().to_string()))
            }
        };
        self.transcript += &format!("{direction}{shown}\n");
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
