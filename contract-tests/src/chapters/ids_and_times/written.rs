//! How ids and times are written, in every answer of a populated organization.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use chrono::DateTime;
use http::Method;
use miosa_openapi::check::Contract;
use proptest::prelude::*;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use super::members::{self, Member};
use crate::case::Case;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::session::Session;
use crate::target::Target;
use crate::world::World;

/// What is wrong with a text, and what is owed; nothing when all is well.
type Judge = fn(&Member<'_>) -> Option<String>;

fn id(member: &Member<'_>) -> Option<String> {
    if member.format != "uuid" {
        return None;
    }
    let v4 = uuid::Uuid::parse_str(member.text).is_ok_and(|id| {
        id.get_version_num() == 4
            && id.get_variant() == uuid::Variant::RFC4122
            && id.to_string() == member.text
    });
    (!v4).then(|| "a UUID v4 in small letters".to_owned())
}

fn time(member: &Member<'_>) -> Option<String> {
    // What a client sends as metadata may be called anything.
    let named = member.name.ends_with("_at") && !member.at.contains("/metadata/");
    if member.format != "date-time" && !named {
        return None;
    }
    let parsed = DateTime::parse_from_rfc3339(member.text).is_ok();
    let right = parsed && member.text.ends_with('Z') && member.text.contains('T');
    (!right).then(|| "an ISO 8601 time in UTC such as 2026-05-17T10:00:00Z".to_owned())
}

pub(super) fn ids(session: &Session) -> Result<(), Fault> {
    everywhere(session, id)
}

pub(super) fn times(session: &Session) -> Result<(), Fault> {
    everywhere(session, time)
}

/// An answer, with what was said before it.
struct Read {
    said: Vec<Exchange>,
    at: usize,
}

type Reads = Arc<OnceCell<Vec<Read>>>;

/// What was read, by the run: two rules look at it.
static READS: LazyLock<Mutex<HashMap<String, Reads>>> = LazyLock::new(Mutex::default);

/// Fills an organization and reads all that it has.
async fn read(target: &Arc<Target>) -> Result<Vec<Read>, Fault> {
    let case = Case::new(target.clone());
    let client = case.organization()?;
    let world = if target.has_machines() {
        World::populate(&client).await?
    } else {
        World::populate_without_machines(&client).await?
    };
    let said = case.exchanges();
    let mut reads: Vec<_> = (0..said.len()).map(|at| Read { said: said.clone(), at }).collect();
    client.in_case(&Case::new(target.clone())).breathe().await?;
    for operation in World::in_order() {
        let waits = operation.path().ends_with("/status");
        if *operation.method() != Method::GET || World::is_endless(operation) || waits {
            continue;
        }
        let own = Case::new(target.clone());
        own.begin_with(&said);
        let Some(sending) = world.call(&client.in_case(&own), operation) else { continue };
        let reply = sending.send().await?;
        reads.push(Read { said: own.exchanges(), at: reply.at });
    }
    Ok(reads)
}

fn everywhere(session: &Session, judge: Judge) -> Result<(), Fault> {
    let cell = session.prepare(async |case| {
        let run = case.target().run.clone();
        let cell = READS.lock().await.entry(run).or_default().clone();
        cell.get_or_try_init(|| read(case.target())).await?;
        Ok(cell)
    })?;
    for read in cell.get().into_iter().flatten() {
        session.forall(Just(()), async |case, ()| {
            let fault = read.said.get(read.at).and_then(|it| wrong(&case, it, read.at, judge));
            let Some(fault) = fault else { return Ok(()) };
            case.begin_with(&read.said);
            Err(fault)
        })?;
    }
    Ok(())
}

/// What in an answer is not as it should be.
fn wrong(case: &Case, exchange: &Exchange, at: usize, judge: Judge) -> Option<Fault> {
    let answer = exchange.answer.as_ref()?;
    let body = serde_json::from_slice::<Value>(&answer.body).ok()?;
    let path = exchange.url.strip_prefix(case.target().address.api("").as_str())?;
    let method = exchange.method.parse::<Method>().ok()?;
    Contract::get().operation(&method, path)?;
    members::of(&method, path, answer.status, &body).into_iter().find_map(|member| {
        let owed = judge(&member)?;
        Some(Fault::Broken {
            expected: format!("{owed} at {} from {method} {path}", member.at),
            got: member.text.to_owned(),
            at: Some(at),
        })
    })
}
