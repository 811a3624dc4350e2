//! Credentials that end: revoked, rotated away, expired.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::{at_once, field, id};
use crate::case::{Case, Client};
use crate::each::Some as Drawn;
use crate::fault::Fault;
use crate::operations::{Op, sweep, unauthorized};
use crate::session::Session;

/// A way for a credential to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    KeyRevoked,
    KeySwitchedOff,
    TokenRevoked,
    DelegatedKeyRevoked,
    AccountRemoved,
}

impl End {
    const ALL: [Self; 5] = [
        Self::KeyRevoked,
        Self::KeySwitchedOff,
        Self::TokenRevoked,
        Self::DelegatedKeyRevoked,
        Self::AccountRemoved,
    ];

    /// Makes a credential, uses it, and ends it; the client that holds it.
    async fn reached(self, owner: &Client) -> Result<Client, Fault> {
        let name = owner.case().name();
        let (made, place) = match self {
            Self::KeyRevoked | Self::KeySwitchedOff => {
                let made = owner.minted(None).await?;
                let place = format!("/api-keys/{}", id(&made)?);
                (made, place)
            }
            Self::TokenRevoked => {
                let workspace = owner.workspace().await?;
                let body = json!({ "user_id": name, "workspace_id": workspace["id"] });
                let made = owner.make("/tokens/scoped", body).await?;
                let place = format!("/tokens/scoped/{}", id(&made)?);
                (made, place)
            }
            Self::DelegatedKeyRevoked => {
                let body = json!({ "external_user_id": name, "scopes": ["sandboxes:read"] });
                let made = owner.make("/api-keys/scoped", body).await?;
                let place = format!("/api-keys/{}", id(&made)?);
                (made, place)
            }
            Self::AccountRemoved => {
                let account = owner.make("/service-accounts", json!({ "name": name })).await?;
                let place = format!("/service-accounts/{}", id(&account)?);
                let body = json!({ "name": name });
                (owner.make(&format!("{place}/keys"), body).await?, place)
            }
        };
        let holder = owner.as_key(&field(&made, "token")?);
        holder.get("/whoami").send().await?.needs(200)?;
        // What succeeded before is kept under its key, and must not be told either.
        let replayed = self == Self::KeyRevoked;
        let again = || holder.post("/workspaces", json!({ "name": name })).key(&name);
        if replayed {
            again().send().await?.needs(201)?;
        }
        let ended = match self {
            Self::KeySwitchedOff => owner.patch(&place, json!({ "status": "inactive" })),
            _ => owner.delete(&place),
        };
        let ended = ended.send().await?;
        if ended.status >= 300 {
            return Err(Fault::unable(format!("{} answered {}", ended.place(), ended.summary())));
        }
        if replayed {
            unauthorized(&again().apart().send().await?)?;
        }
        Ok(holder)
    }
}

/// AUTH-004.
pub(super) fn revoked(session: &Session) -> Result<(), Fault> {
    // Which operations meet which end turns with the run.
    let strategy = (0..End::ALL.len()).prop_flat_map(|turn| {
        let ends = End::ALL.into_iter().cycle().skip(turn);
        sweep(session, Op::guarded().into_iter().zip(ends).collect())
    });
    session.forall(strategy, async |case, tried: Drawn<(Op, End)>| {
        let owner = case.organization()?;
        let mut holders = BTreeMap::new();
        for (op, end) in tried.iter() {
            if !holders.contains_key(end) {
                holders.insert(*end, end.reached(&owner).await?);
            }
            let Some(holder) = holders.get(end) else { continue };
            unauthorized(&op.blank(holder).apart().send().await?)?;
        }
        Ok(())
    })
}

/// AUTH-005.
pub(super) fn rotated(session: &Session) -> Result<(), Fault> {
    // Each step: how many rotations at once.
    let steps = prop::collection::vec(1_usize..=3, 1..=3);
    let asked = prop::sample::select(vec!["/whoami", "/workspaces", "/api-keys", "/sandboxes"]);
    session.forall((steps, asked), async |case, (steps, asked)| {
        let owner = case.organization()?;
        let made = owner.minted(Some(&["sandboxes:read", "projects:read"])).await?;
        let place = format!("/api-keys/{}", id(&made)?);
        let before = kept(&owner, &place).await?;
        let mut secrets = vec![field(&made, "key")?];
        for step in steps {
            let rotations = (0..step).map(|_| owner.post(format!("{place}/rotate"), json!({})));
            for reply in at_once(rotations).await? {
                let secret = reply.expect(200)?.text("key")?;
                secrets.push(secret);
            }
            let mut open = 0;
            for (number, secret) in secrets.iter().enumerate() {
                let reply = owner.as_key(secret).get(asked).apart().send().await?;
                if reply.status == 200 {
                    open += 1;
                    // Which of several at once came last, only the server knows.
                    let newest = number + step >= secrets.len();
                    let expected = format!("401 for secret {} of {}", number + 1, secrets.len());
                    reply.holds(newest, expected, reply.summary())?;
                } else {
                    unauthorized(&reply)?;
                }
            }
            let expected = format!("one of {} secrets to work after a rotation", secrets.len());
            crate::fault::holds(open == 1, expected, format!("{open} do"))?;
            let after = kept(&owner, &place).await?;
            let (expected, got) = (before.to_string(), after.to_string());
            crate::fault::holds(before == after, format!("the key as it was: {expected}"), got)?;
        }
        Ok(())
    })
}

/// What a rotation leaves as it is.
async fn kept(owner: &Client, place: &str) -> Result<Value, Fault> {
    let key = owner.get(place).send().await?.needs(200)?.data()?;
    Ok(json!(
        ["id", "name", "scopes", "key_type", "status", "created_at"].map(|it| key[it].clone())
    ))
}

/// What expires, and how its end is said.
#[derive(Debug, Clone, Copy)]
enum Lasting {
    KeyInDays(u64),
    KeyUntil(u64),
    EndUserKeyInDays(u64),
    TokenSeconds(u64),
}

/// Requests take time, too, and the ends of a life time are whole seconds.
const AROUND: u64 = 40;

/// AUTH-006.
pub(super) fn expired(session: &Session) -> Result<(), Fault> {
    let lasting = prop_oneof![
        (1_u64..=30).prop_map(Lasting::KeyInDays),
        (120_u64..=100_000).prop_map(Lasting::KeyUntil),
        (1_u64..=30).prop_map(Lasting::EndUserKeyInDays),
        (120_u64..=86_400).prop_map(Lasting::TokenSeconds),
    ];
    let asked = prop::collection::vec(prop::sample::select(Op::guarded()), 1..=3);
    session.forall((lasting, asked), async |case, (lasting, asked)| {
        let owner = case.organization()?;
        let (made, seconds) = lasting.begin(&case, &owner).await?;
        let holder = owner.as_key(&field(&made, "token")?);
        holder.get("/whoami").send().await?.needs(200)?;
        owner.advance(seconds.saturating_sub(AROUND)).await?;
        holder.get("/whoami").send().await?.expect(200)?;
        owner.advance(AROUND + 1).await?;
        for op in asked {
            unauthorized(&op.blank(&holder).apart().send().await?)?;
        }
        owner.get("/whoami").send().await?.expect(200).map(drop)
    })
}

impl Lasting {
    /// Makes it; how many seconds it lasts.
    async fn begin(self, case: &Case, owner: &Client) -> Result<(Value, u64), Fault> {
        const DAY: u64 = 86_400;
        let name = case.name();
        match self {
            Self::KeyInDays(days) => {
                let body = json!({ "name": name, "expires_in_days": days });
                Ok((owner.make("/api-keys", body).await?, days * DAY))
            }
            Self::KeyUntil(seconds) => {
                let now = owner.now().await?;
                let end = DateTime::from_timestamp_millis(now + seconds as i64 * 1000);
                let end = end.ok_or_else(|| Fault::unable("no such time"))?;
                let end = end.to_rfc3339_opts(SecondsFormat::Secs, true);
                let body = json!({ "name": name, "expires_at": end });
                Ok((owner.make("/api-keys", body).await?, seconds))
            }
            Self::EndUserKeyInDays(days) => {
                let body = json!({
                    "external_user_id": name, "scopes": ["sandboxes:read"], "expires_in_days": days,
                });
                Ok((owner.make("/api-keys/scoped", body).await?, days * DAY))
            }
            Self::TokenSeconds(seconds) => {
                let workspace = owner.workspace().await?;
                let body = json!({
                    "user_id": name, "workspace_id": workspace["id"], "expires_in_seconds": seconds,
                });
                Ok((owner.make("/tokens/scoped", body).await?, seconds))
            }
        }
    }
}
