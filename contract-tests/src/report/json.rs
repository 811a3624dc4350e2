//! The report for programs.

use serde_json::{Value, json};

use super::Report;
use crate::run::Outcome;

/// The whole report. Credentials are taken out by whoever writes it.
pub fn json(report: &Report) -> Value {
    let rules: Vec<Value> = report
        .entries
        .iter()
        .map(|entry| {
            let mut row = json!({
                "id": entry.rule.id,
                "chapter": entry.rule.chapter,
                "sentence": entry.rule.sentence,
                "source": entry.rule.source,
                "level": entry.rule.level,
                "seed": entry.seed,
                "cases": entry.cases,
                "requests": entry.requests,
                "seconds": (entry.seconds * 1000.0).round() / 1000.0,
            });
            let (outcome, key, value) = match &entry.outcome {
                Outcome::Kept => ("kept", None, Value::Null),
                Outcome::Broken { finding } => ("broken", Some("finding"), json!(finding)),
                Outcome::Unable { why } => ("unable", Some("why"), json!(why)),
                Outcome::Skipped { why } => ("skipped", Some("why"), json!(why)),
            };
            row["outcome"] = json!(outcome);
            if let Some(key) = key {
                row[key] = value;
            }
            row
        })
        .collect();
    json!({
        "program": concat!("miosa-contract ", env!("CARGO_PKG_VERSION")),
        "target": report.target,
        "profile": report.profile,
        "run": report.run,
        "seed": report.seed,
        "started": report.started,
        "seconds": (report.seconds * 1000.0).round() / 1000.0,
        "requests": report.requests,
        "interrupted": report.interrupted,
        "left_behind": report.left_behind,
        "exit_code": report.exit_code(),
        "tally": report.tally(),
        "rules": rules,
    })
}
