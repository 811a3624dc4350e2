//! Streams of events that are resumed.

use std::time::Duration;

use proptest::prelude::*;

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

/// Where events come from: of the sandbox, of its log, of the organization.
const STREAMS: [&str; 3] = ["/events", "/logs/stream", "organization"];

pub(super) fn resumed(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let named = prop_oneof![Just(Name::Header), Just(Name::Query)];
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), named), 1..3);
    session.forall((1usize..4, cuts), async |case, (commands, cuts)| {
        let inside = room.enter(&case).await?;
        let mut last = String::new();
        for n in 0..commands {
            // Its own word marks the end of what is to be read.
            last = format!("{}-{n}", inside.folder);
            inside.run(Way::Exec, &Ask::line(format!("echo {last}"))).await?;
        }
        for stream in STREAMS {
            whole(&inside, stream, &last, &cuts).await?;
        }
        Ok(())
    })
}

async fn whole(
    inside: &Inside,
    stream: &str,
    last: &str,
    cuts: &[(prop::sample::Index, Name)],
) -> Result<(), Fault> {
    let path = if stream == "organization" {
        "/events/stream".to_owned()
    } else {
        inside.at(stream)
    };
    let (all, at) = read(inside, &format!("{path}?backlog=200"), None, last).await?;
    let broken = |expected: String, got: String| Fault::Broken { expected, got, at: Some(at) };
    for two in all.windows(2) {
        let [one, next] = two else { continue };
        if one.id.is_empty() || next.id <= one.id {
            return Err(broken(
                format!("{path}: ids that grow"),
                format!("{:?} and then {:?}", one.id, next.id),
            ));
        }
    }
    for (cut, name) in cuts {
        // Something must come after it, since the stream does not end.
        let Some(most) = all.len().checked_sub(2) else { continue };
        let cut = cut.index(most + 1);
        let Some(seen) = all.get(cut) else { continue };
        let (again, at) = match name {
            Name::Header => read(inside, &path, Some(&seen.id), last).await?,
            Name::Query => {
                let path = format!("{path}?last_event_id={}", encode(&seen.id));
                read(inside, &path, None, last).await?
            }
        };
        let expected = all.get(cut + 1..).unwrap_or_default();
        if again != expected {
            let ids = |events: &[Event]| {
                let ids: Vec<String> =
                    events.iter().map(|it| format!("{} {}", it.name, it.id)).collect();
                format!("{} events: {}", ids.len(), ids.join(", "))
            };
            return Err(Fault::Broken {
                expected: format!("{path} after {}, by {name:?}: {}", seen.id, ids(expected)),
                got: ids(&again),
                at: Some(at),
            });
        }
    }
    Ok(())
}

/// Reads until the last command has ended, as far as this stream tells of that.
async fn read(
    inside: &Inside,
    path: &str,
    seen: Option<&str>,
    last: &str,
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
    let mut mine = None;
    loop {
        let event = match stream.next(Duration::from_secs(10)).await {
            Ok(Some(event)) => event,
            Ok(None) | Err(_) => {
                let at = Some(stream.close());
                let expected = format!("the events of the last command from {path}");
                return Err(Fault::Broken { expected, got: format!("{} others", events.len()), at });
            }
        };
        let data = event.json();
        let exec = data["exec_id"].clone();
        // The command that says the word is the last one; its end is the last event.
        if data["line"] == last {
            mine = Some(exec.clone());
        }
        let ends = event.name == "sandbox.exec.completed" || data["stream"] == "system";
        events.push(event);
        if ends && mine.as_ref() == Some(&exec) {
            return Ok((events, stream.close()));
        }
    }
}
