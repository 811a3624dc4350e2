//! What is the same request, and what takes no key.

use http::Method;
use proptest::prelude::*;
use serde_json::Value;

use super::deed::{Deed, Stage, alike, creates, grown, is_kept, key, mutations};
use crate::fault::Fault;
use crate::session::Session;

/// The same JSON with its members in the opposite order, and white space between.
fn rewritten(value: &Value, space: &str) -> String {
    let join = |parts: Vec<String>| parts.join(&format!("{space},{space}"));
    match value {
        Value::Object(members) => {
            let members = members.iter().rev().map(|(name, value)| {
                format!("{}{space}:{space}{}", Value::from(name.as_str()), rewritten(value, space))
            });
            format!("{{{space}{}{space}}}", join(members.collect()))
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| rewritten(item, space));
            format!("[{space}{}{space}]", join(items.collect()))
        }
        other => other.to_string(),
    }
}

pub(super) fn order_and_space(session: &Session) -> Result<(), Fault> {
    let stage = session.prepare(async |case| Stage::set(&case, false).await)?;
    for operation in creates() {
        session.forall("[ \t\n]{0,3}", async |case, space| {
            let client = stage.enter(&case);
            let Some(deed) = Deed::of(&stage.world, operation) else { return Ok(()) };
            let Some((content_type, body)) = &deed.body else { return Ok(()) };
            let Ok(mut json) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
            if let Some(description) = json.as_object_mut() {
                // Two members at least, so that there is an order.
                description
                    .entry("metadata")
                    .or_insert_with(|| serde_json::json!({ "b": 1, "a": [1, 2] }));
            }
            let with = |text: String| Deed {
                body: Some((content_type.clone(), text.into())),
                ..deed.clone()
            };
            let key = key();
            let first = with(json.to_string()).by(&client).key(&key).send().await?;
            if !is_kept(&first) {
                return Ok(());
            }
            let again = with(rewritten(&json, &space)).by(&client).key(&key).send().await?;
            alike(&first, &again, "since only order and space of the JSON differ")
        })?;
    }
    Ok(())
}

pub(super) fn on_reads(session: &Session) -> Result<(), Fault> {
    let stage = session.prepare(async |case| Stage::set(&case, false).await)?;
    for operation in creates() {
        session.forall(Just(()), async |case, ()| {
            let client = stage.enter(&case);
            let Some(deed) = Deed::of(&stage.world, operation) else { return Ok(()) };
            let key = key();
            let list = format!("{}?page_size=1", deed.path);
            let read = async || client.get(&list).key(&key).send().await?.expect(200);
            let before = read().await?.json()?["page"]["total"].as_u64().unwrap_or(0);
            // The key is free for what changes something.
            deed.by(&client).key(&key).send().await?.expect(201)?;
            let after = read().await?;
            let total = after.json()?["page"]["total"].as_u64().unwrap_or(0);
            after.holds(
                total == before + 1,
                format!(
                    "{} items from {}: a key on a GET means nothing",
                    before + 1,
                    after.place()
                ),
                total.to_string(),
            )
        })?;
    }
    Ok(())
}

pub(super) fn elsewhere(session: &Session) -> Result<(), Fault> {
    let stage = session.prepare(async |case| Stage::set(&case, false).await)?;
    let creates = creates();
    let changes: Vec<_> = mutations()
        .into_iter()
        .filter(|it| matches!(*it.method(), Method::POST | Method::PATCH | Method::PUT))
        .filter(|it| !it.path().starts_with("/sandboxes"))
        .collect();
    let (first, second) = (0..creates.len(), 0..changes.len());
    session.forall((first, second), async |case, (first, second)| {
        let client = stage.enter(&case);
        let (Some(one), Some(two)) = (creates.get(first), changes.get(second)) else {
            return Ok(());
        };
        let (Some(one), Some(two)) = (Deed::of(&stage.world, one), Deed::of(&stage.world, two))
        else {
            return Ok(());
        };
        if one.operation.id() == two.operation.id() {
            return Ok(());
        }
        let key = key();
        one.by(&client).key(&key).send().await?.needs(201)?;
        let before = two.count(&client).await?;
        two.by(&client).key(&key).send().await?.refused(409)?;
        grown(&two, &client, before, 0).await
    })
}
