//! Bodies that their schemas make invalid.

use miosa_openapi::check::{Contract, Operation, Schema};

use crate::draw::{Mutation, mutations};
use crate::fault::Fault;
use crate::gallery::Commons;
use crate::operations::Op;
use crate::session::Session;
use crate::world::{self, World};

/// A change of the body of an operation.
#[derive(Clone)]
pub(super) struct Invalid {
    pub(super) operation: &'static Operation,
    pub(super) mutation: Mutation,
}

impl std::fmt::Debug for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:?}", self.operation.name(), self.mutation)
    }
}

/// What is passed over although the schema says more, by operation and place.
const LENIENT: &[(&str, &str)] = &[
    // Each file of many has an outcome of its own.
    ("", "/files/0"),
    // A build spec is what is judged here, not what is obeyed.
    ("validateBuildSpec", "/build_spec"),
    ("createScopedToken", "/workspace_id"),
    ("createPreview", "/path"),
    ("createSseTicket", "/resource_"),
    ("createLongSseTicket", "/resource_"),
    ("sharePreview", "/expires_in_sec"),
    ("updateSandbox", "/tags"),
    ("createApiKey", "/purpose"),
    ("createProject", "/external_user_id"),
    ("streamExecInSandbox", "/timeout"),
    ("applyPolicyToMany", "/policy/enforcement"),
    // Taken for the clients that send them; nothing comes of them.
    ("", "/enforcement"),
    ("", "/bill_to"),
    ("", "/response_format"),
    ("", "/wait"),
];

/// The schema of an operation's body in JSON.
pub(super) fn schema(operation: &Operation) -> Option<&Schema> {
    Some(&operation.request_body()?.media("application/json")?.schema)
}

/// Changes that the schema forbids, so many an operation.
pub(super) fn drawn(session: &Session, most: usize) -> Vec<Invalid> {
    let contract = Contract::get();
    let mut all = Vec::new();
    for operation in World::in_order() {
        if !world::reads_json(operation) {
            continue;
        }
        let (Some(schema), Some(valid)) = (schema(operation), world::example(operation)) else {
            continue;
        };
        let forbidden = mutations(schema.value(), &valid).into_iter().filter(|mutation| {
            let body = mutation.apply(valid.clone());
            let lenient = LENIENT.iter().any(|(id, at)| {
                (id.is_empty() || *id == operation.id()) && mutation.at.starts_with(at)
            });
            !lenient && body.is_some_and(|body| !contract.findings(schema, &body).is_empty())
        });
        let forbidden = session.shuffled(forbidden.collect());
        // What is left out matters most: those come first.
        let (left_out, others): (Vec<_>, Vec<_>) =
            forbidden.into_iter().partition(|mutation| mutation.value.is_none());
        let chosen = left_out.into_iter().chain(others).take(most);
        all.extend(chosen.map(|mutation| Invalid { operation, mutation }));
    }
    all
}

/// So many changes an operation and run.
const MOST: usize = 3;

pub(super) fn bodies(session: &Session) -> Result<(), Fault> {
    session.each(
        drawn(session, MOST),
        async |client, items| {
            let operations: Vec<Op> = items.iter().map(|it| Op(it.operation)).collect();
            Commons::stage(client, &operations).await
        },
        async |client, commons, invalid| {
            let (client, world) = (&commons.enter(client, 1).await?, &commons.world);
            let Invalid { operation, mutation } = invalid;
            let Some(path) = world.path(operation) else { return Ok(()) };
            let body = world.json(operation).and_then(|body| mutation.apply(body));
            let (Some(body), Some(schema)) = (body, schema(operation)) else { return Ok(()) };
            if Contract::get().findings(schema, &body).is_empty() {
                return Ok(());
            }
            let query = world.query(operation);
            let sending = client.request(operation.method().clone(), format!("{path}{query}"));
            let reply = sending.json(body).send().await?;
            reply.holds(
                (400..500).contains(&reply.status) || reply.status == 501,
                format!("4xx, since the schema forbids {mutation:?}"),
                reply.summary(),
            )?;
            if operation.is_open() { Ok(()) } else { reply.refusal().map(drop) }
        },
    )
}
