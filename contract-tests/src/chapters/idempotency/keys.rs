//! How long a key is remembered, whose it is, and which two are the same.

use proptest::prelude::*;

use super::deed::{Deed, Stage, alike, creates, grown, key};
use crate::case::Client;
use crate::fault::Fault;
use crate::session::Session;

const DAY: u64 = 24 * 60 * 60;

/// Every create in turn, in one organization without sandboxes.
fn each<S>(
    session: &Session,
    drawn: &S,
    property: impl AsyncFn(&Client, &Deed, S::Value) -> Result<(), Fault>,
) -> Result<(), Fault>
where
    S: Strategy + Clone,
    S::Value: std::fmt::Debug,
{
    let stage = session.prepare(async |case| Stage::set(&case, false).await)?;
    for operation in creates() {
        session.forall(drawn.clone(), async |case, value| {
            let client = stage.enter(&case);
            let Some(deed) = Deed::of(&stage.world, operation) else { return Ok(()) };
            property(&client, &deed, value).await
        })?;
    }
    Ok(())
}

pub(super) fn a_day(session: &Session) -> Result<(), Fault> {
    each(session, &(1_u64..DAY - 60), async |client, deed, moment| {
        let key = key();
        let first = deed.by(client).key(&key).send().await?.needs(201)?;
        for wait in [moment, DAY - 30 - moment] {
            client.advance(wait).await?;
            let again = deed.by(client).key(&key).send().await?;
            alike(&first, &again, "since less than 24 hours have gone by")?;
        }
        client.advance(60).await?;
        let anew = deed.by(client).key(&key).send().await?;
        anew.holds(
            (anew.status, &anew.body) != (first.status, &first.body),
            format!("{} to run again: more than 24 hours have gone by", anew.place()),
            "the first answer once more",
        )?;
        anew.holds(
            anew.header("idempotency-replayed").is_none() && anew.status != 429,
            format!("{} to run again: more than 24 hours have gone by", anew.place()),
            anew.summary(),
        )
    })
}

pub(super) fn another_organization(session: &Session) -> Result<(), Fault> {
    for operation in creates() {
        session.forall("[a-zA-Z0-9-]{1,40}", async |case, key| {
            let mut ids: Vec<String> = Vec::new();
            let mut name = None;
            for _ in 0..2 {
                let client = case.organization()?;
                let world = crate::world::World::for_operations(&client, [operation]).await?;
                let Some(mut deed) = Deed::of(&world, operation) else { return Ok(()) };
                // Word for word the same, where it names nothing of its organization.
                if !operation.path().contains('{') {
                    deed.body = name.get_or_insert_with(|| deed.body.clone()).clone();
                    if deed.body.as_ref().is_some_and(|(_, body)| mentions_an_id(body)) {
                        deed.body = world.body(operation);
                    }
                }
                let before = deed.count(&client).await?;
                let reply = deed.by(&client).key(&key).send().await?.expect(201)?;
                let id = reply.id().or_else(|_| reply.text("name"))?;
                reply.holds(
                    !ids.contains(&id),
                    format!("one of its own from {} in each organization", reply.place()),
                    format!("{id} in both"),
                )?;
                ids.push(id);
                grown(&deed, &client, before, 1).await?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether a body holds a UUID, which another organization has not.
fn mentions_an_id(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.split('"').any(|part| uuid::Uuid::parse_str(part).is_ok())
}

/// What is nearly the same key.
#[derive(Debug, Clone, Copy)]
enum Near {
    Longer,
    Shorter,
    OtherCase,
    Dashless,
}

pub(super) fn whole(session: &Session) -> Result<(), Fault> {
    const ALL: [Near; 4] = [Near::Longer, Near::Shorter, Near::OtherCase, Near::Dashless];
    let near = prop::sample::subsequence(ALL.to_vec(), 1..=ALL.len()).prop_shuffle();
    let key = "[a-f]{2}[a-zA-Z0-9]{2,8}-[a-zA-Z0-9]{2,120}";
    let families = prop::sample::select(vec!["/api-keys", "/workspaces"]);
    session.forall((families, key, near), async |case, (family, key, near)| {
        let client = case.organization()?;
        let make = async |key: &str| {
            // Of keys two may have the same name: a server that takes two keys for one has no reason to refuse.
            let name = if family == "/api-keys" { "twice".to_owned() } else { case.name() };
            let body = serde_json::json!({ "name": name });
            client.post(family, body).key(key).send().await?.expect(201)?.id()
        };
        let one = make(&key).await?;
        for near in near {
            let other = match near {
                Near::Longer => format!("{key}0"),
                Near::Shorter => key.get(..key.len() - 1).unwrap_or_default().to_owned(),
                // Letters stand at the beginning.
                Near::OtherCase => key.to_uppercase(),
                Near::Dashless => key.replace('-', ""),
            };
            let two = make(&other).await?;
            crate::fault::holds(
                one != two,
                format!("two of {family}: the keys {key:?} and {other:?} differ"),
                format!("{one} for both"),
            )?;
        }
        Ok(())
    })
}

pub(super) fn lengths(session: &Session) -> Result<(), Fault> {
    let length = prop_oneof![Just(0_usize), Just(16), Just(255), Just(256), 257_usize..=900];
    each(session, &length, async |client, deed, length| {
        let key: String = super::deed::key().chars().cycle().take(length).collect();
        let before = deed.count(client).await?;
        let reply = deed.by(client).key(&key).send().await?;
        if (1..=255).contains(&length) {
            reply.expect(201)?;
            return grown(deed, client, before, 1).await;
        }
        reply.refused(400)?;
        grown(deed, client, before, 0).await
    })
}

pub(super) fn again(session: &Session) -> Result<(), Fault> {
    // With a key each, or without.
    let keyed = prop::collection::vec(any::<bool>(), 2..=3);
    for family in ["/workspaces", "/api-keys", "/service-accounts", "/tokens/scoped"] {
        session.forall(keyed.clone(), async |case, keyed| {
            let client = case.organization()?;
            let list = format!("{family}?page_size=1");
            let total = async || -> Result<u64, Fault> {
                let reply = client.get(&list).send().await?.needs(200)?;
                Ok(reply.json()?["page"]["total"].as_u64().unwrap_or(0))
            };
            let before = total().await?;
            let mut ids: Vec<String> = Vec::new();
            let name = case.name();
            for (n, keyed) in keyed.into_iter().enumerate() {
                // A workspace's name is its own; of the others two may have the same.
                let named =
                    if family == "/workspaces" { format!("{name}-{n}") } else { name.clone() };
                let body = match family {
                    "/tokens/scoped" => {
                        serde_json::json!({ "user_id": named, "scopes": ["sandboxes:read"] })
                    }
                    _ => serde_json::json!({ "name": named }),
                };
                let sending = client.post(family, body);
                let sending = if keyed { sending.key(&key()) } else { sending };
                let reply = sending.send().await?;
                let reply = if reply.status == 409 && family == "/service-accounts" {
                    return Ok(());
                } else {
                    reply.expect(201)?
                };
                let id = reply.id()?;
                reply.holds(
                    !ids.contains(&id),
                    format!("another of {family}"),
                    format!("{id} again"),
                )?;
                ids.push(id);
            }
            let after = total().await?;
            crate::fault::holds(
                after == before + ids.len() as u64,
                format!("{} more on {family}", ids.len()),
                format!("{before} before, {after} after"),
            )
        })?;
    }
    Ok(())
}
