//! Headers that are no credential.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::field;
use crate::case::{Client, Sending};
use crate::each::each;
use crate::fault::Fault;
use crate::operations::{Op, unauthorized};
use crate::session::Session;

/// How many operations a case tries.
const TRIED: usize = 24;

/// What may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    NoToken,
    NoScheme,
    Basic,
    OtherPrefix,
    OnlyPrefix,
    CutOff,
    Spaced,
    InTheQuery,
    /// Ones that only a signature tells from good ones.
    Unsigned,
    OtherSignature,
    OtherClaims,
}

impl Wrong {
    const ALL: [Self; 11] = [
        Self::NoToken,
        Self::NoScheme,
        Self::Basic,
        Self::OtherPrefix,
        Self::OnlyPrefix,
        Self::CutOff,
        Self::Spaced,
        Self::InTheQuery,
        Self::Unsigned,
        Self::OtherSignature,
        Self::OtherClaims,
    ];

    /// The request without its credential, and with this instead. `token` is one that works.
    fn on(self, sending: Sending, key: &str, token: &str) -> Sending {
        let value = match self {
            Self::InTheQuery => return sending,
            Self::NoToken => "Bearer".to_owned(),
            Self::NoScheme => key.to_owned(),
            Self::Basic => format!("Basic {}", URL_SAFE_NO_PAD.encode(format!("{key}:"))),
            Self::OtherPrefix => format!("Bearer {}", key.replacen("msk_", "sk_", 1)),
            Self::OnlyPrefix => "Bearer msk_".to_owned(),
            Self::CutOff => format!("Bearer {}", key.get(..3).unwrap_or_default()),
            Self::Spaced => format!("Bearer {}", key.replacen('_', " ", 1)),
            Self::Unsigned => format!("Bearer {}", unsigned(token)),
            Self::OtherSignature => format!("Bearer {}", other_signature(token)),
            Self::OtherClaims => format!("Bearer {}", other_claims(token)),
        };
        sending.header("Authorization", &value)
    }
}

/// AUTH-002.
pub(super) fn credentials(session: &Session) -> Result<(), Fault> {
    let mut pairs = Vec::new();
    for op in Op::guarded() {
        pairs.extend(Wrong::ALL.map(|wrong| (op, wrong)));
    }
    session.forall(each(pairs).at_most(TRIED), async |case, tried| {
        let client = case.organization()?;
        let token = token(&client).await?;
        client.as_key(&token).get("/whoami").send().await?.needs(200)?;
        for (op, wrong) in tried.iter() {
            let sending = match wrong {
                Wrong::InTheQuery => op.blank_with(&case.anonymous(), &format!("?token={token}")),
                _ => op.blank(&client).apart(),
            };
            let reply = wrong.on(sending, client.secret(), &token).send().await?;
            unauthorized(&reply)?;
        }
        Ok(())
    })
}

/// A short-lived token that works.
async fn token(client: &Client) -> Result<String, Fault> {
    let workspace = client.workspace().await?;
    let body = json!({ "user_id": "contract", "workspace_id": workspace["id"] });
    field(&client.make("/tokens/scoped", body).await?, "token")
}

/// Header, claims and signature, where the token has them.
fn parts(token: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = token.split_once('.')?;
    let (claims, signature) = rest.split_once('.')?;
    Some((head, claims, signature))
}

/// The same claims, said to need no signature.
fn unsigned(token: &str) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    match parts(token) {
        Some((_, claims, _)) => format!("{head}.{claims}."),
        None => other_signature(token),
    }
}

/// The last part with another first letter.
fn other_signature(token: &str) -> String {
    let at = token.rfind('.').map_or(token.len() / 2, |dot| dot + 1);
    let (kept, changed) = token.split_at(at);
    let other = if changed.starts_with('A') { "B" } else { "A" };
    format!("{kept}{other}{}", changed.get(1..).unwrap_or_default())
}

/// Valid a year longer, under the old signature.
fn other_claims(token: &str) -> String {
    let changed = || {
        let (head, claims, signature) = parts(token)?;
        let mut claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        claims["exp"] = (claims["exp"].as_i64()? + 31_536_000).into();
        claims["scopes"] = json!(["*"]);
        Some(format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string())))
    };
    changed().unwrap_or_else(|| other_signature(token))
}

/// Schemes that are others, and ones that are nearly this one.
const OTHERS: [&str; 12] = [
    "Basic",
    "basic",
    "Token",
    "Digest",
    "Negotiate",
    "ApiKey",
    "Key",
    "Bearer:",
    "Bearers",
    "Beare",
    "XBearer",
    "Bearer,",
];

/// AUTH-008.
pub(super) fn schemes(session: &Session) -> Result<(), Fault> {
    let drawn = prop::collection::vec(any::<bool>(), 6).prop_map(|upper| {
        let letters = "bearer".chars().zip(upper);
        letters.map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c }).collect::<String>()
    });
    let other = "[A-Z][a-z0-9]{0,9}"
        .prop_filter("is Bearer", |scheme| !scheme.eq_ignore_ascii_case("bearer"));
    let schemes = (drawn, other).prop_flat_map(|(drawn, other)| {
        let spelt = ["Bearer", "bearer", "BEARER"].map(str::to_owned);
        let others = OTHERS.map(str::to_owned);
        each(spelt.into_iter().chain(others).chain([drawn, other]).collect())
    });
    let path = prop::sample::select(vec!["/whoami", "/workspaces", "/api-keys", "/sandboxes"]);
    session.forall((schemes, path), async |case, (schemes, path)| {
        let client = case.organization()?;
        for scheme in schemes.iter() {
            let value = format!("{scheme} {}", client.secret());
            let reply = client.get(path).header("Authorization", &value).apart().send().await?;
            if scheme.eq_ignore_ascii_case("bearer") {
                reply.expect(200)?;
            } else {
                unauthorized(&reply)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_differs_from_the_good_one() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1}"#);
        let good = format!("aGVhZA.{claims}.c2ln");
        assert_eq!(other_signature(&good), format!("aGVhZA.{claims}.A2ln"));
        assert!(unsigned(&good).ends_with('.'));
        let forged = other_claims(&good);
        assert!(forged.starts_with("aGVhZA.") && forged.ends_with("c2ln") && forged != good);
        assert_eq!(other_signature("opaque"), "opaAue");
    }
}
