//! A restore brings the files of the snapshot and none that are newer; a fork goes its own way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::case::{Client, made};
use crate::fault::Fault;
use crate::session::Session;

/// Where the files are.
const FOLDER: &str = "/workspace/kept";

/// What is done to a file: written, or removed.
type Change = (&'static str, Option<String>);

/// Something is written in any case.
fn some() -> impl Strategy<Value = Vec<Change>> {
    let first = (prop::sample::select(vec!["a", "b", "c"]), "[a-z0-9]{1,6}");
    (first, changes()).prop_map(|((name, text), mut changes)| {
        changes.push((name, Some(text)));
        changes
    })
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let name = prop::sample::select(vec!["a", "b", "c", "d e"]);
    prop::collection::vec((name, prop::option::weighted(0.75, "[a-z0-9]{0,6}")), 0..=4)
}

#[derive(Debug, Clone)]
struct Story {
    before: Vec<Change>,
    after: Vec<Change>,
    in_fork: Vec<Change>,
    in_first: Vec<Change>,
    paused: bool,
    /// Whether the sandbox is forked as it is, and not its snapshot.
    live: bool,
}

/// `LIFE-010`.
pub fn restored(session: &Session) -> Result<(), Fault> {
    let flags = (prop::bool::weighted(0.3), any::<bool>());
    let story = (some(), some(), some(), changes(), flags).prop_map(
        |(before, after, in_fork, in_first, (paused, live))| Story {
            before,
            after,
            in_fork,
            in_first,
            paused,
            live,
        },
    );
    session.forall(story, async |case, story| {
        let client = case.organization()?;
        let first = format!("/sandboxes/{}", made::id(&client.sandbox().await?)?);
        let mut kept = BTreeMap::new();
        change(&client, &first, &story.before, &mut kept).await?;
        let snapshot = made::id(&client.make(&format!("{first}/snapshots"), json!({})).await?)?;
        let mut now = kept.clone();
        change(&client, &first, &story.after, &mut now).await?;
        holds(&client, &first, &now, "as it was written").await?;
        if story.paused {
            client.post(format!("{first}/pause"), json!({})).send().await?.needs(200)?;
        }
        client.post(format!("{first}/restore/{snapshot}"), json!({})).send().await?.expect(200)?;
        holds(&client, &first, &kept, "as the snapshot has it").await?;
        let from = if story.live { first.clone() } else { format!("/snapshots/{snapshot}") };
        let forked = client.post(format!("{from}/fork"), json!({})).send().await?;
        let fork = format!("/sandboxes/{}", forked.expect(201)?.id()?);
        let (mut of_first, mut of_fork) = (kept.clone(), kept);
        change(&client, &fork, &story.in_fork, &mut of_fork).await?;
        change(&client, &first, &story.in_first, &mut of_first).await?;
        holds(&client, &fork, &of_fork, "the fork's own").await?;
        holds(&client, &first, &of_first, "the first's own").await
    })
}

async fn exec(client: &Client, sandbox: &str, command: &str) -> Result<String, Fault> {
    let body = json!({ "command": command });
    client.post(format!("{sandbox}/exec"), body).send().await?.needs(200)?.text("stdout")
}

async fn change(
    client: &Client,
    sandbox: &str,
    changes: &[Change],
    files: &mut BTreeMap<String, String>,
) -> Result<(), Fault> {
    let mut script = format!("mkdir -p {FOLDER} && cd {FOLDER}");
    for (name, content) in changes {
        match content {
            Some(content) => {
                script += &format!("; printf %s '{content}' > '{name}'");
                files.insert((*name).to_owned(), content.clone());
            }
            None => {
                script += &format!("; rm -f '{name}'");
                files.remove(*name);
            }
        }
    }
    exec(client, sandbox, &script).await.map(drop)
}

async fn holds(
    client: &Client,
    sandbox: &str,
    files: &BTreeMap<String, String>,
    how: &str,
) -> Result<(), Fault> {
    let script = format!(
        "cd {FOLDER}; for f in *; do [ -e \"$f\" ] && printf '%s=%s;' \"$f\" \"$(cat \"$f\")\"; done; true"
    );
    let body = json!({ "command": script });
    let reply = client.post(format!("{sandbox}/exec"), body).send().await?.expect(200)?;
    let files: Vec<String> = files.iter().map(|(name, text)| format!("{name}={text};")).collect();
    let expected = files.concat();
    let said = reply.text("stdout")?;
    reply.holds(said == expected, format!("{how}: {expected:?}"), format!("{said:?}"))
}
