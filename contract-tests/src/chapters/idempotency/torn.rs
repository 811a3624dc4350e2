//! A connection that breaks before the answer.

use http::Method;
use proptest::prelude::*;

use super::deed::{Deed, Stage, creates, grown, key};
use crate::case::raw::Raw;
use crate::fault::Fault;
use crate::session::Session;

pub(super) fn retried(session: &Session) -> Result<(), Fault> {
    let stage = session.prepare(async |case| Stage::set(&case, false).await)?;
    // Of a thousand parts of the bytes: mostly all of them.
    let part = prop_oneof![3 => Just(1000_usize), 1 => 1_usize..1000];
    for operation in creates() {
        session.forall(part.clone(), async |case, part| {
            let client = stage.enter(&case);
            let Some(deed) = Deed::of(&stage.world, operation) else { return Ok(()) };
            let (content_type, body) = deed.body.clone().unwrap_or_default();
            let key = key();
            let before = deed.count(&client).await?;
            let raw = Raw {
                method: Method::POST,
                target: deed.path.clone().into_bytes(),
                headers: vec![
                    ("Idempotency-Key".to_owned(), key.clone()),
                    ("Content-Type".to_owned(), content_type),
                ],
                body: body.clone(),
                declared: None,
                hang_up: true,
                peculiar: format!("hung up before the answer, after {part} of 1000 parts"),
            };
            // The head is longer than the body; what matters is that some of either is missing.
            let whole = 400 + deed.path.len() + body.len();
            let most = if part == 1000 { usize::MAX } else { whole * part / 1000 };
            client.cut_off(raw, most).await?;
            let first = deed.by(&client).key(&key).send().await?;
            let again = deed.by(&client).key(&key).send().await?;
            let first = first.expect(201)?;
            super::deed::alike(&first, &again, "on the second retry")?;
            grown(&deed, &client, before, 1).await
        })?;
    }
    Ok(())
}
