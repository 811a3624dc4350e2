//! Requests that no HTTP library would send: cut off, with bytes that are no text, with a wrong length.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::sending::{Arrived, Sent};
use super::{Client, Reply};
use crate::exchange::Exchange;
use crate::fault::Fault;

/// The head of an answer is at most this long.
const MOST: usize = 16 * 1024 * 1024;

/// A request as bytes.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The method, as it stands on the first line.
    pub method: Method,
    /// The target below the API's base, as bytes: it need not be text.
    pub target: Vec<u8>,
    /// Headers beside `Host`, the credential and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body, or as much of it as is sent.
    pub body: Bytes,
    /// What `Content-Length` says, when that is not the body's length.
    pub declared: Option<usize>,
    /// Whether this end of the connection closes after the body.
    pub hang_up: bool,
    /// What is peculiar, for the report.
    pub peculiar: String,
}

impl Client {
    /// Sends a request, or as much of its bytes as said, and hangs up without hearing the answer.
    ///
    /// # Errors
    /// [`Fault::Broken`] when the server cannot be reached.
    pub async fn cut_off(&self, raw: Raw, most: usize) -> Result<(), Fault> {
        let target = self.target().clone();
        let path = String::from_utf8_lossy(&raw.target).into_owned();
        target.ledger.permit(&raw.method, &path)?;
        target.turn().await?;
        let mut bytes = self.head(&raw);
        bytes.extend_from_slice(&raw.body);
        bytes.truncate(most);
        let mut sent = self.sent(raw, path);
        let talk = async {
            let mut wire = target.connector(self.is_apart()).connect().await?;
            wire.write_all(&bytes).await?;
            wire.flush().await
        };
        match tokio::time::timeout(crate::target::BOUND, talk).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(sent.failed(&error.to_string())),
            Err(_) => return Err(sent.failed("the server took no bytes")),
        }
        sent.exchange.failure = Some("hung up before the answer".to_owned());
        self.case().record(sent.exchange);
        Ok(())
    }

    fn head(&self, raw: &Raw) -> Vec<u8> {
        let address = &self.target().address;
        let mut head = format!("{} {}", raw.method, address.prefix()).into_bytes();
        head.extend_from_slice(&raw.target);
        head.extend_from_slice(b" HTTP/1.1\r\n");
        let mut lines = format!("Host: {}\r\n", address.authority());
        if let Some(credential) = self.credential() {
            lines += &format!("Authorization: Bearer {}\r\n", credential.secret);
        }
        for (name, value) in self.headers().iter().chain(&raw.headers) {
            lines += &format!("{name}: {value}\r\n");
        }
        let length = raw.declared.unwrap_or(raw.body.len());
        lines += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
        head.extend_from_slice(lines.as_bytes());
        head
    }

    fn sent(&self, raw: Raw, path: String) -> Sent {
        let mut headers = raw.headers;
        if let Some(declared) = raw.declared {
            headers.push(("Content-Length".to_owned(), declared.to_string()));
        }
        Sent {
            client: self.clone(),
            exchange: Exchange {
                at: Utc::now(),
                credential: self.credential().map(|credential| credential.variable.clone()),
                method: raw.method.to_string(),
                url: self.target().address.api(&path),
                headers,
                body: raw.body,
                peculiar: Some(raw.peculiar),
                answer: None,
                failure: None,
                millis: 0,
            },
            method: raw.method,
            path,
            since: Instant::now(),
        }
    }

    /// Sends a request as bytes. `None` when the server closes the connection without an answer, which is its right.
    ///
    /// # Errors
    /// [`Fault::Broken`] when neither an answer nor an end comes within the bound.
    pub async fn raw(&self, raw: Raw, bound: Duration) -> Result<Option<Reply>, Fault> {
        let target = self.target().clone();
        let path = String::from_utf8_lossy(&raw.target).into_owned();
        target.ledger.permit(&raw.method, &path)?;
        target.turn().await?;
        let (head, body, hang_up) = (self.head(&raw), raw.body.clone(), raw.hang_up);
        let sent = self.sent(raw, path);
        let talk = async {
            let mut wire = target.connector(self.is_apart()).connect().await?;
            // A server may answer and close before it has read everything.
            let written = async {
                wire.write_all(&head).await?;
                wire.write_all(&body).await?;
                if hang_up { wire.shutdown().await } else { wire.flush().await }
            }
            .await;
            let mut said = Vec::new();
            let read = (&mut wire).take(MOST as u64).read_to_end(&mut said).await;
            match (written, read) {
                (_, Ok(_)) => Ok(said),
                (_, Err(_)) if !said.is_empty() => Ok(said),
                // A reset is an end, too.
                (_, Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(said),
                (_, Err(error)) => Err(error),
            }
        };
        let said = match tokio::time::timeout(bound, talk).await {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => return Err(sent.failed(&error.to_string())),
            Err(_) => {
                let why = format!("neither an answer nor an end within {} s", bound.as_secs());
                return Err(sent.failed(&why));
            }
        };
        if said.is_empty() {
            let mut sent = sent;
            sent.exchange.failure = Some("the connection was closed without an answer".to_owned());
            self.case().record(sent.exchange);
            return Ok(None);
        }
        match parse(&said) {
            Some(arrived) => self.conclude(sent, Ok(arrived)).map(Some),
            None => Err(sent.failed("what came is no HTTP")),
        }
    }
}

/// Reads an answer.
fn parse(said: &[u8]) -> Option<Arrived> {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (said.get(..end)?, said.get(end + 4..)?);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::try_from(name).ok()?;
        headers.append(name, HeaderValue::try_from(value.trim()).ok()?);
    }
    let chunked = headers.get(TRANSFER_ENCODING).is_some_and(|value| value == "chunked");
    let length =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let body = match (chunked, length) {
        (true, _) => dechunked(rest)?,
        (false, Some(length)) => rest.get(..length.min(rest.len()))?.to_vec(),
        (false, None) => rest.to_vec(),
    };
    Some(Arrived { status, headers, body: body.into() })
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_are_read_with_and_without_chunks() {
        let plain = parse(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}more").unwrap();
        assert_eq!((plain.status, &plain.body[..]), (404, &b"{}"[..]));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n";
        assert_eq!(&parse(chunked).unwrap().body[..], b"abcd");
        assert!(parse(b"nonsense").is_none());
    }
}
