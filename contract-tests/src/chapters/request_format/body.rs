//! Bodies in other wrappings.

use miosa_openapi::check::Media;
use proptest::prelude::*;
use serde_json::Value;

use crate::case::Client;
use crate::fault::Fault;
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

/// Each of these makes one more sandbox.
const COSTLY: &[&str] = &[
    "forkSandbox",
    "forkSnapshot",
    "restoreSnapshotAnew",
    "deployNamedSnapshot",
    "createSandboxBatch",
    "runSandbox",
];

/// Operations that take JSON and answer a valid request, one after the other in one world.
fn takers() -> Vec<Op> {
    let all = World::in_order().into_iter();
    all.filter(|it| {
        let first = it.request_body().and_then(|body| body.content.first());
        first.is_some_and(Media::is_json)
            && !World::is_destructive(it)
            && !it.is_open()
            && !COSTLY.contains(&it.id())
    })
    .map(Op)
    .collect()
}

async fn stage(client: &Client, operations: &[Op]) -> Result<World, Fault> {
    World::for_operations(client, operations.iter().map(|it| it.0)).await
}

pub(super) fn of_another_type(session: &Session) -> Result<(), Fault> {
    let refused = session.prepare(async |case| {
        let client = case.organization()?;
        let body = format!("{{\"name\":\"{}\"}}", case.name());
        let reply = client
            .request(http::Method::POST, "/workspaces")
            .bytes("text/plain", body)
            .send()
            .await?;
        Ok(reply.status == 415)
    })?;
    session.in_order(&takers(), stage, async |client, world, operation| {
        let (Some(path), Some((_, body))) = (world.path(operation), world.body(operation)) else {
            return Ok(());
        };
        let sending = client.request(operation.method().clone(), path);
        let reply = sending.bytes("text/plain", body).send().await?;
        if refused {
            return reply.refused(415).map(drop);
        }
        reply.holds(reply.status < 300, "the body read as JSON, as elsewhere", reply.summary())
    })
}

/// JSON with members in reverse order and white space wherever it may stand.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let members = map.iter().rev();
            let members: Vec<_> = members
                .map(|(name, value)| {
                    format!("\r\n\t {} \n:\t{}", Value::from(name.as_str()), spaced(value))
                })
                .collect();
            format!(" {{{}  }}\n", members.join(" ,"))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(spaced).collect();
            format!("\n[ {} ]\t", items.join(" , "))
        }
        other => format!(" {other} "),
    }
}

pub(super) fn in_another_order(session: &Session) -> Result<(), Fault> {
    session.in_order(&takers(), stage, async |client, world, operation| {
        let (Some(path), Some(body)) = (world.path(operation), world.json(operation)) else {
            return Ok(());
        };
        let sending = client.request(operation.method().clone(), path);
        let reply = sending.bytes("application/json", spaced(&body)).send().await?;
        reply.holds(reply.status < 300, "a success, as with another order", reply.summary())
    })
}

pub(super) fn uploads(session: &Session) -> Result<(), Fault> {
    let (client, sandbox) = session.prepare(async |case| {
        let client = case.organization()?;
        let sandbox = crate::case::made::id(&client.sandbox().await?)?;
        Ok((client, sandbox))
    })?;
    let content = prop::collection::vec(any::<u8>(), 0..200);
    session.forall((content, "[a-z]{1,12}"), async |case, (content, name)| {
        let client = client.in_case(&case);
        let path = format!("/workspace/{name}.bin");
        let mut form = format!(
            "--zz9\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n{path}\r\n--zz9\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        form.extend_from_slice(&content);
        form.extend_from_slice(b"\r\n--zz9--\r\n");
        let to = format!("/sandboxes/{sandbox}/files/upload");
        let post = || client.request(http::Method::POST, to.clone());
        post().bytes("multipart/form-data; boundary=zz9", form).send().await?.expect(201)?;
        let got = client.get(format!("/sandboxes/{sandbox}/files/download?path={path}"));
        let got = got.send().await?.expect(200)?;
        got.holds(
            got.body == content,
            format!("the {} bytes that were uploaded", content.len()),
            format!("{} bytes", got.body.len()),
        )?;
        let bare = post().bytes("application/octet-stream", content).send().await?;
        bare.holds((400..500).contains(&bare.status), "4xx without a form", bare.summary())?;
        bare.refusal().map(drop)
    })
}
