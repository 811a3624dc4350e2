//! How names of scopes are compared.

use proptest::prelude::*;

use super::held::all;
use crate::case::made::field;
use crate::fault::Fault;
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

/// A name that is nearly a scope.
#[derive(Debug, Clone, Copy)]
enum Near {
    CutOff(usize),
    Longer(char),
    OtherCase,
    NoLevel,
    LongerResource,
}

impl Near {
    fn of(self, scope: &str) -> String {
        let (resource, level) = scope.split_once(':').unwrap_or((scope, ""));
        match self {
            Self::CutOff(by) => scope.chars().take(scope.len().saturating_sub(by)).collect(),
            Self::Longer(letter) => format!("{scope}{letter}"),
            Self::OtherCase => scope.to_uppercase(),
            Self::NoLevel => resource.to_owned(),
            Self::LongerResource => format!("{resource}s:{level}"),
        }
    }
}

/// SCP-006.
pub(super) fn whole(session: &Session) -> Result<(), Fault> {
    let near = prop_oneof![
        (1_usize..=4).prop_map(Near::CutOff),
        prop::sample::select(vec!['s', 'x', ':', ' ', '*']).prop_map(Near::Longer),
        Just(Near::OtherCase),
        Just(Near::NoLevel),
        Just(Near::LongerResource),
    ];
    let operation = any::<prop::sample::Index>();
    session.forall((prop::sample::select(all()), near, operation), async |case, drawn| {
        let (scope, near, operation) = drawn;
        let owner = case.organization()?;
        let name = near.of(scope);
        let body = serde_json::json!({ "name": case.name(), "scopes": [name] });
        let made = owner.post("/api-keys", body).send().await?;
        if made.status != 201 {
            let refused = matches!(made.status, 400 | 422);
            made.holds(refused, format!("no key with the scope {name:?}"), made.summary())?;
            return made.refusal().map(drop);
        }
        let holder = owner.as_key(&field(&made.data()?, "key")?);
        let mut needing = Op::scoped(Some(scope));
        needing.retain(|op| !World::is_endless(op.0));
        let Some(op) = needing.get(operation.index(needing.len().max(1))) else { return Ok(()) };
        let reply = op.blank(&holder).send().await?;
        let expected = format!("403 from {op:?}, which needs {scope}, for a key with {name:?}");
        reply.holds(reply.status == 403, expected, reply.summary())
    })
}
