//! What time does to a sandbox, by moving the clock.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::{Client, Reply, made};
use crate::fault::Fault;
use crate::session::Session;

/// How long what is due may take to happen.
const SOON: Duration = Duration::from_secs(10);

/// Seconds that the steps of a case may take themselves.
const SLACK: u64 = 20;

fn path(sandbox: &Value) -> Result<String, Fault> {
    Ok(format!("/sandboxes/{}", made::id(sandbox)?))
}

async fn make(client: &Client, fields: Value) -> Result<String, Fault> {
    let mut body = json!({ "name": client.case().name() });
    for (name, value) in fields.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    path(&client.make("/sandboxes", body).await?)
}

/// Reads it until it is as wanted.
async fn becomes(
    client: &Client,
    sandbox: &str,
    expected: &str,
    is: impl Fn(&Reply) -> bool,
) -> Result<(), Fault> {
    let since = Instant::now();
    loop {
        let reply = client.get(sandbox).send().await?;
        if is(&reply) {
            return Ok(());
        }
        if since.elapsed() > SOON {
            return Err(reply.broken(format!("{expected} within 10 s"), reply.summary()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn state(reply: &Reply) -> String {
    reply.text("state").unwrap_or_default()
}

/// Looks for a while: what comes too early comes soon after the clock was moved.
async fn runs(client: &Client, sandbox: &str, why: &str) -> Result<(), Fault> {
    for _ in 0..5 {
        let reply = client.get(sandbox).send().await?.expect(200)?;
        let state = state(&reply);
        reply.holds(state == "running", format!("running: {why}"), state)?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[derive(Debug, Clone)]
struct Timeout {
    seconds: u64,
    extended: bool,
}

/// `LIFE-008`.
pub fn timeouts(session: &Session) -> Result<(), Fault> {
    let drawn =
        (60u64..=7200, any::<bool>()).prop_map(|(seconds, extended)| Timeout { seconds, extended });
    session.forall(drawn, async |case, Timeout { seconds, extended }| {
        let client = case.organization()?;
        let kept = make(&client, json!({ "timeout_sec": seconds, "persistent": true })).await?;
        let brief = make(&client, json!({ "timeout_sec": seconds, "persistent": false })).await?;
        client.advance(seconds - SLACK).await?;
        if extended {
            for sandbox in [&kept, &brief] {
                client.post(format!("{sandbox}/extend"), json!({})).send().await?.expect(200)?;
            }
            client.advance(seconds - SLACK).await?;
        }
        for sandbox in [&kept, &brief] {
            runs(&client, sandbox, "its timeout has not come").await?;
        }
        client.advance(SLACK).await?;
        becomes(&client, &kept, "paused by its timeout", |reply| state(reply) == "paused").await?;
        becomes(&client, &brief, "destroyed by its timeout", |reply| {
            reply.status == 404 || state(reply) == "destroyed"
        })
        .await?;
        // What is gone comes no more; what is paused does, for as long again.
        let refused = client.post(format!("{brief}/resume"), json!({})).send().await?;
        refused.holds(
            matches!(refused.status, 404 | 409),
            "404 or 409: it has ended",
            refused.summary(),
        )?;
        client.post(format!("{kept}/resume"), json!({})).send().await?.expect(200)?;
        client.advance(seconds - SLACK).await?;
        runs(&client, &kept, "its timeout began anew when it was resumed").await
    })
}

/// A use of a sandbox.
#[derive(Debug, Clone, Copy)]
enum Use {
    Exec,
    Write,
    Read,
}

/// `LIFE-014`.
pub fn idleness(session: &Session) -> Result<(), Fault> {
    let uses = prop::sample::select(vec![Use::Exec, Use::Write, Use::Read]);
    session.forall((60u64..=3600, uses), async |case, (seconds, how)| {
        let client = case.organization()?;
        let idle = json!({ "idle_timeout_sec": seconds, "timeout_sec": 86_400 });
        let quiet = make(&client, idle.clone()).await?;
        let used = make(&client, idle).await?;
        let write = |sandbox: &str| {
            let body = json!({ "path": "/workspace/used", "content_base64": "eA==" });
            client.post(format!("{sandbox}/fs/write"), body)
        };
        write(&used).send().await?.needs(201)?;
        client.advance(seconds - SLACK).await?;
        runs(&client, &quiet, "it is not idle for long enough").await?;
        let reply = match how {
            Use::Exec => client.post(format!("{used}/exec"), json!({ "command": "true" })),
            Use::Write => write(&used),
            Use::Read => client.get(format!("{used}/files/read?path=/workspace/used")),
        }
        .send()
        .await?;
        if reply.status >= 300 {
            return reply.needs(200).map(drop);
        }
        client.advance(SLACK).await?;
        becomes(&client, &quiet, "paused, as it is idle", |reply| state(reply) == "paused").await?;
        runs(&client, &used, "it was used since").await?;
        client.advance(seconds).await?;
        becomes(&client, &used, "paused, as it is idle now", |reply| state(reply) == "paused").await
    })
}
