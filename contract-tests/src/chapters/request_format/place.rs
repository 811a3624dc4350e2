//! Paths and queries in other writings.

use std::sync::Arc;

use http::Method;
use miosa_openapi::check::Contract;
use serde_json::Value;

use crate::case::Client;
use crate::fault::Fault;
use crate::gallery::Commons;
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

fn reads() -> Vec<Op> {
    let all = Contract::get().operations().iter();
    all.filter(|it| *it.method() == Method::GET && !World::is_endless(it)).map(Op).collect()
}

async fn stage(client: &Client, operations: &[Op]) -> Result<Arc<Commons>, Fault> {
    Commons::stage(client, operations).await
}

pub(super) fn unknown_parameter(session: &Session) -> Result<(), Fault> {
    session.each(reads(), stage, async |client, commons, operation| {
        let (client, world) = (&commons.enter(client, 2).await?, &commons.world);
        let Some(path) = world.path(operation) else { return Ok(()) };
        let plain = format!("{path}{}", world.query(operation));
        let joint = if plain.contains('?') { '&' } else { '?' };
        let one = client.get(plain.clone()).send().await?;
        let with = client.get(format!("{plain}{joint}contract_unknown=1")).send().await?;
        with.holds(
            with.status == one.status,
            format!("{} as without", one.status),
            with.summary(),
        )?;
        let total = |body: &[u8]| {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            (body["page"]["total"].clone(), body["data"]["id"].clone())
        };
        with.holds(
            total(&with.body) == total(&one.body),
            format!("the same as without: {:?}", total(&one.body)),
            format!("{:?}", total(&with.body)),
        )
    })
}

/// A path in which what the parameters stand for is percent-encoded where it need not be.
fn other_writing(path: &str, template: &str) -> String {
    let encode = |part: &str| {
        let code = |c: char| {
            if c.is_ascii_alphanumeric() { format!("%{:02x}", u32::from(c)) } else { c.to_string() }
        };
        part.chars().map(code).collect::<String>()
    };
    let mut written = Vec::new();
    let mut rest = path.split('/');
    for part in template.split('/') {
        let given = rest.next().unwrap_or_default();
        // What is encoded already is left alone.
        let encoded = part.starts_with('{') && !given.contains('%');
        written.push(if encoded { encode(given) } else { given.to_owned() });
    }
    // A path of a file has more segments than its parameter.
    written.extend(rest.map(str::to_owned));
    written.join("/")
}

pub(super) fn encoded(session: &Session) -> Result<(), Fault> {
    session.each(reads(), stage, async |client, commons, operation| {
        let (client, world) = (&commons.enter(client, 2).await?, &commons.world);
        let Some(path) = world.path(operation) else { return Ok(()) };
        let query = world.query(operation);
        let one = client.get(format!("{path}{query}")).send().await?;
        let other =
            client.get(format!("{}{query}", other_writing(&path, operation.path()))).send().await?;
        other.holds(other.status == one.status, format!("{} as plain", one.status), other.summary())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_writing_is_the_same_path() {
        assert_eq!(other_writing("/api-keys/x7-", "/api-keys/{id}"), "/api-keys/%78%37-");
        assert_eq!(other_writing("/a/x/y", "/a/{path}"), "/a/%78/y");
    }
}
