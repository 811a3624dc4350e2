//! Rate limits (`api-reference`, overview): 300 requests a minute per workspace, 20 on auth endpoints, 60 without a
//! credential.

mod apart;
mod boundary;
mod refusals;
mod spending;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "RATE-001",
        chapter: Chapter::RateLimits,
        sentence: "The 300th request of a minute passes, the 301st does not, and a minute later it passes again.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends 300 requests of drawn kinds (reads, refused writes, ids that nothing has) in bunches within one minute; then one more of each kind must be refused, and pass when the clock was moved by a minute.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: boundary::general,
    },
    Rule {
        id: "RATE-002",
        chapter: Chapter::RateLimits,
        sentence: "The limit is the workspace's: keys, connections and addresses share it.",
        source: "api-reference",
        level: Level::Documented,
        how: "Mints keys, spreads 300 requests over them, over connections and over addresses as drawn, and wants the next one refused with every key.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: apart::shared,
    },
    Rule {
        id: "RATE-003",
        chapter: Chapter::RateLimits,
        sentence: "`Retry-After` is neither too long nor too short: two seconds before its time the request is refused, and at its time it passes.",
        source: "miosa-python 2.19, miosa-go 2.0",
        level: Level::Observed,
        how: "Spends a limit at a drawn moment of its window and moves the clock by what `Retry-After` says, in whole seconds, with one stop shortly before.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: boundary::retry_after,
    },
    Rule {
        id: "RATE-004",
        chapter: Chapter::RateLimits,
        sentence: "Within a window `X-RateLimit-Remaining` and `X-RateLimit-Reset` never rise, and no two requests are told the same remainder.",
        source: "chosen",
        level: Level::Chosen,
        how: "Sends bunches of drawn sizes, some at once, with drawn moves of the clock between them, and reads the headers.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 4,
        check: spending::counters,
    },
    Rule {
        id: "RATE-005",
        chapter: Chapter::RateLimits,
        sentence: "What one workspace spends does not touch another workspace or another organization.",
        source: "api-reference",
        level: Level::Documented,
        how: "Spends the limit of a drawn workspace and sends requests of drawn kinds to the others of the organization and to another organization.",
        needs: &[Need::Clock, Need::Fresh, Need::Second],
        cases: 1,
        check: apart::untouched,
    },
    Rule {
        id: "RATE-006",
        chapter: Chapter::RateLimits,
        sentence: "Beyond the limit a request is answered 429 in the error shape with `Retry-After`, and it did nothing.",
        source: "api-reference",
        level: Level::Documented,
        how: "Spends the limit, sends creates, changes and deletes of drawn families, and reads afterwards that all is as it was.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: refusals::did_nothing,
    },
    Rule {
        id: "RATE-007",
        chapter: Chapter::RateLimits,
        sentence: "Without a credential 60 requests a minute pass to their 401, and the 61st is 429.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends 60 requests of drawn kinds from one address, without a credential or with drawn ones that are none, then more; another address is not touched.",
        needs: &[Need::Fresh],
        cases: 1,
        check: boundary::anonymous,
    },
    Rule {
        id: "RATE-008",
        chapter: Chapter::RateLimits,
        sentence: "An auth endpoint takes 20 requests a minute, and these leave the general limit alone.",
        source: "api-reference",
        level: Level::Documented,
        how: "Asks every endpoint that mints a short-lived credential 21 times, some at once as drawn; then another request must pass, and a minute later the endpoint again.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 1,
        check: boundary::auth,
    },
];
