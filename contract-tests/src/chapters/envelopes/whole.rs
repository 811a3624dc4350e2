//! What holds for every answer.

use std::cell::RefCell;
use std::collections::HashMap;

use miosa_openapi::check::{Contract, Media};

use crate::case::Reply;
use crate::fault::Fault;
use crate::gallery::{self, Asked, Which};
use crate::session::Session;
use crate::world::World;

const BOTH: &[Which] = &[Which::Successes, Which::Refusals];

pub(super) fn nothing(session: &Session) -> Result<(), Fault> {
    gallery::look(session, BOTH, |_, reply| {
        if reply.status != 204 {
            return Ok(());
        }
        let typed = reply.header("content-type");
        reply.holds(typed.is_none(), "no Content-Type on a 204", typed.unwrap_or_default())?;
        reply.holds(reply.body.is_empty(), "no body on a 204", reply.summary())
    })
}

/// Whether only the head of an answer is known.
fn is_head(asked: Asked, reply: &Reply) -> bool {
    matches!(asked, Asked::Valid(it) if World::is_endless(it)) && reply.status < 300
}

pub(super) fn valid(session: &Session) -> Result<(), Fault> {
    gallery::look(session, BOTH, |asked, reply| {
        let (contract, path) = (Contract::get(), reply.path.as_str());
        let (method, status, headers) = (&reply.method, reply.status, &reply.headers);
        let checked = if is_head(asked, reply) {
            contract.check_head(method, path, status, headers)
        } else {
            contract.check(method, path, status, headers, &reply.body)
        };
        checked.map_err(|violation| {
            reply.broken("an answer that is valid by the contract", violation.to_string())
        })
    })
}

pub(super) fn typed(session: &Session) -> Result<(), Fault> {
    gallery::look(session, BOTH, |asked, reply| {
        if reply.status == 204 || is_head(asked, reply) {
            return Ok(());
        }
        let response = asked.operation().response(reply.status);
        // Beside JSON some answers are files or texts.
        let json_only = response.is_none_or(|response| {
            !response.content.is_empty() && response.content.iter().all(Media::is_json)
        });
        if !json_only {
            return Ok(());
        }
        let typed = reply.header("content-type").unwrap_or_default();
        let essence = typed.split(';').next().unwrap_or_default().trim();
        reply.holds(
            essence == "application/json" || essence.ends_with("+json"),
            format!("application/json from {}", reply.place()),
            format!("{typed:?}"),
        )?;
        reply.json().map(drop)
    })
}

pub(super) fn request_ids(session: &Session) -> Result<(), Fault> {
    let seen: RefCell<HashMap<String, String>> = RefCell::default();
    gallery::look(session, BOTH, |_, reply| {
        let id = reply.header("x-request-id").unwrap_or_default().to_owned();
        reply.holds(!id.is_empty(), "an X-Request-ID", format!("none from {}", reply.place()))?;
        match seen.borrow_mut().insert(id.clone(), reply.place()) {
            Some(other) => Err(reply.broken(
                "a request id that no other request has",
                format!("{other} and {} have {id}", reply.place()),
            )),
            None => Ok(()),
        }
    })
}
