//! Lines of a command as events.

use proptest::prelude::*;
use serde_json::json;

use crate::case::stream::Stream;
use crate::fault::Fault;
use crate::room::said::Said;
use crate::room::sse::{self, BOUND, exit_of, stream_of};
use crate::room::way::{Ask, Way, most_of};
use crate::room::{Inside, Room, shell};
use crate::session::Session;

/// Opens the stream of a command.
pub(super) async fn open(inside: &Inside, way: Way, line: &str) -> Result<Stream, Fault> {
    let mut body = json!({ "command": line });
    let start = match way {
        Way::Ticket => {
            body["ticket"] = json!(true);
            return inside.ticketed(body).await;
        }
        Way::Process => "/processes",
        Way::CommandsDetached => "/commands",
        Way::ExecDetached => "/exec",
        _ => return inside.post("/exec/stream", body).stream().await,
    };
    if way != Way::Process {
        body["detached"] = json!(true);
    }
    let id = inside.post(start, body).send().await?.expect(201)?.id()?;
    inside.get(&format!("/processes/{id}/stream")).stream().await
}

/// Says so many lines.
fn counts(lines: usize) -> String {
    (0..lines).fold(String::new(), |said, n| format!("{said}echo {n}; "))
}

pub(super) fn exits(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let drawn = (any::<u8>(), 0usize..4, any::<bool>(), most_of(&Way::STREAMED));
    session.forall(drawn, async |case, (code, lines, unended, ways)| {
        let inside = room.enter(&case).await?;
        let mut said = counts(lines);
        if unended {
            said += "printf rest; ";
        }
        for way in ways {
            let stream = open(&inside, way, &format!("{said}exit {code}")).await?;
            let typed = stream
                .headers
                .get("content-type")
                .map(|it| it.to_str().unwrap_or_default().to_owned());
            let told = sse::read(stream).await?;
            let is_stream = typed.as_deref().is_some_and(|it| it.starts_with("text/event-stream"));
            told.said.holds(
                is_stream,
                format!("{way:?} typed text/event-stream"),
                format!("{typed:?}"),
            )?;
            told.said.ended(&format!("{way:?}"), code.into())?;
            let last = told.events.last();
            told.said.holds(
                last.and_then(exit_of) == Some(code.into()),
                format!("{way:?}: the exit code in the last event"),
                format!("{last:?}"),
            )?;
            let exits = told.events.iter().filter(|event| exit_of(event).is_some()).count();
            told.said.holds(exits == 1, format!("{way:?}: one exit"), format!("{exits}"))?;
        }
        Ok(())
    })
}

/// A line, and whether it is ended.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::sample::select(vec![
        "",
        "a",
        " lead",
        "data: x",
        "event: exit",
        ":comment",
        "id: 7",
        "é€🦀",
        "\u{2028}",
        "\u{85}x",
        "\t",
        "{}",
        "[DONE]",
        "\"",
    ]);
    let sizes = prop::sample::select(vec![4095usize, 4096, 65_535, 65_536, 65_537, 200_000]);
    let line = prop_oneof![
        5 => odd.prop_map(|text| text.as_bytes().to_vec()),
        1 => sizes.prop_map(|size| vec![b'y'; size]),
    ];
    (prop::collection::vec(line, 1..8), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join(&b'\n');
        if ended {
            text.push(b'\n');
        }
        text
    })
}

/// The command that writes this, each run of one letter and the rest for themselves; characters in two halves.
fn writes(text: &[u8]) -> String {
    if text.is_empty() {
        return "true".to_owned();
    }
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for run in text.chunk_by(|one, other| one == other) {
        match pieces.last_mut() {
            // A piece ends within the character.
            Some(piece) if run[0] & 0xc0 != 0x80 && run.len() < 60 && piece.len() < 60 => {
                piece.extend_from_slice(run);
            }
            _ => pieces.push(run.to_vec()),
        }
    }
    pieces.iter().map(|piece| shell::says(piece, false)).collect::<Vec<_>>().join("; ")
}

pub(super) fn joined(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((text(), most_of(&Way::STREAMED)), async |case, (text, ways)| {
        let inside = room.enter(&case).await?;
        let line = writes(&text);
        let answered = inside.run(Way::Exec, &Ask::line(line.clone())).await?;
        answered.wrote("exec", &text, &answered.stdout)?;
        for way in ways {
            let told = sse::read(open(&inside, way, &line).await?).await?;
            told.said.ended(&format!("{way:?}"), 0)?;
            // Of a line without an end some tell no more than the line.
            let (got, expected) = (strip(&told.said.stdout), strip(&text));
            told.said.wrote(&format!("{way:?}, joined"), expected, got)?;
            each(&told, way, &text)?;
        }
        Ok(())
    })
}

fn strip(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

/// Each event is a line, where no line is so long that it comes in parts.
fn each(told: &sse::Told, way: Way, text: &[u8]) -> Result<(), Fault> {
    let expected = String::from_utf8_lossy(text).into_owned();
    if expected.split('\n').any(|line| line.len() > 60_000) {
        return Ok(());
    }
    let lines: Vec<String> = told
        .events
        .iter()
        .filter(|event| stream_of(event).is_some())
        .map(|event| event.json()["line"].as_str().unwrap_or("no line").to_owned())
        .collect();
    let mut expected: Vec<&str> = expected.split('\n').collect();
    if expected.last() == Some(&"") {
        expected.pop();
    }
    told.said.holds(lines == expected, format!("{way:?}: lines {expected:?}"), format!("{lines:?}"))
}

pub(super) fn live(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((1usize..4, most_of(&Way::STREAMED)), async |case, (before, ways)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        for (n, way) in ways.into_iter().enumerate() {
            let go = inside.path(&format!("go-{n}"));
            let said = counts(before);
            let line = format!(
                "{said}i=0; while [ ! -e {0} ] && [ $i -lt 300 ]; do sleep 0.03; i=$((i+1)); done; [ -e {0} ] && echo after",
                shell::quoted(&go)
            );
            let mut stream = open(&inside, way, &line).await?;
            let mut came = Vec::new();
            // Six seconds: by then the command, which waits for nine, is not over.
            while came.len() < before {
                match stream.next(std::time::Duration::from_secs(6)).await {
                    Ok(Some(event)) if stream_of(&event).is_some() => came.push(event),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => {
                        let at = Some(stream.close());
                        let expected = format!("{way:?}: {before} lines while the command runs");
                        return Err(Fault::Broken { expected, got: format!("{}", came.len()), at });
                    }
                }
            }
            inside.put(&go, b"").await?;
            let rest = stream.rest(BOUND).await;
            let said = Said { at: stream.close(), ..Said::default() };
            let rest = rest.map_err(|fault| match fault {
                Fault::Broken { expected, got, .. } => said.broken(format!("{way:?}: {expected}"), got),
                other => other,
            })?;
            let shown = format!("{rest:?}");
            let ended = rest.last().and_then(exit_of) == Some(0);
            said.holds(ended, format!("{way:?}: the exit, and then the end"), shown.clone())?;
            said.holds(rest.len() == 2, format!("{way:?}: a line and the exit"), shown)?;
        }
        Ok(())
    })
}

pub(super) fn apart(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let lines = prop::collection::vec((any::<bool>(), "[a-z]{0,6}"), 1..8);
    session.forall((lines, most_of(&Way::STREAMED)), async |case, (lines, ways)| {
        let inside = room.enter(&case).await?;
        let line: Vec<String> = lines
            .iter()
            .map(|(to_stderr, text)| shell::says(format!("{text}\n").as_bytes(), *to_stderr))
            .collect();
        let of = |stderr: bool| -> Vec<&str> {
            lines.iter().filter(|line| line.0 == stderr).map(|line| line.1.as_str()).collect()
        };
        for way in ways {
            let told = sse::read(open(&inside, way, &line.join("; ")).await?).await?;
            for (name, stderr) in [("stdout", false), ("stderr", true)] {
                let events = told.events.iter().filter(|event| stream_of(event) == Some(stderr));
                let got: Vec<String> = events
                    .map(|event| event.json()["line"].as_str().unwrap_or("no line").to_owned())
                    .collect();
                let expected = of(stderr);
                told.said.holds(
                    got == expected,
                    format!("{way:?}: {name} {expected:?}"),
                    format!("{got:?}"),
                )?;
            }
        }
        Ok(())
    })
}
