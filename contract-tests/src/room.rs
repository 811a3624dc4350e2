//! A sandbox that all cases of a rule share: a machine is dear, and what a rule says of files and commands holds in any.
//!
//! Each case gets a directory of its own, and the exchange that made the sandbox stands at the beginning of its record.

pub mod said;
pub mod shell;
pub mod sockets;
pub mod sse;
pub mod way;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::case::made::id;
use crate::case::{Case, Client, Reply, Sending};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::session::Session;
use crate::target::Credential;

/// A new rate window begins after so many requests, so that no case meets its end.
const REQUESTS: usize = 150;

/// A sandbox, and what made it.
pub struct Room {
    credential: Option<Credential>,
    sandbox: String,
    setup: Vec<Exchange>,
    folders: AtomicUsize,
    asked: Mutex<(usize, Option<Case>)>,
}

impl Room {
    /// Makes the sandbox.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it cannot be made.
    pub fn prepare(session: &Session) -> Result<Self, Fault> {
        session.prepare(async |case| {
            let client = case.organization()?;
            let sandbox = id(&client.sandbox().await?)?;
            Ok(Self {
                credential: client.credential().cloned(),
                sandbox,
                setup: case.exchanges(),
                folders: AtomicUsize::new(0),
                asked: Mutex::default(),
            })
        })
    }

    /// Lets a case in.
    ///
    /// # Errors
    /// [`Fault::Unable`] when no new rate window can be begun.
    pub async fn enter(&self, case: &Case) -> Result<Inside, Fault> {
        let tired = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let before = asked.1.replace(case.clone());
            asked.0 += before.map_or(0, |case| case.exchanges().len());
            if asked.0 > REQUESTS {
                asked.0 = 0;
                true
            } else {
                false
            }
        };
        if tired {
            // Not a step of the case: it would only stand in the way of who reads its report.
            self.client(&Case::new(case.target().clone())).breathe().await?;
        }
        case.begin_with(&self.setup);
        let n = self.folders.fetch_add(1, Ordering::Relaxed);
        Ok(Inside {
            client: self.client(case),
            sandbox: self.sandbox.clone(),
            folder: format!("/workspace/case-{n}"),
        })
    }

    fn client(&self, case: &Case) -> Client {
        match &self.credential {
            Some(credential) => case.client(credential.clone()),
            None => case.anonymous(),
        }
    }
}

/// A case in the sandbox.
pub struct Inside {
    /// Who asks.
    pub client: Client,
    /// The sandbox's id.
    pub sandbox: String,
    /// A directory that no other case uses. It is not there yet.
    pub folder: String,
}

impl Inside {
    /// A path of the API below the sandbox: `/exec`.
    pub fn at(&self, rest: &str) -> String {
        format!("/sandboxes/{}{rest}", self.sandbox)
    }

    /// A path in the case's directory.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// GET below the sandbox.
    pub fn get(&self, rest: &str) -> Sending {
        self.client.get(self.at(rest))
    }

    /// GET below the sandbox, of a file.
    pub fn get_path(&self, rest: &str, path: &str) -> Sending {
        self.client.get(format!("{}?path={}", self.at(rest), encode(path)))
    }

    /// POST below the sandbox.
    pub fn post(&self, rest: &str, body: Value) -> Sending {
        self.client.post(self.at(rest), body)
    }

    /// Makes the case's directory.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it cannot be made.
    pub async fn make_folder(&self) -> Result<(), Fault> {
        let body = json!({ "path": self.folder });
        self.post("/files/mkdir", body).send().await?.needs(201).map(drop)
    }

    /// Runs a line in the shell, as what a rule builds on.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it cannot be run, or fails.
    pub async fn shell(&self, line: &str) -> Result<String, Fault> {
        let reply = self.post("/exec", json!({ "command": line })).send().await?.needs(200)?;
        let data = reply.data()?;
        if data["exit_code"] != 0 {
            return Err(Fault::unable(format!("{line}: {}", reply.summary())));
        }
        Ok(data["stdout"].as_str().unwrap_or_default().to_owned())
    }

    /// Puts a file there, as what a rule builds on.
    ///
    /// # Errors
    /// [`Fault::Unable`] when it cannot be written.
    pub async fn put(&self, path: &str, bytes: &[u8]) -> Result<Reply, Fault> {
        let body = json!({ "path": path, "content": base64(bytes) });
        self.post("/files", body).send().await?.needs(201)
    }
}

/// Percent-encoded for a part of a path or a value of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// In base64.
pub fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// From base64.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).ok()
}
