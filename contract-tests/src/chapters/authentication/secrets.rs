//! Secrets are told once.

use http::Method;
use serde_json::{Value, json};

use crate::case::Client;
use crate::case::made::{field, id};
use crate::each::each;
use crate::fault::Fault;
use crate::operations::{Op, sweep};
use crate::populated;
use crate::session::Session;
use crate::world::World;

/// A way to make a secret.
#[derive(Debug, Clone, Copy)]
enum Secret {
    Key,
    RotatedKey,
    EndUserKey,
    AccountKey,
    Token,
    Ticket,
}

impl Secret {
    const ALL: [Self; 6] = [
        Self::Key,
        Self::RotatedKey,
        Self::EndUserKey,
        Self::AccountKey,
        Self::Token,
        Self::Ticket,
    ];

    /// Makes one; the secret, and the path of its record where it has one.
    async fn make(self, owner: &Client) -> Result<(String, Option<String>), Fault> {
        let name = owner.case().name();
        let key = |made: &Value| {
            Ok::<_, Fault>((field(made, "key")?, Some(format!("/api-keys/{}", id(made)?))))
        };
        match self {
            Self::Key => key(&owner.minted(None).await?),
            Self::RotatedKey => {
                let place = format!("/api-keys/{}", id(&owner.minted(None).await?)?);
                let rotated = owner.post(format!("{place}/rotate"), json!({})).send().await?;
                key(&rotated.needs(200)?.data()?)
            }
            Self::EndUserKey => {
                let body = json!({ "external_user_id": name, "scopes": ["sandboxes:read"] });
                key(&owner.make("/api-keys/scoped", body).await?)
            }
            Self::AccountKey => {
                let account = owner.make("/service-accounts", json!({ "name": name })).await?;
                let keys = format!("/service-accounts/{}/keys", id(&account)?);
                let made = owner.make(&keys, json!({ "name": name })).await?;
                Ok((field(&made, "key")?, Some(keys)))
            }
            Self::Token => {
                let workspace = owner.workspace().await?;
                let body = json!({ "user_id": name, "workspace_id": workspace["id"] });
                Ok((field(&owner.make("/tokens/scoped", body).await?, "token")?, None))
            }
            Self::Ticket => {
                let body = json!({ "purpose": "events" });
                let made = owner.post("/sse/ticket", body).send().await?.data()?;
                Ok((field(&made, "ticket")?, None))
            }
        }
    }
}

/// AUTH-007.
pub(super) fn shown_once(session: &Session) -> Result<(), Fault> {
    let reads = |op: &Op| *op.method() == Method::GET && !World::is_endless(op.0);
    let reads = Op::guarded().into_iter().filter(reads).collect();
    let strategy = (each(Secret::ALL.to_vec()), sweep(session, reads));
    session.forall(strategy, async |case, (secrets, reads)| {
        let (owner, world) = populated::whole_or_for(&case, &reads).await?;
        let mut told = Vec::new();
        for secret in secrets.iter() {
            let (text, place) = secret.make(&owner).await?;
            if let Some(place) = place {
                silent(&owner.get(&place).send().await?, std::slice::from_ref(&text))?;
            }
            told.push(text);
        }
        for op in reads.iter() {
            let Some(sending) = op.valid(&owner, &world) else { continue };
            silent(&sending.send().await?, &told)?;
        }
        Ok(())
    })
}

/// None of the secrets stands in the answer.
fn silent(reply: &crate::case::Reply, secrets: &[String]) -> Result<(), Fault> {
    let body = String::from_utf8_lossy(&reply.body);
    let told = secrets.iter().find(|secret| body.contains(secret.as_str()));
    let got = || {
        let secret = told.map(String::as_str).unwrap_or_default();
        format!("{} holds {}…", reply.place(), secret.get(..12).unwrap_or_default())
    };
    reply.holds(told.is_none(), "no secret in an answer that comes later", got())
}
