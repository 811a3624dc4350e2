//! Who is let in (`api-reference`, overview and authentication): `Authorization: Bearer msk_…`, else 401.

mod addresses;
mod ending;
mod missing;
mod secrets;
mod wrong;

use crate::rule::{Chapter, Level, Need, Rule};

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "AUTH-001",
        chapter: Chapter::Authentication,
        sentence: "Every operation that needs a credential answers 401 without one.",
        source: "api-reference",
        level: Level::Documented,
        how: "Sends every operation of the contract without a credential, in any order, from an address of its own. What the \
              contract calls open must not ask for one.",
        needs: &[],
        cases: 1,
        check: missing::required,
    },
    Rule {
        id: "AUTH-002",
        chapter: Chapter::Authentication,
        sentence: "A malformed, forged or unknown credential is refused with 401.",
        source: "api-reference",
        level: Level::Documented,
        how: "Draws operations and, for each, a header that is no credential: cut off, of another scheme, with a signature or \
              a claim changed, in the query instead of the header.",
        needs: &[],
        cases: 6,
        check: wrong::credentials,
    },
    Rule {
        id: "AUTH-003",
        chapter: Chapter::Authentication,
        sentence: "Without a credential nothing is told of a body or a resource: 401 comes first.",
        source: "chosen",
        level: Level::Chosen,
        how: "Sends every operation without a credential twice: valid, about things that are there, and malformed, about \
              things that are not. The two answers must be the same but for the request's id.",
        needs: &[Need::Fresh],
        cases: 1,
        check: missing::first,
    },
    Rule {
        id: "AUTH-004",
        chapter: Chapter::Authentication,
        sentence: "A revoked credential stops at once, on every operation.",
        source: "api-reference/authentication",
        level: Level::Documented,
        how: "Makes credentials of every kind, uses them, revokes them, and sends every operation with one of them. A request \
              that succeeded before under an idempotency key is not replayed to a revoked key either.",
        needs: &[],
        cases: 1,
        check: ending::revoked,
    },
    Rule {
        id: "AUTH-005",
        chapter: Chapter::Authentication,
        sentence: "Rotation ends the old secret and brings one new one that works; the key stays what it was.",
        source: "api-reference/authentication",
        level: Level::Documented,
        how: "Rotates a key a few times, one after another or several at once, and looks after each step which of all its \
              secrets open which operations: the newest alone.",
        needs: &[],
        cases: 8,
        check: ending::rotated,
    },
    Rule {
        id: "AUTH-006",
        chapter: Chapter::Authentication,
        sentence: "A credential works until it expires, and not a moment longer.",
        source: "miosa-go 2.0",
        level: Level::Observed,
        how: "Makes keys and tokens with drawn life times, moves the clock to just before and then just past the end, and \
              asks on both sides.",
        needs: &[Need::Clock, Need::Fresh],
        cases: 8,
        check: ending::expired,
    },
    Rule {
        id: "AUTH-007",
        chapter: Chapter::Authentication,
        sentence: "A secret is shown once: no later answer holds it.",
        source: "api-reference/authentication",
        level: Level::Documented,
        how: "Makes secrets of every kind in a populated organization, then reads every operation that reads, and looks for \
              them in the answers.",
        needs: &[Need::Fresh],
        cases: 1,
        check: secrets::shown_once,
    },
    Rule {
        id: "AUTH-008",
        chapter: Chapter::Authentication,
        sentence: "The scheme is Bearer, in any case; every other one is refused.",
        source: "chosen",
        level: Level::Chosen,
        how: "Draws how Bearer is written and other schemes, with a key that works.",
        needs: &[],
        cases: 2,
        check: wrong::schemes,
    },
    Rule {
        id: "AUTH-009",
        chapter: Chapter::Authentication,
        sentence: "A key with allowed_ips is taken from these addresses and no others.",
        source: "miosa-cli",
        level: Level::Observed,
        how: "Draws networks that just contain, or just do not contain, the address that requests come from.",
        needs: &[],
        cases: 12,
        check: addresses::allowed,
    },
];
