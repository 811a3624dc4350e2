//! Streams of events that are resumed.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::case::stream::Event;
use crate::fault::Fault;
use crate::room::way::{Ask, Way};
use crate::room::{Inside, Room, encode};
use crate::session::Session;

/// How the last event is named.
#[derive(Debug, Clone, Copy)]
enum Name {
    Header,
    Query,
}

pub(super) fn resumed(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let named = prop_oneof![Just(Name::Header), Just(Name::Query)];
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), named), 1..3);
    session.forall((1usize..4, cuts), async |case, (times, cuts)| {
        let inside = room.enter(&case).await?;
        let mut word = String::new();
        for n in 0..times {
            // Its own word marks the last command.
            word = format!("{}-{n}", inside.folder);
            inside.run(Way::Exec, &Ask::line(format!("echo {word}"))).await?;
        }
        for path in [inside.at("/events"), inside.at("/logs/stream")] {
            check(&inside, &path, &Last::Said(word.clone()), &cuts).await?;
        }
        // The organization hears of a sandbox's states, not of its commands.
        inside.post("/pause", json!({})).send().await?.needs(200)?;
        inside.post("/resume", json!({})).send().await?.needs(200)?;
        let path = format!("/platform-events?limit=200&subject_id={}", inside.sandbox);
        let list = inside.client.get(path).send().await?.needs(200)?;
        let last = list.items()?.last().and_then(|event| event["id"].as_str().map(str::to_owned));
        let last = last.ok_or_else(|| Fault::unable("no events of a sandbox that was paused"))?;
        check(&inside, "/events/stream", &Last::Id(last), &cuts).await
    })
}

/// How the last event is known.
enum Last {
    /// It ends the command that said this.
    Said(String),
    /// It has this id.
    Id(String),
}

async fn check(
    inside: &Inside,
    path: &str,
    last: &Last,
    cuts: &[(prop::sample::Index, Name)],
) -> Result<(), Fault> {
    let (all, at) = read(inside, &format!("{path}?backlog=200"), None, last).await?;
    for two in all.windows(2) {
        let [one, next] = two else { continue };
        if one.id.is_empty() || next.id <= one.id {
            return Err(Fault::Broken {
                expected: format!("{path}: ids that grow"),
                got: format!("{:?} and then {:?}", one.id, next.id),
                at: Some(at),
            });
        }
    }
    // What is read again may begin after the word.
    let last = &Last::Id(all.last().map(|event| event.id.clone()).unwrap_or_default());
    for (cut, name) in cuts {
        // Something must come after it, since the stream does not end.
        let Some(most) = all.len().checked_sub(2) else { continue };
        let cut = cut.index(most + 1);
        let Some(seen) = all.get(cut) else { continue };
        let (again, at) = match name {
            Name::Header => read(inside, path, Some(&seen.id), last).await?,
            Name::Query => {
                let path = format!("{path}?last_event_id={}", encode(&seen.id));
                read(inside, &path, None, last).await?
            }
        };
        let expected = all.get(cut + 1..).unwrap_or_default();
        if again != expected {
            return Err(Fault::Broken {
                expected: format!("{path} after {}, by {name:?}: {}", seen.id, ids(expected)),
                got: ids(&again),
                at: Some(at),
            });
        }
    }
    Ok(())
}

fn ids(events: &[Event]) -> String {
    let ids: Vec<String> =
        events.iter().map(|event| format!("{} {}", event.name, event.id)).collect();
    format!("{} events: {}", ids.len(), ids.join(", "))
}

/// Reads to the last event.
async fn read(
    inside: &Inside,
    path: &str,
    seen: Option<&str>,
    last: &Last,
) -> Result<(Vec<Event>, usize), Fault> {
    let mut sending = inside.client.get(path);
    if let Some(seen) = seen {
        sending = sending.header("Last-Event-ID", seen);
    }
    let mut stream = sending.stream().await?;
    if stream.status != 200 {
        let got = format!("{}", stream.status);
        let at = Some(stream.close());
        return Err(Fault::Broken { expected: format!("200 from {path}"), got, at });
    }
    let mut events: Vec<Event> = Vec::new();
    let mut command = None;
    loop {
        let Ok(Some(event)) = stream.next(Duration::from_secs(10)).await else {
            let at = Some(stream.close());
            let expected = format!("what happened last from {path}");
            return Err(Fault::Broken { expected, got: ids(&events), at });
        };
        let data = event.json();
        let over = match last {
            Last::Id(id) => event.id == *id,
            Last::Said(word) => {
                if data["line"] == word.as_str() {
                    command = Some(data["exec_id"].clone());
                }
                let ends = event.name == "sandbox.exec.completed" || data["stream"] == "system";
                ends && command.as_ref() == Some(&data["exec_id"])
            }
        };
        events.push(event);
        if over {
            return Ok((events, stream.close()));
        }
    }
}
