//! The report at the end of a run, as text.

use std::fmt::Write as _;

use super::Report;
use crate::exchange::Exchange;
use crate::fault::Finding;
use crate::run::Outcome;

/// How much of a body is shown.
const BODY: usize = 400;

/// How many exchanges are shown before the one that matters.
const BEFORE: usize = 12;

/// The report. Credentials are taken out by whoever writes it.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(report, &mut out);
    out
}

/// One finding: what was expected, what came, and the steps.
pub fn finding(finding: &Finding) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = broken(finding, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    for entry in &report.entries {
        match &entry.outcome {
            Outcome::Broken { finding } => {
                writeln!(out, "\n{}  {}", entry.rule.id, entry.rule.sentence)?;
                writeln!(out, "  {} ({})", entry.rule.source, entry.rule.level.word())?;
                broken(finding, out)?;
                writeln!(
                    out,
                    "  again: miosa-contract run --target {} --rule {} --seed {}",
                    report.target, entry.rule.id, entry.seed
                )?;
            }
            Outcome::Unable { why } => {
                writeln!(out, "\n{}  could not be checked: {why}", entry.rule.id)?;
            }
            Outcome::Kept | Outcome::Skipped { .. } => {}
        }
    }
    let tally = report.tally();
    writeln!(
        out,
        "\n{} kept, {} broken, {} could not be checked, {} skipped; {} requests in {:.1} s, seed {}",
        tally.kept,
        tally.broken,
        tally.unable,
        tally.skipped,
        report.requests,
        report.seconds,
        report.seed
    )?;
    if report.interrupted {
        writeln!(out, "interrupted")?;
    }
    for left in &report.left_behind {
        writeln!(out, "left behind: {left}")?;
    }
    Ok(())
}

fn broken(finding: &Finding, out: &mut String) -> std::fmt::Result {
    writeln!(out, "  expected: {}", finding.expected)?;
    writeln!(out, "  got:      {}", finding.got)?;
    if !finding.input.is_empty() {
        writeln!(out, "  drawn:    {}", shortened(&finding.input))?;
    }
    let end = (finding.at + 1).min(finding.exchanges.len());
    let first = end.saturating_sub(BEFORE);
    if first > 0 {
        writeln!(out, "    … {first} more before")?;
    }
    for (number, exchange) in finding.exchanges.iter().enumerate().take(end).skip(first) {
        let mark = if number == finding.at { ">" } else { " " };
        writeln!(out, "  {mark} {:>2}. {}", number + 1, line(exchange))?;
        if number == finding.at
            && let Some(answer) = &exchange.answer
            && !answer.body.is_empty()
        {
            writeln!(out, "        {}", shortened(&String::from_utf8_lossy(&answer.body)))?;
        }
    }
    Ok(())
}

fn line(exchange: &Exchange) -> String {
    let mut line = format!("{} {}", exchange.method, exchange.url);
    for (name, value) in &exchange.headers {
        if !name.eq_ignore_ascii_case("content-type") {
            let _ = write!(line, " [{name}: {}]", shortened(value));
        }
    }
    if !exchange.body.is_empty() {
        let _ = write!(line, " {}", shortened(&String::from_utf8_lossy(&exchange.body)));
    }
    if let Some(peculiar) = &exchange.peculiar {
        let _ = write!(line, " ({peculiar})");
    }
    match (&exchange.answer, &exchange.failure) {
        (Some(answer), _) => {
            let _ = write!(line, " → {}", answer.status);
        }
        (None, Some(why)) => {
            let _ = write!(line, " → {why}");
        }
        (None, None) => {}
    }
    line
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(BODY).collect();
    if shown.len() < text.len() {
        let _ = write!(shown, "… ({} bytes)", text.len());
    }
    shown.replace(['\n', '\r'], "⏎").replace(char::is_control, "·")
}
