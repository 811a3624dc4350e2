//! One case of a property: the clients that it may use, and the record of what they said and heard.

pub mod made;
pub mod raw;
pub mod reply;
pub mod sending;
pub mod socket;
pub mod stream;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};

pub use reply::Reply;
pub use sending::Sending;

use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::target::{Credential, Profile, Target};

/// A case. Cheap to clone; all clones share one record.
#[derive(Clone)]
pub struct Case(Arc<Parts>);

struct Parts {
    target: Arc<Target>,
    exchanges: Mutex<Vec<Exchange>>,
    organizations: AtomicUsize,
    names: AtomicUsize,
    minted: Mutex<Vec<(String, String)>>,
    sent: Arc<AtomicU64>,
}

impl Case {
    /// A case against this server.
    pub fn new(target: Arc<Target>) -> Self {
        Self::counted(target, Arc::default())
    }

    /// A case whose requests are counted there, too.
    pub fn counted(target: Arc<Target>, sent: Arc<AtomicU64>) -> Self {
        Self(Arc::new(Parts {
            target,
            sent,
            exchanges: Mutex::default(),
            organizations: AtomicUsize::new(0),
            names: AtomicUsize::new(0),
            minted: Mutex::default(),
        }))
    }

    /// The server.
    pub fn target(&self) -> &Arc<Target> {
        &self.0.target
    }

    /// A client of the next organization: with free keys a new one that is empty; else the first call gives the
    /// organization of `--key` and the second that of `--second-key`.
    ///
    /// # Errors
    /// [`Fault::Skip`] when there are no more.
    pub fn organization(&self) -> Result<Client, Fault> {
        let number = self.0.organizations.fetch_add(1, Ordering::Relaxed);
        Ok(self.client(self.0.target.credential(number)?))
    }

    /// A client with this credential.
    pub fn client(&self, credential: Credential) -> Client {
        Client {
            case: self.clone(),
            credential: Some(credential),
            headers: Vec::new(),
            apart: false,
            place: None,
        }
    }

    /// A client without a credential, from an address of its own where that can be had.
    pub fn anonymous(&self) -> Client {
        Client {
            case: self.clone(),
            credential: None,
            headers: Vec::new(),
            apart: true,
            place: None,
        }
    }

    /// A name that nothing else of this run has, for instance `contract-4f1e-3`.
    pub fn name(&self) -> String {
        let n = self.0.names.fetch_add(1, Ordering::Relaxed);
        let unique = uuid::Uuid::new_v4().simple().to_string();
        format!("contract-{}-{}-{n}", self.0.target.run, &unique.get(..6).unwrap_or_default())
    }

    /// What was said and heard so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Credentials that the case made, by the variable that stands for each.
    pub fn secrets(&self) -> Vec<(String, String)> {
        self.0.minted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts what was prepared before into the record, so that the case can be seen again from nothing.
    pub(crate) fn begin_with(&self, prepared: &[Exchange]) {
        let mut exchanges = self.0.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.extend_from_slice(prepared);
    }

    /// Adds to the record; the answer is the exchange's place in it.
    pub(crate) fn record(&self, exchange: Exchange) -> usize {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        let mut exchanges = self.0.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.push(exchange);
        exchanges.len() - 1
    }
}

/// Sends requests with one credential.
#[derive(Clone)]
pub struct Client {
    case: Case,
    credential: Option<Credential>,
    headers: Vec<(String, String)>,
    apart: bool,
    place: Option<IpAddr>,
}

impl Client {
    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// The server.
    pub fn target(&self) -> &Arc<Target> {
        &self.case.0.target
    }

    /// The same in another case, whose record its requests go to.
    #[must_use]
    pub fn in_case(&self, case: &Case) -> Self {
        Self { case: case.clone(), ..self.clone() }
    }

    /// The secret, for rules about secrets.
    pub fn secret(&self) -> &str {
        self.credential.as_ref().map_or("", |credential| &credential.secret)
    }

    /// The same with another key, which an answer brought (`POST /api-keys`).
    #[must_use]
    pub fn as_key(&self, secret: &str) -> Self {
        let mut minted = self.case.0.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = minted.iter().find(|(_, known)| known == secret);
        let variable = match known {
            Some((variable, _)) => variable.clone(),
            None => {
                let variable = format!("MINTED_KEY_{}", minted.len() + 1);
                minted.push((variable.clone(), secret.to_owned()));
                variable
            }
        };
        drop(minted);
        let credential = Credential { variable, secret: secret.to_owned() };
        Self { credential: Some(credential), ..self.clone() }
    }

    /// The same with a header on every request.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    /// The same with every request from one address, where that can be had; each on a connection of its own.
    #[must_use]
    pub fn from_one_place(&self) -> Self {
        Self { apart: true, place: self.target().place(), ..self.clone() }
    }

    /// A request, to be added to and sent. The path is below the API's base: `/sandboxes`; one that begins with
    /// `/_emulator` goes to the control.
    pub fn request(&self, method: Method, path: impl Into<String>) -> Sending {
        Sending::new(self, method, path.into())
    }

    /// GET.
    pub fn get(&self, path: impl Into<String>) -> Sending {
        self.request(Method::GET, path)
    }

    /// POST.
    pub fn post(&self, path: impl Into<String>, body: Value) -> Sending {
        self.request(Method::POST, path).json(body)
    }

    /// PUT.
    pub fn put(&self, path: impl Into<String>, body: Value) -> Sending {
        self.request(Method::PUT, path).json(body)
    }

    /// PATCH.
    pub fn patch(&self, path: impl Into<String>, body: Value) -> Sending {
        self.request(Method::PATCH, path).json(body)
    }

    /// DELETE.
    pub fn delete(&self, path: impl Into<String>) -> Sending {
        self.request(Method::DELETE, path)
    }

    /// Moves the clock of this client's organization.
    ///
    /// # Errors
    /// [`Fault::Skip`] on a server without such a clock; [`Fault::Unable`] when it does not move.
    pub async fn advance(&self, seconds: u64) -> Result<(), Fault> {
        if self.target().profile == Profile::Live {
            return Err(Fault::skip("needs a clock that can be moved"));
        }
        let body = json!({ "advance_seconds": seconds });
        self.post("/_emulator/clock", body).send().await?.needs(200).map(drop)
    }

    /// The time of this client's organization, in milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub async fn now(&self) -> Result<i64, Fault> {
        if self.target().profile == Profile::Live {
            return Ok(chrono::Utc::now().timestamp_millis());
        }
        let reply = self.get("/_emulator/clock").send().await?.needs(200)?;
        let now = reply.data()?["now"].as_str().and_then(|now| now.parse().ok());
        let now: chrono::DateTime<chrono::Utc> =
            now.ok_or_else(|| Fault::unable("the clock tells no time"))?;
        Ok(now.timestamp_millis())
    }

    /// Begins a new rate window, where the clock can be moved: for properties that send more than 300 requests.
    ///
    /// # Errors
    /// As [`Self::advance`]; on a live server nothing, since requests keep their distance there.
    pub async fn breathe(&self) -> Result<(), Fault> {
        if self.target().profile == Profile::Live { Ok(()) } else { self.advance(61).await }
    }

    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    pub(crate) fn place(&self) -> Option<IpAddr> {
        self.place
    }

    pub(crate) fn is_apart(&self) -> bool {
        self.apart
    }
}
