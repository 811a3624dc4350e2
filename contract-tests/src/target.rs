//! The server that is checked: where it is, who may talk to it, and how fast.

pub mod address;
pub mod ledger;
pub mod pace;
pub mod spawn;
pub mod wire;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;

pub use address::Address;
use ledger::Ledger;
use pace::Pace;
use wire::{Body, Connector};

use crate::case::Case;
use crate::fault::Fault;
use crate::populated::Populated;
use crate::rule::{Level, Need, Rule};

/// No answer takes longer, unless a rule says so.
pub const BOUND: Duration = Duration::from_secs(30);

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// An emulator: organizations for the asking, a clock that can be moved.
    Emulator,
    /// A server that others use, too: a budget of requests, and nothing touched but what was made here.
    Live,
}

/// A credential, and the shell variable that stands for it in reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The variable.
    pub variable: String,
    /// The secret.
    pub secret: String,
}

/// Who may talk to the server.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Any `msk_test_…` key is an organization of its own.
    Free,
    /// These, and no others.
    Given {
        /// The organization that is worked in.
        first: String,
        /// Another one.
        second: Option<String>,
    },
}

/// What a run may do to the server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests in all.
    pub budget: u64,
    /// Requests a minute; none for as fast as it goes.
    pub per_minute: Option<u32>,
    /// Whether rules that are our choice run, too.
    pub chosen: bool,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL is none.
    #[error("{0}")]
    Address(String),
    /// Nothing answers there, or not as it should.
    #[error("{0}")]
    Unusable(String),
}

/// The server.
pub struct Target {
    /// Where.
    pub address: Address,
    /// What kind.
    pub profile: Profile,
    /// What a run may do to it.
    pub limits: Limits,
    /// What was made there and must be removed.
    pub ledger: Ledger,
    /// The mark of this run, in names and in `metadata.contract_run`.
    pub run: String,
    /// The organization that rules look at together.
    pub(crate) populated: tokio::sync::OnceCell<Result<Populated, Fault>>,
    keys: Keys,
    pool: Pool<Connector, Body>,
    pace: Pace,
    sources: AtomicU32,
    organizations: AtomicU64,
    machines: bool,
}

impl Target {
    /// Looks whether the server is there and what it can do.
    ///
    /// # Errors
    /// When it is not, or not what the profile says.
    pub async fn open(
        address: Address,
        profile: Profile,
        keys: Option<(String, Option<String>)>,
        limits: Limits,
    ) -> Result<Self, TargetError> {
        let run = uuid::Uuid::new_v4().simple().to_string().split_off(20);
        let keys = match keys {
            Some((first, second)) => Keys::Given { first, second },
            None => Keys::Free,
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(Connector::new(address.clone(), None));
        let pace = Pace::new(limits.budget, limits.per_minute);
        let mut target = Self {
            ledger: Ledger::new(profile == Profile::Live),
            address,
            profile,
            limits,
            run,
            populated: tokio::sync::OnceCell::new(),
            keys,
            pool,
            pace,
            sources: AtomicU32::new(0),
            organizations: AtomicU64::new(0),
            machines: false,
        };
        target.probe().await?;
        Ok(target)
    }

    /// Finds out whether keys are free and whether sandboxes can run.
    async fn probe(&mut self) -> Result<(), TargetError> {
        if self.profile == Profile::Emulator {
            let health = self.ask(Method::GET, &self.address.control("/health"), None).await?;
            if health.0 != StatusCode::OK {
                return Err(TargetError::Unusable(format!(
                    "{} is no emulator ({} from /_emulator/health); use --profile live",
                    self.address, health.0
                )));
            }
            let free = self.free_key();
            let url = self.address.api("/workspaces?page_size=1");
            if self.ask(Method::GET, &url, Some(&free)).await?.0 == StatusCode::OK {
                self.keys = Keys::Free;
            }
        }
        let key = match &self.keys {
            Keys::Free => self.free_key(),
            Keys::Given { first, .. } => first.clone(),
        };
        let url = self.address.api("/sandboxes/runtimes");
        let (status, body) = self.ask(Method::GET, &url, Some(&key)).await?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(TargetError::Unusable(format!(
                "{} does not take the key (401); give one with --key or MIOSA_API_KEY",
                self.address
            )));
        }
        let runtimes = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        // A server that does not tell is taken to run them.
        self.machines = runtimes["data"]
            .as_array()
            .is_none_or(|runtimes| runtimes.iter().any(|runtime| runtime["available"] != false));
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        key: Option<&str>,
    ) -> Result<(StatusCode, bytes::Bytes), TargetError> {
        let mut request = http::Request::builder().method(method).uri(url);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let unusable = |why: String| TargetError::Unusable(format!("{}: {why}", self.address));
        let request = request.body(Body::default()).map_err(|error| unusable(error.to_string()))?;
        let asked = async {
            use http_body_util::BodyExt as _;
            let answer = self.pool.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                unusable(cause.unwrap_or_else(|| error.to_string()))
            })?;
            let status = answer.status();
            let body = answer.into_body().collect().await;
            Ok((status, body.map_err(|error| unusable(error.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(BOUND, asked)
            .await
            .unwrap_or_else(|_| Err(unusable("no answer within 30 s".to_owned())))
    }

    /// The pool of connections.
    pub(crate) fn pool(&self) -> &Pool<Connector, Body> {
        &self.pool
    }

    /// Waits for the next request's turn.
    ///
    /// # Errors
    /// When the budget is spent.
    pub(crate) async fn turn(&self) -> Result<(), Fault> {
        self.pace.turn().await
    }

    /// Lets no more requests pass but those that clean up.
    pub fn interrupt(&self) {
        self.pace.close();
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.pace.spent()
    }

    /// A connection of its own; from another address of this computer when both ends are on it, because servers count
    /// by address whoever brings no credential.
    pub(crate) fn connector(&self, apart: bool) -> Connector {
        Connector::new(self.address.clone(), if apart { self.place() } else { None })
    }

    /// A connection from there.
    pub(crate) fn connector_from(&self, place: IpAddr) -> Connector {
        Connector::new(self.address.clone(), Some(place))
    }

    /// An address of this computer that nothing of this run has been sent from, when the server is on it, too.
    pub(crate) fn place(&self) -> Option<IpAddr> {
        self.address
            .is_loopback()
            .then(|| IpAddr::V4(loopback(self.sources.fetch_add(1, Ordering::Relaxed))))
    }

    /// The credential of a case's organization with this number, 0 the first.
    pub(crate) fn credential(&self, number: usize) -> Result<Credential, Fault> {
        let variable = match number {
            0 => "MIOSA_API_KEY".to_owned(),
            1 => "MIOSA_SECOND_KEY".to_owned(),
            n => format!("MIOSA_KEY_{}", n + 1),
        };
        let secret = match (&self.keys, number) {
            (Keys::Free, _) => self.free_key(),
            (Keys::Given { first, .. }, 0) => first.clone(),
            (Keys::Given { second: Some(second), .. }, 1) => second.clone(),
            (Keys::Given { .. }, 1) => {
                return Err(Fault::skip("needs a second organization: --second-key"));
            }
            _ => return Err(Fault::skip("needs more organizations than there are keys")),
        };
        Ok(Credential { variable, secret })
    }

    /// A key of an organization that nobody has used. Letters and digits only, so that it survives any shell.
    fn free_key(&self) -> String {
        let n = self.organizations.fetch_add(1, Ordering::Relaxed);
        format!("msk_test_contract{}n{n}", self.run)
    }

    /// Whether each case has an organization of its own, in which nobody else works.
    pub fn gives_organizations(&self) -> bool {
        matches!(self.keys, Keys::Free)
    }

    /// Whether sandboxes run there.
    pub fn has_machines(&self) -> bool {
        self.machines
    }

    /// Every secret that was given: no report shows one.
    pub fn secrets(&self) -> Vec<String> {
        match &self.keys {
            Keys::Free => Vec::new(),
            Keys::Given { first, second } => {
                [Some(first), second.as_ref()].into_iter().flatten().cloned().collect()
            }
        }
    }

    /// Why a rule does not run here; none when it does.
    pub fn excuse(&self, rule: &Rule) -> Option<String> {
        let live = self.profile == Profile::Live;
        if live && rule.level == Level::Chosen && !self.limits.chosen {
            return Some("our choice, not the API's word: --chosen runs it".to_owned());
        }
        rule.needs.iter().find_map(|need| match need {
            Need::Clock if live => Some("needs a clock that can be moved".to_owned()),
            Need::Fresh if !matches!(self.keys, Keys::Free) => {
                Some("needs organizations of its own".to_owned())
            }
            Need::Second if matches!(&self.keys, Keys::Given { second: None, .. }) => {
                Some("needs a second organization: --second-key".to_owned())
            }
            Need::Machines if !self.machines => {
                Some("no sandbox can run on this server".to_owned())
            }
            _ => None,
        })
    }

    /// How many cases a rule that wants this many may have.
    pub fn cases(&self, wanted: u32) -> u32 {
        match self.profile {
            Profile::Emulator => wanted,
            Profile::Live => wanted.min(3),
        }
    }

    /// Removes what was made, newest first; what cannot be removed is returned.
    pub async fn clean(self: &std::sync::Arc<Self>) -> Vec<String> {
        let case = Case::new(self.clone());
        let mut left = Vec::new();
        for made in self.ledger.take() {
            if let Err(why) = made.remove(&case).await {
                left.push(format!("{}: {why}", made.path));
            }
        }
        left
    }
}

/// The loopback address with this number: another for each of the first sixteen millions.
fn loopback(number: u32) -> Ipv4Addr {
    const EACH: u32 = 254;
    let [a, b, c] = [number / EACH / EACH, number / EACH, number].map(|n| (n % EACH + 1) as u8);
    Ipv4Addr::new(127, a, b, c)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_numbers_have_one_address() {
        let all: HashSet<Ipv4Addr> = (0..200_000).map(loopback).collect();
        assert_eq!(all.len(), 200_000);
        assert!(all.iter().all(Ipv4Addr::is_loopback));
    }
}
