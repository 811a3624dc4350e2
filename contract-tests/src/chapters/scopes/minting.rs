//! Keys that make keys.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::held::{all, grants};
use crate::case::made::{field, id};
use crate::case::{Client, Reply};
use crate::fault::Fault;
use crate::session::Session;

/// A way to a key or token.
#[derive(Debug, Clone, Copy)]
enum Way {
    Key,
    Token,
    /// Changes what another key of the organization holds, which holds one scope of the maker's.
    OtherKey,
    /// Changes what the maker itself holds.
    OwnKey,
    EndUserKey,
    AccountKey,
    Preset,
}

/// What is asked for: scopes, all that there is, or nothing said.
#[derive(Debug, Clone)]
enum Asked {
    These(Vec<&'static str>),
    Everything,
    Nothing,
}

/// SCP-003.
pub(super) fn never_wider(session: &Session) -> Result<(), Fault> {
    use Way::{AccountKey, EndUserKey, Key, OtherKey, OwnKey, Preset, Token};
    let way =
        prop::sample::select(vec![Key, Token, OtherKey, OwnKey, EndUserKey, AccountKey, Preset]);
    let held = prop::sample::subsequence(all(), 1..=3);
    let asked = prop_oneof![
        4 => prop::sample::subsequence(all(), 1..=3).prop_map(Asked::These),
        1 => Just(Asked::Everything),
        1 => Just(Asked::Nothing),
    ];
    // Half of the wishes are within bounds.
    let wish = (held, asked, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(held, asked, index, within)| match asked {
            Asked::These(_) if within => {
                let one = held.get(index.index(held.len())).copied();
                (held, Asked::These(one.into_iter().collect()))
            }
            asked => (held, asked),
        },
    );
    let admin = any::<bool>();
    session.forall((way, wish, admin), async |case, (way, (held, asked), admin)| {
        let owner = case.organization()?;
        let role = if admin { "admin" } else { "user" };
        let body = json!({ "name": case.name(), "scopes": held, "key_type": role });
        let made = owner.make("/api-keys", body).await?;
        let maker = owner.as_key(&field(&made, "key")?);
        let wanted: Option<Vec<&str>> = match &asked {
            Asked::These(scopes) => Some(scopes.clone()),
            Asked::Everything => Some(vec!["*"]),
            Asked::Nothing => None,
        };
        let Some(reply) =
            way.taken(&owner, &maker, &id(&made)?, held[0], wanted.as_deref()).await?
        else {
            return Ok(());
        };
        let within = match &asked {
            Asked::These(scopes) => scopes.iter().all(|scope| may(&held, scope)),
            Asked::Everything => false,
            Asked::Nothing => true,
        };
        if reply.status >= 300 {
            // A user's key makes no keys for others; what else it holds it may hand on.
            let owed = within && (admin || matches!(way, Key | Token | OtherKey | OwnKey));
            reply.holds(!owed, format!("{held:?} to hand on {asked:?}"), reply.summary())?;
            return reply.refusal().map(drop);
        }
        let expected = format!("403 where a key with {held:?} asks for {asked:?}");
        reply.holds(within, expected, reply.summary())?;
        narrower(&reply, &held)?;
        uses(&owner, &reply, &held).await
    })
}

fn may(held: &[&str], scope: &str) -> bool {
    held.iter().any(|held| grants(held, scope))
}

/// What was made says of itself that it may do nothing more.
fn narrower(reply: &Reply, held: &[&str]) -> Result<(), Fault> {
    let made = reply.data()?;
    let scopes: Vec<&str> =
        made["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let free = made["unrestricted"] == true || scopes.is_empty();
    let wider = scopes.iter().find(|scope| !may(held, scope));
    reply.holds(!free && wider.is_none(), format!("scopes within {held:?}"), reply.summary())
}

/// Nor may it do more when it is used.
async fn uses(owner: &Client, reply: &Reply, held: &[&str]) -> Result<(), Fault> {
    let made = reply.data()?;
    let Some(secret) = made["token"].as_str() else { return Ok(()) };
    let holder = owner.as_key(secret);
    for (scope, path) in [
        ("sandboxes:read", "/sandboxes"),
        ("projects:read", "/projects"),
        ("audit:read", "/audit-log"),
    ] {
        if !may(held, scope) {
            let reply = holder.get(path).send().await?;
            let expected = format!("403 from GET {path} for what a key with {held:?} made");
            reply.holds(reply.status == 403, expected, reply.summary())?;
        }
    }
    Ok(())
}

impl Way {
    /// Asks for the scopes; none where this way cannot ask for that.
    async fn taken(
        self,
        owner: &Client,
        maker: &Client,
        own: &str,
        one: &str,
        scopes: Option<&[&str]>,
    ) -> Result<Option<Reply>, Fault> {
        let name = owner.case().name();
        let with = |mut body: Value| {
            if let Some(scopes) = scopes {
                body["scopes"] = json!(scopes);
            }
            body
        };
        let sending = match (self, scopes) {
            (Self::Key, _) => maker.post("/api-keys", with(json!({ "name": name }))),
            (Self::Token, _) => {
                let workspace = owner.workspace().await?;
                let body = json!({ "user_id": name, "workspace_id": workspace["id"] });
                maker.post("/tokens/scoped", with(body))
            }
            (Self::OtherKey, Some(_)) => {
                let other = owner.minted(Some(&[one])).await?;
                maker.patch(format!("/api-keys/{}", id(&other)?), with(json!({})))
            }
            (Self::OwnKey, Some(_)) => maker.patch(format!("/api-keys/{own}"), with(json!({}))),
            (Self::EndUserKey, Some(_)) => {
                maker.post("/api-keys/scoped", with(json!({ "external_user_id": name })))
            }
            (Self::AccountKey, _) => {
                let account = owner.make("/service-accounts", json!({ "name": name })).await?;
                let path = format!("/service-accounts/{}/keys", id(&account)?);
                maker.post(path, with(json!({ "name": name })))
            }
            (Self::Preset, Some(scopes)) => {
                let body = json!({ "name": name, "scopes": scopes });
                owner.post("/api-keys/presets", body).send().await?.needs(201)?;
                maker.post("/api-keys", json!({ "name": name, "preset": name }))
            }
            _ => return Ok(None),
        };
        Ok(Some(sending.send().await?))
    }
}
