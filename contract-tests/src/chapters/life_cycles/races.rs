//! Conflicting transitions at once: one wins.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::{Client, Reply, Sending, made};
use crate::fault::Fault;
use crate::session::Session;

/// What many want at once and only one can have.
#[derive(Debug, Clone, Copy)]
enum Contest {
    Pause,
    Resume,
    Stop,
    NameSnapshot,
    DeleteSnapshot,
    OpenPreview,
    DeletePreview,
    DeleteKey,
    DeleteProject,
    DeleteWorkspace,
    DeleteSandbox,
}

/// In an order in which one sandbox serves all: it is removed by the last.
const CONTESTS: &[Contest] = &[
    Contest::Pause,
    Contest::Resume,
    Contest::Stop,
    Contest::NameSnapshot,
    Contest::DeleteSnapshot,
    Contest::OpenPreview,
    Contest::DeletePreview,
    Contest::DeleteKey,
    Contest::DeleteProject,
    Contest::DeleteWorkspace,
    Contest::DeleteSandbox,
];

/// `LIFE-009`.
pub fn one_wins(session: &Session) -> Result<(), Fault> {
    let contests: Vec<_> = CONTESTS
        .iter()
        .map(|contest| {
            let many = (2usize..=6).prop_map(|many| (*contest, many));
            prop::option::weighted(0.99, many)
        })
        .collect();
    let contests = contests.prop_map(|all| all.into_iter().flatten().collect::<Vec<_>>());
    session.forall(contests, async |case, contests| {
        let client = case.organization()?;
        let sandbox = format!("/sandboxes/{}", made::id(&client.sandbox().await?)?);
        for (contest, many) in contests {
            hold(&client, &sandbox, contest, many).await?;
        }
        Ok(())
    })
}

async fn hold(client: &Client, sandbox: &str, contest: Contest, many: usize) -> Result<(), Fault> {
    let each = |make: &dyn Fn(usize) -> Sending| (0..many).map(make).collect::<Vec<_>>();
    let act = |name: &str| each(&|_| client.post(format!("{sandbox}/{name}"), json!({})));
    let delete = |path: &str| each(&|_| client.delete(path));
    match contest {
        Contest::Pause => {
            // A shorter form may have left out what began with it running or paused.
            wake(client, sandbox).await?;
            one(contest, act("pause"), 200, 409).await
        }
        Contest::Resume => {
            wake(client, sandbox).await?;
            client.post(format!("{sandbox}/pause"), json!({})).send().await?.needs(200)?;
            one(contest, act("resume"), 200, 409).await
        }
        Contest::Stop => {
            wake(client, sandbox).await?;
            one(contest, act("stop"), 200, 409).await?;
            wake(client, sandbox).await
        }
        Contest::NameSnapshot => {
            let id = made::id(&client.make(&format!("{sandbox}/snapshots"), json!({})).await?)?;
            let name = client.case().name();
            let name = |n: usize| {
                let body = json!({ "name": format!("{name}-{n}"), "snapshot_id": id });
                client.post("/named-snapshots", body)
            };
            one(contest, each(&name), 201, 409).await
        }
        Contest::DeleteSnapshot => {
            let id = made::id(&client.make(&format!("{sandbox}/snapshots"), json!({})).await?)?;
            one(contest, delete(&format!("{sandbox}/snapshots/{id}")), 204, 404).await
        }
        Contest::OpenPreview => previews(client, sandbox, many).await,
        Contest::DeletePreview => {
            let path = format!("{sandbox}/previews");
            let id = made::id(&client.make(&path, json!({ "port": 4201 })).await?)?;
            one(contest, delete(&format!("{path}/{id}")), 204, 404).await
        }
        Contest::DeleteKey => {
            let id = made::id(&client.minted(None).await?)?;
            one(contest, delete(&format!("/api-keys/{id}")), 204, 404).await
        }
        Contest::DeleteProject => {
            let workspace = made::id(&client.workspace().await?)?;
            let id = made::id(&client.project(&workspace).await?)?;
            one(contest, delete(&format!("/projects/{id}")), 204, 404).await
        }
        Contest::DeleteWorkspace => {
            let id = made::id(&client.workspace().await?)?;
            one(contest, delete(&format!("/workspaces/{id}")), 204, 404).await
        }
        Contest::DeleteSandbox => one(contest, delete(sandbox), 200, 404).await,
    }
}

async fn wake(client: &Client, sandbox: &str) -> Result<(), Fault> {
    let state = client.get(sandbox).send().await?.needs(200)?.text("state")?;
    if state == "paused" {
        client.post(format!("{sandbox}/resume"), json!({})).send().await?.needs(200)?;
    }
    Ok(())
}

/// Sends them at once: one is answered as the winner, all others as losers.
async fn one(
    contest: Contest,
    sendings: Vec<Sending>,
    winner: u16,
    loser: u16,
) -> Result<(), Fault> {
    let replies = made::at_once(sendings).await?;
    judge(&format!("{contest:?}"), &replies, winner, loser)
}

/// Whether one is answered as the winner, and all others as losers.
pub fn judge(what: &str, replies: &[Reply], winner: u16, loser: u16) -> Result<(), Fault> {
    let expected = format!("{what}, {} at once: {winner} once, {loser} else", replies.len());
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    for reply in replies {
        let known = reply.status == winner || reply.status == loser;
        reply.holds(known, expected.clone(), reply.summary())?;
        if reply.status == loser {
            reply.refusal()?;
        }
    }
    let won = replies.iter().filter(|reply| reply.status == winner).count();
    match replies.last() {
        Some(last) => last.holds(won == 1, expected, format!("{statuses:?}")),
        None => Ok(()),
    }
}

/// Half of them want a public preview, half a private one, of one port: it is made once, as one of them wants.
async fn previews(client: &Client, sandbox: &str, many: usize) -> Result<(), Fault> {
    let path = format!("{sandbox}/previews");
    let sendings = (0..many).map(|n| {
        let visibility = if n % 2 == 0 { "public" } else { "private" };
        client.post(&path, json!({ "port": 4200, "visibility": visibility }))
    });
    let replies = made::at_once(sendings).await?;
    let expected = "201 once, 200 with the same for who wants the same, 409 for others";
    let Some(won) = replies.iter().find(|reply| reply.status == 201) else {
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        return Err(Fault::broken(expected, format!("{statuses:?}")));
    };
    let (id, visibility) = (won.id()?, won.text("visibility")?);
    for (n, reply) in replies.iter().enumerate() {
        let asked = if n % 2 == 0 { "public" } else { "private" };
        if asked == visibility {
            let same = matches!(reply.status, 200 | 201) && reply.id()? == id;
            reply.holds(same, expected, reply.summary())?;
        } else {
            reply.refused(409)?;
        }
    }
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    won.holds(made == 1, expected, format!("201 {made} times"))?;
    let listed = client.get(&path).send().await?.expect(200)?;
    let items = listed.items()?;
    let of_port: Vec<&Value> = items.iter().filter(|item| item["port"] == 4200).collect();
    listed.holds(of_port.len() == 1, "one preview of the port", format!("{of_port:?}"))
}
