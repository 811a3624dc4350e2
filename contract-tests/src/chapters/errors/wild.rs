//! Things that no client would send, and somebody does.

use std::time::Duration;

use miosa_openapi::check::{Contract, Operation};
use serde_json::Value;

use crate::case::raw::Raw;
use crate::fault::Fault;
use crate::gallery::NOBODY;
use crate::session::Session;
use crate::world::{self, World};

/// So many a run.
const MOST: usize = 200;

/// An answer to nonsense comes at once.
const BOUND: Duration = Duration::from_secs(10);

/// What is wild about a request.
#[derive(Debug, Clone, Copy)]
enum Wild {
    PathNul,
    PathBytes,
    PathLong,
    QueryNul,
    QueryBytes,
    QueryLong,
    BodyNul,
    BodyBytes,
    BodyHuge,
    BodyDeep,
    BodySurrogate,
}

const PATHS: &[Wild] = &[Wild::PathNul, Wild::PathBytes, Wild::PathLong];
const QUERIES: &[Wild] = &[Wild::QueryNul, Wild::QueryBytes, Wild::QueryLong];
const BODIES: &[Wild] =
    &[Wild::BodyNul, Wild::BodyBytes, Wild::BodyHuge, Wild::BodyDeep, Wild::BodySurrogate];

/// A wild request to an operation.
#[derive(Clone, Copy)]
struct Item {
    operation: &'static Operation,
    wild: Wild,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:?}", self.operation.name(), self.wild)
    }
}

fn items(session: &Session) -> Vec<Item> {
    let mut items = Vec::new();
    let mut turn =
        session.shuffled((0..PATHS.len() * QUERIES.len() * BODIES.len()).collect::<Vec<_>>());
    for operation in Contract::get().operations() {
        if operation.is_socket() {
            continue;
        }
        // Another of each kind for the next operation.
        turn.rotate_left(1);
        let n = turn.first().copied().unwrap_or_default();
        let mut add = |kinds: &[Wild]| {
            items.extend(kinds.get(n % kinds.len()).map(|wild| Item { operation, wild: *wild }));
        };
        if operation.path().contains('{') {
            add(PATHS);
        }
        add(QUERIES);
        if world::example(operation).is_some() {
            add(BODIES);
            add(&[Wild::BodyNul]);
        }
    }
    items
}

/// The value with every text in it replaced.
fn texts(value: &mut Value, to: &str) {
    match value {
        Value::String(text) => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| texts(item, to)),
        Value::Object(map) => map.values_mut().for_each(|item| texts(item, to)),
        _ => {}
    }
}

fn raw(operation: &Operation, wild: Wild, path: &str) -> Raw {
    let body = world::example(operation).unwrap_or_default();
    let in_path = |with: &str| World::path_with(operation, |_, _| with.to_owned()).into_bytes();
    let joint = if path.contains('?') { "&page=" } else { "?page=" };
    let in_query = |with: &[u8]| [path.as_bytes(), joint.as_bytes(), with].concat();
    let plain = path.as_bytes().to_vec();
    let told = |text: &str| body.to_string().replacen("contract-nobody", text, 1).into_bytes();
    let nul = {
        let mut body = body.clone();
        texts(&mut body, "a\0b");
        body.to_string().into_bytes()
    };
    let huge = {
        let mut body = body.clone();
        texts(&mut body, &"x".repeat(100_000));
        body.to_string().into_bytes()
    };
    let (target, body) = match wild {
        Wild::PathNul => (in_path("a%00b"), Vec::new()),
        Wild::PathBytes => (in_path("%ff%fe"), Vec::new()),
        Wild::PathLong => (in_path(&"x".repeat(5_000)), Vec::new()),
        Wild::QueryNul => (in_query(b"%00"), Vec::new()),
        Wild::QueryBytes => (in_query(b"%ff%fe"), Vec::new()),
        Wild::QueryLong => (in_query("1".repeat(5_000).as_bytes()), Vec::new()),
        Wild::BodyNul => (plain, nul),
        Wild::BodyBytes => (plain, [b"{\"name\": \"".as_slice(), b"\xff\xfe\"}"].concat()),
        Wild::BodyHuge => (plain, huge),
        Wild::BodyDeep => (plain, format!("{{\"name\":{}", "[".repeat(20_000)).into_bytes()),
        Wild::BodySurrogate => (plain, told("\\ud800")),
    };
    Raw {
        method: operation.method().clone(),
        target,
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: body.into(),
        declared: None,
        hang_up: false,
        peculiar: format!("{wild:?}"),
    }
}

pub(super) fn requests(session: &Session) -> Result<(), Fault> {
    session.each(
        session.shuffled(items(session)).into_iter().take(MOST).collect(),
        async |client, items| {
            let bodies = items.iter().filter(|item| {
                BODIES.iter().any(|it| format!("{it:?}") == format!("{:?}", item.wild))
            });
            World::for_operations(client, bodies.map(|item| item.operation)).await
        },
        async |client, world, Item { operation, wild }| {
            let path = world
                .path(operation)
                .unwrap_or_else(|| World::path_with(operation, |_, _| NOBODY.to_owned()));
            let path = format!("{path}{}", world.query(operation));
            // What never ends is not waited for.
            if World::is_endless(operation)
                && !matches!(wild, Wild::PathNul | Wild::PathBytes | Wild::PathLong)
            {
                return Ok(());
            }
            let sent = raw(operation, *wild, &path);
            let Some(reply) = client.raw(sent, BOUND).await? else { return Ok(()) };
            reply.holds(
                reply.status < 500 || reply.status == 501,
                "an answer that is no 5xx",
                reply.summary(),
            )?;
            // Before a request is read as HTTP, nobody knows that it is for the API.
            let oauth = operation.is_open();
            let unread = reply.header("content-type").is_none();
            if reply.status < 400 || oauth || unread { Ok(()) } else { reply.refusal().map(drop) }
        },
    )
}
