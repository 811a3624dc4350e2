//! The rules, one chapter a file.

pub mod authentication;
pub mod envelopes;
pub mod errors;
pub mod exec;
pub mod files;
pub mod idempotency;
pub mod ids_and_times;
pub mod isolation;
pub mod life_cycles;
pub mod ownership;
pub mod pagination;
pub mod rate_limits;
pub mod request_format;
pub mod scopes;
pub mod status_codes;
pub mod streams;

use crate::rule::Rule;

/// Every rule, in the order of the chapters.
pub fn all() -> Vec<&'static Rule> {
    let chapters: &[&[Rule]] = &[
        envelopes::RULES,
        errors::RULES,
        status_codes::RULES,
        request_format::RULES,
        authentication::RULES,
        scopes::RULES,
        ownership::RULES,
        isolation::RULES,
        pagination::RULES,
        idempotency::RULES,
        rate_limits::RULES,
        ids_and_times::RULES,
        life_cycles::RULES,
        files::RULES,
        exec::RULES,
        streams::RULES,
    ];
    chapters.iter().copied().flatten().collect()
}

/// The rule with this id, however it is written.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().into_iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_every_rule_says_what_it_is() {
        let mut seen = HashSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "{} is there twice", rule.id);
            let (chapter, number) = rule.id.split_once('-').unwrap_or_default();
            assert!(chapter.len() >= 3 && number.len() == 3, "{}", rule.id);
            for text in [rule.sentence, rule.source, rule.how] {
                assert!(text.len() > 3, "{}: {text:?}", rule.id);
            }
            assert!(rule.cases > 0, "{}", rule.id);
        }
    }
}
