//! The status of what succeeds.

use http::Method;
use miosa_openapi::check::Contract;

use crate::fault::Fault;
use crate::gallery::{self, Asked, Commons, Which};
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

pub(super) fn created(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes], |asked, reply| {
        let it = asked.operation();
        // Commands are run or started, and a project may be found; those declare both.
        let both = it.response(200).is_some() || it.response(202).is_some();
        let makes = !both || matches!(it.id(), "createWorkspace" | "createProject");
        if it.response(201).is_none() || !makes {
            return Ok(());
        }
        if reply.status == 200 && reply.json()?["reused"] == true {
            return Ok(());
        }
        reply.clone().expect(201).map(drop)
    })
}

pub(super) fn declared(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Successes, Which::Refusals], |asked, reply| {
        let it = asked.operation();
        let declared: Vec<_> = it.responses().map(|it| it.status.to_string()).collect();
        reply.holds(
            it.response(reply.status).is_some(),
            format!("one of {} from {}", declared.join(", "), it.name()),
            reply.summary(),
        )?;
        // A valid request that is refused would hide what its rules look for.
        let excused = it.id() == "cancelSandboxBatch";
        let refused = matches!(asked, Asked::Valid(_)) && reply.status >= 400 && !excused;
        reply.holds(!refused, format!("a success from {}", it.name()), reply.summary())
    })
}

pub(super) fn head(session: &Session) -> Result<(), Fault> {
    let reads: Vec<Op> = Contract::get()
        .operations()
        .iter()
        .filter(|it| *it.method() == Method::GET && !World::is_endless(it))
        .map(Op)
        .collect();
    session.each(
        reads,
        async |client, operations| Commons::stage(client, operations).await,
        async |client, commons, operation| {
            let (client, world) = (&commons.enter(client, 2).await?, &commons.world);
            let Some(path) = world.path(operation) else { return Ok(()) };
            let path = format!("{path}{}", world.query(operation));
            let got = client.get(path.clone()).send().await?;
            let head = client.request(Method::HEAD, path).send().await?;
            head.holds(
                head.status == got.status,
                format!("{} as GET", got.status),
                head.summary(),
            )?;
            head.holds(head.body.is_empty(), "no body", head.summary())?;
            let (one, other) = (got.header("content-type"), head.header("content-type"));
            head.holds(
                one == other,
                format!("the Content-Type of GET, {one:?}"),
                format!("{other:?}"),
            )
        },
    )
}

pub(super) fn location(session: &Session) -> Result<(), Fault> {
    let creates: Vec<Op> = World::in_order()
        .into_iter()
        .filter(|it| it.response(201).is_some_and(|made| made.header("location").is_some()))
        .map(Op)
        .collect();
    session.each(
        creates,
        async |client, operations| {
            World::for_operations(client, operations.iter().map(|it| it.0)).await
        },
        async |client, world, operation| {
            let Some(sending) = world.call(client, operation) else { return Ok(()) };
            let made = sending.send().await?;
            if made.status != 201 {
                return Ok(());
            }
            let Some(to) = made.header("location") else {
                return Err(made.broken("a Location", made.summary()));
            };
            let prefix = client.target().address.prefix();
            let path = to.split_once(prefix).map_or(to, |(_, path)| path).to_owned();
            // Some things are told in their list only; but every place is one of the contract's.
            if Contract::get().operation(&Method::GET, &path).is_none() {
                let known = !Contract::get().methods(&path).is_empty();
                return made.holds(known, "a Location that the API has", to.to_owned());
            }
            let made = made.data()?;
            let found = client.get(path).send().await?.expect(200)?;
            // What was made may be a file.
            let typed = found.header("content-type").unwrap_or_default();
            if !typed.starts_with("application/json") {
                return Ok(());
            }
            let id = found.data()?["id"].clone();
            found.holds(
                made["id"].is_null() || id == made["id"],
                format!("what was made, {}", made["id"]),
                id.to_string(),
            )
        },
    )
}
