//! What is refused for its number has not happened.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::spending::{GENERAL, Kind, mixed, number, pass};
use crate::case::made::id;
use crate::case::{Client, Sending};
use crate::fault::Fault;
use crate::session::Session;

const FAMILIES: [&str; 4] = ["/workspaces", "/projects", "/api-keys", "/service-accounts"];

#[derive(Debug, Clone, Copy)]
enum Deed {
    Create,
    Change,
    Delete,
}

pub(super) fn did_nothing(session: &Session) -> Result<(), Fault> {
    let deed = prop::sample::select(vec![Deed::Create, Deed::Change, Deed::Delete]);
    let deeds = prop::collection::vec((prop::sample::select(FAMILIES.to_vec()), deed), 4..=12);
    session.forall((deeds, any::<bool>()), async |case, (deeds, keyed)| {
        let client = case.organization()?;
        let workspace = id(&client.workspace().await?)?;
        let mut made = vec![("/workspaces", workspace.clone())];
        made.push(("/projects", id(&client.project(&workspace).await?)?));
        made.push(("/api-keys", id(&client.minted(None).await?)?));
        let account = client.make("/service-accounts", json!({ "name": case.name() })).await?;
        made.push(("/service-accounts", id(&account)?));
        let before = state(&client).await?;
        pass(mixed(&client, &[Kind::List], GENERAL - 2 * FAMILIES.len())).await?;
        for (family, deed) in deeds {
            let name = json!({ "name": case.name(), "workspace_id": workspace });
            let one = made.iter().find(|(kind, _)| *kind == family).map(|(_, id)| id.as_str());
            let one = format!("{family}/{}", one.unwrap_or_default());
            let sending: Sending = match deed {
                Deed::Create if family == "/projects" => client.post(family, name),
                Deed::Create => client.post(family, json!({ "name": case.name() })),
                Deed::Change => client.patch(one, json!({ "name": case.name() })),
                Deed::Delete => client.delete(one),
            };
            // A key must not keep the refusal, nor run what was refused.
            let sending = if keyed { sending.key(&case.name()) } else { sending };
            let reply = sending.send().await?;
            let refusal = reply.refused(429)?;
            let wait = number(&reply, "retry-after")?;
            reply.holds(
                (1..=60).contains(&wait),
                format!("Retry-After from 1 to 60 beside {}", refusal.code),
                wait.to_string(),
            )?;
        }
        client.breathe().await?;
        let after = state(&client).await?;
        crate::fault::holds(
            before == after,
            format!("all as before what was refused: {before}"),
            after.to_string(),
        )
    })
}

/// The lists of the families, without what counts time or requests.
async fn state(client: &Client) -> Result<Value, Fault> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let reply = client.get(format!("{family}?page_size=100")).send().await?.needs(200)?;
        for item in reply.items()? {
            all.push(json!([family, item["id"], item["name"], item["updated_at"]]));
        }
    }
    Ok(Value::Array(all))
}
