//! Streams of events.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::case::Client;
use crate::case::made::id;
use crate::fault::{Fault, holds};
use crate::session::Session;

/// What is told is told within this.
const BOUND: Duration = Duration::from_secs(20);

/// Something that is told.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Template,
    Settings,
    Invite,
    Command,
}

/// ISO-006.
pub(super) fn own_events(session: &Session) -> Result<(), Fault> {
    // Commands need something to run in; one sandbox will do for all cases.
    let (neighbour, sandbox) = session.prepare(async |case| {
        let client = case.organization()?;
        let sandbox =
            if client.target().has_machines() { Some(id(&client.sandbox().await?)?) } else { None };
        Ok((client.credential().cloned(), sandbox))
    })?;
    let mut deeds = vec![Deed::Template, Deed::Settings, Deed::Invite];
    if sandbox.is_some() {
        deeds.push(Deed::Command);
    }
    let deeds = prop::collection::vec(prop::sample::select(deeds), 1..=4);
    session.forall((deeds, any::<bool>()), async |case, (deeds, listed)| {
        let reader = case.organization()?;
        let neighbour = neighbour.clone().ok_or_else(|| Fault::unable("no credential"))?;
        let neighbour = case.client(neighbour);
        let mut stream = reader.get("/events/stream").stream().await?;
        holds(stream.status == 200, "200 from GET /events/stream", stream.status.to_string())?;
        let mut theirs = Vec::new();
        for deed in deeds {
            theirs.push(deed.done(&neighbour, sandbox.as_deref().unwrap_or_default()).await?);
        }
        let body = json!({ "name": case.name(), "build_spec": { "from": "miosa-sandbox" } });
        let own = id(&reader.make("/sandbox-templates", body).await?)?;
        let mut heard = String::new();
        while !heard.contains(&own) {
            match stream.next(BOUND).await? {
                Some(event) => heard += &event.data,
                None => {
                    return Err(Fault::broken(format!("an event about {own}"), "the stream ended"));
                }
            }
        }
        stream.close();
        if listed {
            let list = reader.get("/platform-events?limit=200").send().await?.expect(200)?;
            heard += &String::from_utf8_lossy(&list.body);
        }
        let told = theirs.iter().find(|text| heard.contains(text.as_str()));
        holds(told.is_none(), "no event of another organization", format!("{told:?} in {heard}"))
    })
}

impl Deed {
    /// Does it; a text that stands in what is told of it.
    async fn done(self, client: &Client, sandbox: &str) -> Result<String, Fault> {
        let name = client.case().name();
        match self {
            Self::Template => {
                let body = json!({ "name": name, "build_spec": { "from": "miosa-sandbox" } });
                id(&client.make("/sandbox-templates", body).await?)
            }
            Self::Settings => {
                let workspace = id(&client.workspace().await?)?;
                let path = format!("/workspaces/{workspace}/settings");
                let body = json!({ "max_sandboxes": 50 });
                client.put(path, body).send().await?.needs(200)?;
                Ok(workspace)
            }
            Self::Invite => {
                let workspace = id(&client.workspace().await?)?;
                let body = json!({ "email": format!("{name}@example.com"), "role": "member" });
                client.make(&format!("/workspaces/{workspace}/invites"), body).await?;
                Ok(workspace)
            }
            Self::Command => {
                let path = format!("/sandboxes/{sandbox}/exec");
                let body = json!({ "command": format!("echo {name}") });
                client.post(path, body).send().await?.needs(200)?;
                Ok(sandbox.to_owned())
            }
        }
    }
}
