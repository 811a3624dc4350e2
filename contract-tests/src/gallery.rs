//! Answers of every operation, asked for once a run and looked at by many rules: successes, and refusals of every kind.
//!
//! What breaks a rule is asked for once more by itself, in an organization that holds only what the request needs, so that
//! the report shows a short sequence.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::Method;
use miosa_openapi::check::{Contract, Location, Operation};
use tokio::sync::OnceCell;

use crate::case::{Case, Client, Reply};
use crate::fault::Fault;
use crate::operations::Op;
use crate::session::Session;
use crate::target::Profile;
use crate::world::{self, World};

/// An id that nothing has.
pub const NOBODY: &str = "00000000-0000-4000-8000-00000000dead";

/// After so many requests a new minute begins.
const BREATH: usize = 200;

/// What was asked for.
#[derive(Clone, Copy)]
pub enum Asked {
    /// A valid request.
    Valid(&'static Operation),
    /// About an id that nothing has.
    Unknown(&'static Operation),
    /// Without a credential.
    Anonymous(&'static Operation),
    /// With a body that is no JSON.
    NoJson(&'static Operation),
    /// With a body that is an array.
    NoObject(&'static Operation),
    /// A list's page that is no number.
    NoPage(&'static Operation),
}

impl Asked {
    /// The operation.
    pub fn operation(self) -> &'static Operation {
        match self {
            Self::Valid(it)
            | Self::Unknown(it)
            | Self::Anonymous(it)
            | Self::NoJson(it)
            | Self::NoObject(it)
            | Self::NoPage(it) => it,
        }
    }

    /// What must be there for it.
    async fn stage(self, client: &Client) -> Result<World, Fault> {
        match self {
            Self::Unknown(_) | Self::Anonymous(_) => World::for_operations(client, []).await,
            other => World::for_operations(client, [other.operation()]).await,
        }
    }

    /// Asks. None when the world lacks what the request names.
    async fn ask(self, client: &Client, world: &World) -> Result<Option<Reply>, Fault> {
        let it = self.operation();
        let method = it.method().clone();
        let sending = match self {
            Self::Valid(_) => world.call(client, it),
            Self::Unknown(_) => {
                let path = World::path_with(it, |_, _| NOBODY.to_owned());
                let mut sending = client.request(method, format!("{path}{}", world.query(it)));
                if let Some(body) = world::example(it) {
                    sending = sending.json(body);
                }
                Some(sending)
            }
            Self::Anonymous(_) => {
                let path = World::path_with(it, |_, _| NOBODY.to_owned());
                Some(client.case().anonymous().request(method, path))
            }
            Self::NoJson(_) => world
                .path(it)
                .map(|path| client.request(method, path).bytes("application/json", "{\"name\": ")),
            Self::NoObject(_) => world
                .path(it)
                .map(|path| client.request(method, path).bytes("application/json", "[1]")),
            Self::NoPage(_) => {
                world.path(it).map(|path| client.request(method, format!("{path}?page=x")))
            }
        };
        let Some(sending) = sending else { return Ok(None) };
        let reply = match self {
            Self::Valid(it) if World::is_endless(it) => sending.stream().await?.head().await?,
            _ => sending.send().await?,
        };
        Ok(Some(reply))
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self {
            Self::Valid(_) => "valid",
            Self::Unknown(_) => "about an id that nothing has",
            Self::Anonymous(_) => "without a credential",
            Self::NoJson(_) => "with a body that is no JSON",
            Self::NoObject(_) => "with a body that is an array",
            Self::NoPage(_) => "with a page that is no number",
        };
        write!(f, "{}, {how}", self.operation().name())
    }
}

/// An answer.
pub struct Answer {
    /// What was asked for.
    pub asked: Asked,
    /// What came.
    pub reply: Reply,
}

/// Which answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Op valid requests, every operation.
    Successes,
    /// Op requests that must be refused.
    Refusals,
}

/// A populated organization that several rules read at once, or one of a single item's own.
pub struct Commons {
    client: Client,
    /// What it holds.
    pub world: World,
    spent: tokio::sync::Mutex<usize>,
}

impl Commons {
    /// For many items the one that is shared, for one item one that holds only what it needs.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn stage(client: &Client, operations: &[Op]) -> Result<Arc<Self>, Fault> {
        if let [one] = operations {
            let world = World::for_operations(client, [one.0]).await?;
            let spent = tokio::sync::Mutex::new(client.case().exchanges().len());
            return Ok(Arc::new(Self { client: client.clone(), world, spent }));
        }
        let cell = {
            let mut held = COMMON.lock().unwrap_or_else(PoisonError::into_inner);
            held.entry(client.target().run.clone()).or_default().clone()
        };
        let made = cell.get_or_init(|| async {
            let world = if client.target().profile == Profile::Live {
                let reads = World::in_order().into_iter().filter(|it| *it.method() == Method::GET);
                World::for_operations(client, reads).await?
            } else {
                World::populate(client).await?
            };
            let spent = tokio::sync::Mutex::new(client.case().exchanges().len());
            Ok(Arc::new(Self { client: client.clone(), world, spent }))
        });
        made.await.clone()
    }

    /// Its client, writing down in the case of this one, with so many requests to spend.
    ///
    /// # Errors
    /// When no new minute can begin.
    pub async fn enter(&self, client: &Client, requests: usize) -> Result<Client, Fault> {
        let mut spent = self.spent.lock().await;
        if *spent + requests > BREATH {
            self.client.breathe().await?;
            *spent = 0;
        }
        *spent += requests;
        Ok(self.client.in_case(client.case()))
    }
}

type Common = Arc<OnceCell<Result<Arc<Commons>, Fault>>>;

/// The shared organization of a run, by its mark.
static COMMON: LazyLock<Mutex<BTreeMap<String, Common>>> = LazyLock::new(Mutex::default);

type Held = Arc<OnceCell<Result<Arc<Vec<Answer>>, Fault>>>;

/// The answers of a run, by its mark.
static HELD: LazyLock<Mutex<BTreeMap<(String, Which), Held>>> = LazyLock::new(Mutex::default);

/// Looks at each answer.
///
/// # Errors
/// How the look ended: on the shortest sequence that shows what is wrong.
pub fn look(
    session: &Session,
    which: &[Which],
    check: impl Fn(Asked, &Reply) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut broken = Vec::new();
    for which in which {
        let answers = session.prepare(async |case| answers(&case, *which).await)?;
        for answer in answers.iter() {
            session.looked();
            match check(answer.asked, &answer.reply) {
                Ok(()) => {}
                Err(fault @ Fault::Broken { .. }) => {
                    broken.push((answer.asked, fault, answer.reply.case().clone()));
                }
                Err(other) => return Err(other),
            }
        }
    }
    // What needs least to be seen is shown.
    broken.sort_by_key(|(asked, ..)| World::kinds(asked.operation()).len());
    for (asked, ..) in broken.iter().take(3) {
        let case = session.prepare(async |case| Ok(case))?;
        let ended = session.prepare(async |_| {
            let client = case.organization()?;
            let world = asked.stage(&client).await?;
            match asked.ask(&client, &world).await? {
                Some(reply) => check(*asked, &reply),
                None => Ok(()),
            }
        });
        if let Err(fault @ Fault::Broken { .. }) = ended {
            session.keep(&fault, format!("{asked:?}"), &case);
            return Err(fault);
        }
    }
    match broken.into_iter().next() {
        Some((asked, fault, case)) => {
            session.keep(&fault, format!("{asked:?}"), &case);
            Err(fault)
        }
        None => Ok(()),
    }
}

/// The answers, asked for when they are first needed.
///
/// # Errors
/// When they cannot be had.
pub async fn answers(case: &Case, which: Which) -> Result<Arc<Vec<Answer>>, Fault> {
    let cell = {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.entry((case.target().run.clone(), which)).or_default().clone()
    };
    cell.get_or_init(|| async { gather(case, which).await.map(Arc::new) }).await.clone()
}

async fn gather(case: &Case, which: Which) -> Result<Vec<Answer>, Fault> {
    let client = case.organization()?;
    let live = case.target().profile == Profile::Live;
    let world = if live {
        let reads = World::in_order().into_iter().filter(|it| *it.method() == Method::GET);
        World::for_operations(&client, reads).await?
    } else {
        World::populate(&client).await?
    };
    let asked = match which {
        Which::Successes => successes(live),
        Which::Refusals => refusals(live),
    };
    let mut spent = case.exchanges().len();
    let mut answers = Vec::new();
    for asked in asked {
        if spent > BREATH {
            client.breathe().await?;
            spent = 0;
        }
        spent += 1;
        if let Some(reply) = asked.ask(&client, &world).await? {
            answers.push(Answer { asked, reply });
        }
    }
    Ok(answers)
}

/// A server that others use is only read, but for what the world is made of.
fn successes(live: bool) -> Vec<Asked> {
    let all = World::in_order().into_iter();
    all.filter(|it| !live || *it.method() == Method::GET).map(Asked::Valid).collect()
}

fn refusals(live: bool) -> Vec<Asked> {
    let mut asked = Vec::new();
    for it in Contract::get().operations() {
        let takes_json = world::reads_json(it) && !it.is_open();
        if it.path().contains('{') && !it.is_socket() {
            asked.push(Asked::Unknown(it));
        }
        if !it.is_open() && !it.is_socket() {
            asked.push(Asked::Anonymous(it));
        }
        if takes_json && !live {
            asked.push(Asked::NoJson(it));
            asked.push(Asked::NoObject(it));
        }
        if it.parameter(Location::Query, "page").is_some() {
            asked.push(Asked::NoPage(it));
        }
    }
    asked
}
