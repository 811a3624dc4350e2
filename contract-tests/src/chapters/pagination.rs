//! Pages (`api-reference`, overview): `page` and `page_size`, 20 by default, at most 100.

use proptest::prelude::*;

use crate::fault::Fault;
use crate::rule::{Chapter, Level, Rule};
use crate::session::Session;

/// The rules.
pub const RULES: &[Rule] = &[Rule {
    id: "PAGE-003",
    chapter: Chapter::Pagination,
    sentence: "A page or page size of 0, -1, 101 or a word is refused with 400.",
    source: "api-reference",
    level: Level::Documented,
    how: "Draws a list, a spelling of the parameter and a value out of bounds, and wants the error.",
    needs: &[],
    cases: 32,
    check: bounds,
}];

fn bounds(session: &Session) -> Result<(), Fault> {
    let lists = prop::sample::select(vec!["/workspaces", "/projects", "/api-keys", "/sandboxes"]);
    let wrong = prop_oneof![Just("0"), Just("-1"), Just("x"), Just("1.5"), Just("")];
    let size = prop_oneof![Just("101"), Just("1000000"), wrong.clone()];
    let asked = prop_oneof![
        wrong.prop_map(|value| format!("page={value}")),
        size.prop_map(|value| format!("page_size={value}")),
    ];
    session.forall((lists, asked), async |case, (list, asked)| {
        let client = case.organization()?;
        let reply = client.get(format!("{list}?{asked}")).send().await?;
        reply.refused(400).map(drop)
    })
}
