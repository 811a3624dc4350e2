//! Variables of a sandbox.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::reach::text;
use crate::fault::Fault;
use crate::room::way::{Ask, Way};
use crate::room::{Inside, Room};
use crate::session::Session;

/// What is done to the variables.
#[derive(Debug, Clone)]
enum Step {
    /// One is set, by a list or by a map.
    Set { name: usize, value: String, as_map: bool },
    /// One is removed.
    Remove { name: usize },
    /// They are pushed once more.
    Sync,
}

const NAMES: [&str; 3] = ["MC_ALPHA", "MC_BETA", "MC_ALPHA_2"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Long enough that a preview cannot be the whole of it.
    let value = (text(), "[a-z]{16}").prop_map(|(text, rest)| format!("{text}{rest}"));
    let step = prop_oneof![
        4 => (0..NAMES.len(), value, any::<bool>())
            .prop_map(|(name, value, as_map)| Step::Set { name, value, as_map }),
        2 => (0..NAMES.len()).prop_map(|name| Step::Remove { name }),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(
        (step, prop::sample::select(Way::ALL.to_vec())).prop_map(|(step, _)| step),
        1..6,
    )
}

pub(super) fn reach(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let ways = prop::collection::vec(prop::sample::select(Way::ALL.to_vec()), 6);
    session.forall((steps(), ways), async |case, (steps, ways)| {
        let inside = room.enter(&case).await?;
        // The sandbox is shared: what an earlier case has set goes first.
        for name in NAMES {
            let reply = inside.client.delete(inside.at(&format!("/env/{name}"))).send().await?;
            if !matches!(reply.status, 204 | 404) {
                return Err(Fault::unable(reply.summary()));
            }
        }
        let mut model: BTreeMap<&str, String> = BTreeMap::new();
        for (step, way) in steps.iter().zip(ways) {
            take(&inside, &mut model, step).await?;
            listed(&inside, &model).await?;
            heard(&inside, &model, way).await?;
        }
        Ok(())
    })
}

async fn take(
    inside: &Inside,
    model: &mut BTreeMap<&str, String>,
    step: &Step,
) -> Result<(), Fault> {
    match step {
        Step::Set { name, value, as_map } => {
            let name = NAMES[*name];
            let body = if *as_map {
                json!({ "env": { name: value } })
            } else {
                json!({ "vars": [{ "key": name, "value": value, "encrypted": true }] })
            };
            let reply = inside.client.put(inside.at("/env"), body).send().await?.expect(200)?;
            let shown = String::from_utf8_lossy(&reply.body).contains(tail(value));
            reply.holds(!shown, format!("no value of {name}"), reply.summary())?;
            model.insert(name, value.clone());
        }
        Step::Remove { name } => {
            let name = NAMES[*name];
            let reply = inside.client.delete(inside.at(&format!("/env/{name}"))).send().await?;
            if model.remove(name).is_some() {
                reply.expect(204)?;
            } else {
                reply.refused(404)?;
            }
        }
        Step::Sync => {
            let reply = inside.post("/env/sync", json!({})).send().await?.expect(200)?;
            secret(&reply, model)?;
        }
    }
    Ok(())
}

/// The letters at a value's end stand in it as they are, however it is encoded.
fn tail(value: &str) -> &str {
    value.get(value.len().saturating_sub(16)..).unwrap_or(value)
}

fn secret(reply: &crate::Reply, model: &BTreeMap<&str, String>) -> Result<(), Fault> {
    let body = String::from_utf8_lossy(&reply.body);
    for (name, value) in model {
        let expected = format!("no value of {name} in {}", reply.place());
        reply.holds(!body.contains(tail(value)), expected, reply.summary())?;
    }
    Ok(())
}

async fn listed(inside: &Inside, model: &BTreeMap<&str, String>) -> Result<(), Fault> {
    let reply = inside.get("/env").send().await?.expect(200)?;
    let items = reply.items()?;
    let names = items.iter().filter_map(|item| item["key"].as_str());
    let mut names: Vec<&str> = names.filter(|name| name.starts_with("MC_")).collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = model.keys().copied().collect();
    expected.sort_unstable();
    reply.holds(names == expected, format!("variables {expected:?}"), format!("{names:?}"))?;
    secret(&reply, model)?;
    let record = inside.get("").send().await?.expect(200)?;
    secret(&record, model)
}

async fn heard(inside: &Inside, model: &BTreeMap<&str, String>, way: Way) -> Result<(), Fault> {
    let line = NAMES.map(|name| format!("printf '[%s]' \"${{{name}-none}}\"")).join("; ");
    let said = inside.run(way, &Ask::line(line)).await?;
    let expected = NAMES.map(|name| format!("[{}]", model.get(name).map_or("none", |v| v)));
    said.wrote(&format!("{way:?}: the variables"), expected.concat().as_bytes(), &said.stdout)
}
