//! Processes that outlive their request.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::room::way::{Ask, Way};
use crate::room::{Inside, Room};
use crate::session::Session;

/// How it is started: the path, and where it is found again.
const STARTS: [(&str, &str); 3] =
    [("/processes", "/processes"), ("/commands", "/commands"), ("/exec", "/commands")];

/// How it ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By itself, with this code.
    Itself(u8),
    /// `DELETE /processes/{id}`.
    Delete,
    /// `POST /commands/{id}/kill`, or DELETE where it is no command.
    Kill,
    /// `POST /processes/{id}/signal`.
    Signal(&'static str),
}

pub(super) fn told(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let ends = prop_oneof![
        2 => any::<u8>().prop_map(End::Itself),
        1 => Just(End::Delete),
        1 => Just(End::Kill),
        1 => prop::sample::select(vec!["SIGTERM", "KILL", "2"]).prop_map(End::Signal),
    ];
    let drawn = (prop::collection::vec(ends, STARTS.len()), 0usize..30, 0usize..40);
    session.forall(drawn, async |case, (ends, lines, tail)| {
        let inside = room.enter(&case).await?;
        for (start, end) in STARTS.iter().zip(ends) {
            one(&inside, *start, end, lines, tail).await?;
        }
        Ok(())
    })
}

async fn one(
    inside: &Inside,
    (start, family): (&str, &str),
    end: End,
    lines: usize,
    tail: usize,
) -> Result<(), Fault> {
    let goes_on = match end {
        End::Itself(code) => format!("exit {code}"),
        _ => "exec sleep 100".to_owned(),
    };
    let line = format!(
        "i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done; echo said; {goes_on}"
    );
    let mut body = json!({ "command": line });
    if start != "/processes" {
        body["detached"] = json!(true);
    }
    let started = inside.post(start, body).send().await?.expect(201)?;
    let (id, pid) = (started.id()?, started.data()?["pid"].as_str().map(str::to_owned));
    listed(inside, family, &id).await?;
    // Until it has said everything, the end that is drawn would cut it short.
    let mut stream = inside.get(&format!("/processes/{id}/stream")).stream().await?;
    let said_all = loop {
        match stream.next(crate::room::sse::BOUND).await? {
            Some(event) if event.json()["line"] == "said" => break true,
            Some(_) => {}
            None => break false,
        }
    };
    let at = Some(stream.close());
    if !said_all {
        let expected = "a line that the process said".to_owned();
        return Err(Fault::Broken { expected, got: "the stream's end".to_owned(), at });
    }
    match end {
        End::Itself(_) => {}
        End::Kill if family == "/commands" => {
            let path = format!("/commands/{id}/kill");
            inside.post(&path, json!({})).send().await?.expect(200)?;
        }
        End::Delete | End::Kill => {
            let path = inside.at(&format!("/processes/{id}"));
            stopped(&inside.client.delete(path).send().await?)?;
        }
        End::Signal(signal) => {
            let path = format!("/processes/{id}/signal");
            inside.post(&path, json!({ "signal": signal })).send().await?.expect(200)?;
        }
    }
    let record = inside.ended(family, &id).await?;
    if let End::Itself(code) = end {
        record.said.ended("a process that ended by itself", code.into())?;
        let status = &record.data["status"];
        record.said.holds(status == "exited", "status exited", status.to_string())?;
    } else {
        let code = record.said.exit;
        record.said.holds(
            code != Some(0),
            "no exit code 0 of what was killed",
            format!("{code:?}"),
        )?;
        if let Some(pid) = pid {
            let looked = inside.run(Way::Exec, &Ask::line(format!("kill -0 {pid}"))).await?;
            looked.holds(looked.exit != Some(0), format!("process {pid} gone"), "it still runs")?;
        }
    }
    log(inside, family, &id, lines, tail).await?;
    listed(inside, family, &id).await
}

/// DELETE answers the record (miosa-go 2.0) or nothing (older SDKs).
fn stopped(reply: &crate::Reply) -> Result<(), Fault> {
    let expected = format!("200 or 204 from {}", reply.place());
    reply.holds(matches!(reply.status, 200 | 204), expected, reply.summary())
}

async fn listed(inside: &Inside, family: &str, id: &str) -> Result<(), Fault> {
    for list in [family, "/processes"] {
        let reply = inside.get(&format!("{list}?page_size=100")).send().await?.expect(200)?;
        let items = reply.items()?;
        let there = items.iter().any(|item| item["id"] == id);
        reply.holds(there, format!("{id} in {list}"), format!("{} others", items.len()))?;
    }
    Ok(())
}

async fn log(
    inside: &Inside,
    family: &str,
    id: &str,
    lines: usize,
    tail: usize,
) -> Result<(), Fault> {
    let mut all: Vec<String> = (0..lines).map(|n| format!("line {n}")).collect();
    all.push("said".to_owned());
    for wanted in [tail, 1000] {
        let path = format!("{family}/{id}/logs?tail={wanted}");
        let reply = inside.get(&path).send().await?.expect(200)?;
        let (data, whole) = (reply.data()?, reply.json()?);
        let text = data.as_str().or_else(|| data["text"].as_str());
        let got: Vec<String> = match (text, &whole["lines"]) {
            (Some(text), _) => text.lines().map(str::to_owned).collect(),
            (None, Value::Array(lines)) => {
                lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        };
        let expected = all.get(all.len() - wanted.min(all.len())..).unwrap_or_default();
        reply.holds(got == expected, format!("{expected:?}"), format!("{got:?}"))?;
    }
    Ok(())
}
