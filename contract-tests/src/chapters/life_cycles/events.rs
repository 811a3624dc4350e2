//! Each change of a sandbox is told once, in order: as a list, and on the organization's stream.

use std::time::Duration;

use serde_json::Value;

use super::drive::{Drive, Kind};
use crate::case::Client;
use crate::fault::Fault;
use crate::model::{Alphabet, Place, Step, World, sandbox, snapshot};
use crate::session::Session;

struct Told;

impl Alphabet for Told {
    const SANDBOXES: usize = 1;

    fn has(step: &Step) -> bool {
        use sandbox::Act;
        match step {
            Step::Sandbox(_, act) => matches!(
                act,
                Act::Make { workspace: None, project: None, persistent: true, .. }
                    | Act::Pause
                    | Act::Stop
                    | Act::Resume
                    | Act::Look
                    | Act::Extend
                    | Act::Remove
            ),
            Step::Snapshot(_, act) => {
                matches!(
                    act,
                    snapshot::Act::Take { .. } | snapshot::Act::Remove | snapshot::Act::Restore
                )
            }
            _ => false,
        }
    }
}

/// `LIFE-011`.
pub fn told_once(session: &Session) -> Result<(), Fault> {
    session.forall(Told::walks(14..=14), async |case, walk| {
        let client = case.organization()?;
        let mut stream = client.get("/events/stream").stream().await?;
        if stream.status != 200 {
            return Err(Fault::unable(format!("the stream of events answered {}", stream.status)));
        }
        let mut expected = Vec::new();
        let drive = Drive::walk_with(
            client.clone(),
            &walk,
            &[Kind::Sandbox, Kind::Snapshot],
            |before, step, after| {
                expected.extend(events(before, step, after));
            },
        )
        .await?;
        let ids = drive.ids_of(&[Kind::Sandbox, Kind::Snapshot]);
        let expected: Vec<String> = expected
            .into_iter()
            .map(|(kind, at, name)| {
                let id = ids.iter().find(|((of, place), _)| (*of, *place) == (kind, at));
                format!("{name} {}", id.map_or("", |(_, id)| id.as_str()))
            })
            .collect();
        let listed = list(&client, &ids).await?;
        agree("the list of events", &expected, &listed)?;
        let mut streamed = Vec::new();
        while streamed.len() < expected.len() {
            let Some(event) = stream.next(Duration::from_secs(10)).await? else { break };
            let data = event.json();
            let id = data["id"].as_str().unwrap_or_default();
            let lasting = event.name.starts_with("snapshot.") || is_of_the_sandbox(&event.name);
            if lasting && ids.iter().any(|(_, known)| known == id) {
                streamed.push(format!("{} {id}", event.name));
            }
        }
        stream.close();
        agree("the stream of events", &expected, &streamed)
    })
}

/// The events of a sandbox itself, and not of what runs in it.
fn is_of_the_sandbox(name: &str) -> bool {
    let name = name.strip_prefix("sandbox.").unwrap_or_default();
    matches!(
        name,
        "created" | "started" | "ready" | "paused" | "resumed" | "idle" | "error" | "destroyed"
    )
}

/// What a step owes to be told.
fn events(before: &World, step: &Step, after: &World) -> Vec<(Kind, Place, &'static str)> {
    let of = match step {
        Step::Snapshot(at, _) => match (before.snapshots.get(*at), after.snapshots.get(*at)) {
            (None, Some(_)) => return vec![(Kind::Snapshot, *at, "snapshot.created")],
            (Some(_), None) => return vec![(Kind::Snapshot, *at, "snapshot.deleted")],
            (Some(snapshot), _) => snapshot.of,
            _ => return Vec::new(),
        },
        Step::Sandbox(at, _) => *at,
        _ => return Vec::new(),
    };
    let word = |world: &World| world.sandboxes.get(of).map(|one| one.stand.word());
    let mut told = Vec::new();
    if let Step::Snapshot(at, snapshot::Act::Restore) = step
        && word(before).is_some()
    {
        told.push((Kind::Snapshot, *at, "snapshot.restored"));
    }
    let names: &[&'static str] = match (word(before), word(after)) {
        (None, Some(_)) => &["sandbox.created", "sandbox.started", "sandbox.ready"],
        (Some(_), None) => &["sandbox.destroyed"],
        (Some("running"), Some("paused")) => &["sandbox.paused"],
        (Some("paused"), Some("running")) => &["sandbox.resumed"],
        _ => &[],
    };
    told.extend(names.iter().map(|name| (Kind::Sandbox, of, *name)));
    told
}

/// The events of these resources, oldest first, page by page.
async fn list(client: &Client, ids: &[((Kind, Place), String)]) -> Result<Vec<String>, Fault> {
    let (mut told, mut after, mut seen) = (Vec::new(), 0, Vec::new());
    loop {
        let reply = client.get(format!("/platform-events?limit=7&after_seq={after}"));
        let reply = reply.send().await?.expect(200)?;
        let items = reply.items()?;
        for item in &items {
            let seq = item["seq"].as_i64().unwrap_or_default();
            reply.holds(seq > after, format!("events after {after}, rising"), seq.to_string())?;
            after = seq;
            reply.holds(!seen.contains(&item["id"]), "each event once", item.to_string())?;
            seen.push(item["id"].clone());
            let id = item["subject_id"].as_str().unwrap_or_default();
            let name = item["type"].as_str().unwrap_or_default();
            if ids.iter().any(|(_, known)| known == id) {
                told.push(format!("{name} {id}"));
            }
        }
        if items.is_empty() || reply.json()?["next_cursor"] == Value::Null {
            return Ok(told);
        }
    }
}

fn agree(where_: &str, expected: &[String], told: &[String]) -> Result<(), Fault> {
    if expected == told {
        return Ok(());
    }
    let same = expected.iter().zip(told).take_while(|(a, b)| a == b).count();
    let rest = |all: &[String]| all.iter().skip(same).cloned().collect::<Vec<_>>().join(", ");
    Err(Fault::broken(
        format!("in {where_}, after {same} that are right: {}", rest(expected)),
        format!("{:?}", rest(told)),
    ))
}
