//! The status of what is refused.

use std::time::Duration;

use miosa_openapi::check::Contract;

use crate::case::raw::Raw;
use crate::fault::Fault;
use crate::gallery::{self, Asked, NOBODY, Which};
use crate::operations::Op;
use crate::session::Session;
use crate::world::World;

/// What is the caller's own name for something: it need not be known before.
const OWN_NAMES: &[&str] = &["external_user", "quota_user"];

pub(super) fn unknown(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Refusals], |asked, reply| {
        let Asked::Unknown(it) = asked else { return Ok(()) };
        if World::kinds(it).iter().any(|kind| OWN_NAMES.contains(kind)) {
            return Ok(());
        }
        let refusal = reply.refused(404)?;
        let codes = it.response(404).map(|it| it.codes.clone()).unwrap_or_default();
        reply.holds(
            codes.contains(&refusal.code.as_str()),
            format!("one of the codes {}", codes.join(", ")),
            refusal.code,
        )
    })
}

pub(super) fn unreadable(session: &Session) -> Result<(), Fault> {
    gallery::look(session, &[Which::Refusals], |asked, reply| match asked {
        Asked::NoPage(_) => reply.refused(400).map(drop),
        Asked::NoObject(it) if !it.is_open() => reply.refused(422).map(drop),
        _ => Ok(()),
    })
}

/// Larger than any server takes.
const HUGE: usize = 1 << 30;

pub(super) fn too_large(session: &Session) -> Result<(), Fault> {
    let takers: Vec<_> = Contract::get()
        .operations()
        .iter()
        .filter(|it| it.response(413).is_some() && !it.is_open())
        .map(Op)
        .collect();
    session.each(
        takers,
        async |_, _| Ok(()),
        async |client, (), operation| {
            let body = operation.request_body();
            let Some(media) = body.and_then(|body| body.content.first()) else { return Ok(()) };
            let raw = Raw {
                method: operation.method().clone(),
                target: World::path_with(operation, |_, _| NOBODY.to_owned()).into_bytes(),
                headers: vec![("Content-Type".to_owned(), media.content_type.to_owned())],
                body: "{\"name\": \"".into(),
                declared: Some(HUGE),
                hang_up: true,
                peculiar: format!("announces {HUGE} bytes and sends 10"),
            };
            let Some(reply) = client.raw(raw, Duration::from_secs(10)).await? else {
                return Ok(());
            };
            // That nothing is there may be told before the body is looked at.
            if reply.status == 404 { Ok(()) } else { reply.refused(413).map(drop) }
        },
    )
}

/// Routes of the published reference that the contract does not describe.
const UNBUILT: &[&str] = &["/computers", "/deployments", "/webhooks"];

pub(super) fn unbuilt(session: &Session) -> Result<(), Fault> {
    session.each(
        UNBUILT.to_vec(),
        async |_, _| Ok(()),
        async |client, (), path| {
            if !Contract::get().methods(path).is_empty() {
                return Ok(());
            }
            let reply = client.get(*path).send().await?;
            reply.refused(501).map(drop)
        },
    )
}
