//! The one shape of errors.

use std::sync::LazyLock;

use http::Method;
use miosa_openapi::check::Contract;
use regex::Regex;
use serde_json::json;

use crate::case::Reply;
use crate::case::made::at_once;
use crate::fault::Fault;
use crate::gallery::{self, Asked, Which};
use crate::session::Session;

/// Each refusal in the shape of the API: device login speaks the errors of OAuth as well.
fn refusals(
    session: &Session,
    check: impl Fn(Asked, &Reply) -> Result<(), Fault>,
) -> Result<(), Fault> {
    gallery::look(session, &[Which::Refusals], |asked, reply| {
        let oauth = asked.operation().path().starts_with("/auth/cli/");
        if reply.status < 400 || oauth { Ok(()) } else { check(asked, reply) }
    })
}

pub(super) fn shape(session: &Session) -> Result<(), Fault> {
    refusals(session, |_, reply| reply.refusal().map(drop))
}

pub(super) fn request_id(session: &Session) -> Result<(), Fault> {
    refusals(session, |_, reply| {
        let (told, header) = (reply.refusal()?.request_id, reply.header("x-request-id"));
        reply.holds(
            header == Some(&told),
            format!("error.request_id as X-Request-ID, {header:?}"),
            told,
        )
    })
}

pub(super) fn no_json(session: &Session) -> Result<(), Fault> {
    refusals(session, |asked, reply| match asked {
        Asked::NoJson(_) => reply.refused(400).map(drop),
        _ => Ok(()),
    })
}

pub(super) fn code(session: &Session) -> Result<(), Fault> {
    refusals(session, |asked, reply| {
        let code = reply.refusal()?.code;
        let declared = asked.operation().response(reply.status);
        let codes = declared.map(|it| it.codes.clone()).unwrap_or_default();
        reply.holds(
            codes.contains(&code.as_str()),
            format!("one of the codes {} with {}", codes.join(", "), reply.status),
            code,
        )
    })?;
    // Conflicts need something to be there already.
    session.once(async |case| {
        let client = case.organization()?;
        let body = json!({ "name": case.name(), "slug": case.name() });
        client.post("/workspaces", body.clone()).send().await?.needs(201)?;
        let reply = client.post("/workspaces", body).send().await?;
        let code = reply.refused(409)?.code;
        let create = Contract::get().operation(&Method::POST, "/workspaces");
        let declared = create.and_then(|it| it.response(409));
        let codes = declared.map(|it| it.codes.clone()).unwrap_or_default();
        let wanted = format!("one of the codes {}", codes.join(", "));
        reply.holds(codes.contains(&code.as_str()), wanted, code)
    })
}

/// What no error may show.
#[allow(clippy::unwrap_used, reason = "a constant that the tests compile")]
static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\bselect\b.+\bfrom\b|\binsert into\b|sqlite|unique constraint|panicked|backtrace|stack trace|\.rs:\d+|/root/|/home/|/tmp/miosa|msk_(test|live|u|s)_\w{6}",
    )
    .unwrap()
});

pub(super) fn discreet(session: &Session) -> Result<(), Fault> {
    refusals(session, |_, reply| {
        let text = String::from_utf8_lossy(&reply.body);
        let shown = INSIDE.find(&text).map(|found| found.as_str().to_owned());
        reply.holds(
            shown.is_none(),
            "an error without anything from inside",
            format!("{:?} in {}", shown.unwrap_or_default(), reply.summary()),
        )
    })
}

/// Whether what an error tells about trying again is of one mind.
fn agrees(reply: &Reply) -> Result<(), Fault> {
    let error = reply.refusal()?.body["error"].clone();
    let header = reply.header("retry-after").map(|it| it.parse::<u64>().unwrap_or(u64::MAX));
    let told = error["retry_after"].as_u64();
    reply.holds(
        header == told || (header.is_some() && error["retry_after"].is_null()),
        format!("error.retry_after as Retry-After, {header:?}"),
        format!("{told:?}"),
    )?;
    let retryable = &error["retryable"];
    reply.holds(
        header.is_none() || retryable != false,
        "retryable where there is a Retry-After",
        format!("retryable is {retryable}"),
    )
}

pub(super) fn retry(session: &Session) -> Result<(), Fault> {
    refusals(session, |_, reply| agrees(reply))?;
    session.once(async |case| {
        let client = case.organization()?;
        for _ in 0..21 {
            let replies = at_once((0..15).map(|_| client.get("/limits"))).await?;
            if let Some(refused) = replies.into_iter().find(|reply| reply.status == 429) {
                refused.holds(
                    refused.header("retry-after").is_some(),
                    "a Retry-After",
                    refused.summary(),
                )?;
                return agrees(&refused);
            }
        }
        Err(Fault::unable("315 requests in a minute were not too many"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_told_from_what_is_said() {
        for inside in [
            "SELECT id FROM documents",
            "thread panicked",
            "src/http/error.rs:12",
            "key msk_test_contract1",
            "SQLITE_BUSY",
        ] {
            assert!(INSIDE.is_match(inside), "{inside}");
        }
        for said in
            ["name: must not be empty", "select a workspace", "/workspace/app: no such file"]
        {
            assert!(!INSIDE.is_match(said), "{said}");
        }
    }
}
