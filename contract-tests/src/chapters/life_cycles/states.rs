//! What is seen of a sandbox while it changes: states of the contract, on the way from where it was to where it goes.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::{Client, made};
use crate::fault::Fault;
use crate::session::Session;

/// How often it is looked at during one change, at most.
const LOOKS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Pause,
    Stop,
    Resume,
    Snapshot,
    Restore,
    Rename,
}

/// `LIFE-012`.
pub fn known(session: &Session) -> Result<(), Fault> {
    let change = prop::sample::select(vec![
        Change::Pause,
        Change::Stop,
        Change::Resume,
        Change::Snapshot,
        Change::Restore,
        Change::Rename,
    ]);
    session.forall(prop::collection::vec(change, 1..=8), async |case, changes| {
        let client = case.organization()?;
        let sandbox = format!("/sandboxes/{}", made::id(&client.sandbox().await?)?);
        let snapshots = client.make(&format!("{sandbox}/snapshots"), json!({})).await?;
        let snapshot = made::id(&snapshots)?;
        let mut state = "running".to_owned();
        for change in changes {
            state = one(&client, &sandbox, &snapshot, change, &state).await?;
        }
        Ok(())
    })
}

/// The states on the way of a change from a state; as many of them are seen as one is quick enough to see.
fn way(change: Change, from: &str) -> Vec<&str> {
    match (change, from) {
        (Change::Pause | Change::Stop, "running") => vec!["running", "pausing", "paused"],
        (Change::Stop, _) => vec![from, "pausing", "paused"],
        (Change::Resume, "paused") => vec!["paused", "resuming", "running"],
        (Change::Snapshot, _) => vec![from, "snapshotting", from],
        (Change::Restore, _) => vec![from, "resuming", "running"],
        _ => vec![from],
    }
}

async fn one(
    client: &Client,
    sandbox: &str,
    snapshot: &str,
    change: Change,
    from: &str,
) -> Result<String, Fault> {
    let to = |action: &str| client.post(format!("{sandbox}/{action}"), json!({}));
    let sending = match change {
        Change::Pause => to("pause"),
        Change::Stop => to("stop"),
        Change::Resume => to("resume"),
        Change::Snapshot => to("snapshots"),
        Change::Restore => to(&format!("restore/{snapshot}")),
        Change::Rename => client.patch(sandbox, json!({ "name": client.case().name() })),
    };
    let done = AtomicBool::new(false);
    let act = async {
        let reply = sending.send().await;
        done.store(true, Ordering::Relaxed);
        reply
    };
    let watch = async {
        let mut seen = Vec::new();
        while seen.len() < LOOKS && !done.load(Ordering::Relaxed) {
            seen.push(look(client, sandbox).await?);
        }
        Ok::<_, Fault>(seen)
    };
    let (reply, seen) = tokio::join!(act, watch);
    let (reply, mut seen) = (reply?, seen?);
    let happened = reply.status < 300;
    let last = look(client, sandbox).await?;
    seen.push(last.clone());
    let way = way(change, from);
    let way = if happened { way } else { vec![from] };
    let mut place = 0;
    for state in &seen {
        let found = way.iter().skip(place).position(|step| step == state);
        let Some(found) = found else {
            let expected = format!("{change:?} from {from} to lead along {}", way.join(", "));
            return Err(reply.broken(expected, format!("{state}, having seen {seen:?}")));
        };
        place += found;
    }
    let end = way.last().copied().unwrap_or(from);
    reply.holds(last == end, format!("{end} when {change:?} was answered"), last.clone())?;
    Ok(last)
}

/// Its state, by its record: a word of the contract, the same under both names.
async fn look(client: &Client, sandbox: &str) -> Result<String, Fault> {
    let reply = client.get(sandbox).send().await?.expect(200)?;
    let state = reply.text("state")?;
    let schema = &miosa_openapi::document()["components"]["schemas"]["SandboxState"];
    let words = schema["enum"].as_array();
    let known = words.is_none_or(|words| words.contains(&Value::from(state.as_str())));
    reply.holds(known, "a state that the contract has", state.clone())?;
    let status = reply.text("status")?;
    reply.holds(state == status, format!("status {state}, as the state"), status)?;
    Ok(state)
}
