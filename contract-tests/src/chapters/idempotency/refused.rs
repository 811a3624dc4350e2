//! Refusals that are not kept.

use proptest::prelude::*;
use serde_json::json;

use super::deed::key;
use crate::case::made::field;
use crate::fault::Fault;
use crate::session::Session;

#[derive(Debug, Clone, Copy)]
enum Why {
    Scope,
    Number,
}

pub(super) fn not_kept(session: &Session) -> Result<(), Fault> {
    for why in [Why::Scope, Why::Number] {
        let families = prop::sample::select(vec!["/workspaces", "/projects"]);
        session.forall(families, async |case, family| {
            let client = case.organization()?;
            let workspace = crate::case::made::id(&client.workspace().await?)?;
            let key = key();
            let (sender, path, body, status) = match why {
                Why::Scope => {
                    let minted = client.minted(Some(&["sandboxes:read"])).await?;
                    let narrow = client.as_key(&field(&minted, "key")?);
                    let body = match family {
                        "/projects" => json!({ "name": case.name(), "workspace_id": workspace }),
                        _ => json!({ "name": case.name() }),
                    };
                    narrow.post(family, body.clone()).key(&key).send().await?.refused(403)?;
                    (&client, family, body, 201)
                }
                Why::Number => {
                    for _ in 0..20 {
                        let reply = client.post("/auth/sse-ticket", json!({})).send().await?;
                        if reply.status == 429 {
                            break;
                        }
                    }
                    let body = json!({});
                    let reply =
                        client.post("/auth/sse-ticket", body.clone()).key(&key).send().await?;
                    if reply.status != 429 {
                        return Err(Fault::unable(
                            "20 requests did not spend an auth endpoint's limit",
                        ));
                    }
                    client.breathe().await?;
                    (&client, "/auth/sse-ticket", body, 200)
                }
            };
            let again = sender.post(path, body).key(&key).send().await?;
            again.holds(
                again.status == status,
                format!("{status} from {}: what it was refused for is over", again.place()),
                again.summary(),
            )
        })?;
    }
    Ok(())
}
