//! How names of scopes are compared.

use proptest::prelude::*;

use super::held::all;
use crate::case::Client;
use crate::case::made::field;
use crate::fault::Fault;
use crate::operations::{Op, sweep};
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
    /// One of another resource, whose name begins alike.
    Of(&'static str),
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
            Self::Of(other) => format!("{other}:{level}"),
        }
    }
}

/// SCP-006.
pub(super) fn whole(session: &Session) -> Result<(), Fault> {
    let near = [
        Near::CutOff(1),
        Near::CutOff(3),
        Near::Longer('s'),
        Near::Longer('*'),
        Near::Longer(' '),
        Near::OtherCase,
        Near::NoLevel,
        Near::LongerResource,
        Near::Of("products"),
        Near::Of("project_auth"),
    ];
    let names = all().into_iter().flat_map(|scope| near.map(|near| (scope, near))).collect();
    let operation = any::<prop::sample::Index>();
    session.forall((sweep(session, names), operation), async |case, (names, operation)| {
        let owner = case.organization()?;
        for (scope, near) in names.iter() {
            opens_nothing(&owner, scope, *near, operation).await?;
        }
        Ok(())
    })
}

/// A key with the name that is nearly the scope is not made, or may not do what needs the scope.
async fn opens_nothing(
    owner: &Client,
    scope: &'static str,
    near: Near,
    operation: prop::sample::Index,
) -> Result<(), Fault> {
    let name = near.of(scope);
    let body = serde_json::json!({ "name": owner.case().name(), "scopes": [name] });
    let made = owner.post("/api-keys", body).send().await?;
    if made.status != 201 {
        let refused = matches!(made.status, 400 | 422);
        made.holds(refused, format!("no key with the scope {name:?}"), made.summary())?;
        return made.refusal().map(drop);
    }
    let holder = owner.as_key(&field(&made.data()?, "key")?);
    let mut needing = Op::scoped(Some(scope));
    needing.retain(|op| !World::is_endless(op.0));
    if needing.is_empty() {
        return Ok(());
    }
    let Some(op) = needing.get(operation.index(needing.len())) else { return Ok(()) };
    let reply = op.blank(&holder).send().await?;
    let expected = format!("403 from {op:?}, which needs {scope}, for a key with {name:?}");
    reply.holds(reply.status == 403, expected, reply.summary())
}
