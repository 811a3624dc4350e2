//! The report as one page that needs nothing beside itself.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::files::BROKEN;
use super::{Report, Tally};
use crate::exchange::Exchange;
use crate::fault::Finding;
use crate::rule::{Chapter, Level};
use crate::run::{Entry, Outcome};
use crate::target::Profile;

const STYLE: &str = include_str!("html.css");

/// How much of a body is shown.
const BODY: usize = 4_000;

/// The page. Credentials are taken out by whoever writes it.
pub fn page(report: &Report) -> String {
    let tally = report.tally();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (verdict(tally, report.interrupted)) " · " (report.target) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(if report.exit_code() == 0 { "kept" } else if tally.broken > 0 { "broken" } else { "unable" }) {
                    div.wide {
                        p.over { "MIOSA contract · " (report.target) }
                        h1 { (verdict(tally, report.interrupted)) }
                        (bar(tally))
                        (facts(report, tally))
                    }
                }
                main.wide {
                    (broken(report))
                    (untested(report))
                    (chapters(report))
                    @if !report.left_behind.is_empty() {
                        section {
                            h2 { "Left behind" }
                            p { "This run made these and could not remove them." }
                            ul { @for left in &report.left_behind { li { code { (left) } } } }
                        }
                    }
                }
                footer.wide {
                    "miosa-contract " (env!("CARGO_PKG_VERSION")) " · run " code { (report.run) }
                    " · the same values again: " code { "--seed " (report.seed) }
                }
            }
        }
    }
    .into_string()
}

fn verdict(tally: Tally, interrupted: bool) -> String {
    let rules = |n: usize| if n == 1 { "1 rule".to_owned() } else { format!("{n} rules") };
    if tally.broken > 0 {
        let verb = if tally.broken == 1 { "is" } else { "are" };
        format!("{} {verb} broken", rules(tally.broken))
    } else if interrupted {
        "Interrupted".to_owned()
    } else if tally.unable > 0 || tally.kept == 0 {
        format!("{} could not be checked", rules(tally.unable.max(tally.skipped)))
    } else if tally.skipped > 0 {
        format!("All {} that apply are kept", rules(tally.kept))
    } else {
        format!("All {} are kept", rules(tally.kept))
    }
}

fn bar(tally: Tally) -> Markup {
    let part = |class: &str, n: usize| {
        html! { @if n > 0 { span class=(class) style=(format!("flex-grow:{n}")) title=(format!("{n} {class}")) {} } }
    };
    html! {
        div.bar aria-hidden="true" {
            (part("broken", tally.broken)) (part("unable", tally.unable)) (part("kept", tally.kept))
            (part("skipped", tally.skipped))
        }
    }
}

fn facts(report: &Report, tally: Tally) -> Markup {
    let profile = match report.profile {
        Profile::Emulator => "emulator",
        Profile::Live => "live",
    };
    html! {
        dl.facts {
            div { dt { "kept" } dd { (tally.kept) } }
            div { dt { "broken" } dd { (tally.broken) } }
            div { dt { "not checked" } dd { (tally.unable) } }
            div { dt { "skipped" } dd { (tally.skipped) } }
            div { dt { "requests" } dd { (report.requests) } }
            div { dt { "seconds" } dd { (format!("{:.1}", report.seconds)) } }
            div { dt { "profile" } dd { (profile) } }
            div { dt { "began" } dd { (report.started.format("%Y-%m-%d %H:%M:%S UTC")) } }
        }
    }
}

fn broken(report: &Report) -> Markup {
    html! {
        @for entry in &report.entries {
            @if let Outcome::Broken { finding } = &entry.outcome {
                article id=(entry.rule.id) {
                    h2 { code.id { (entry.rule.id) } " " (entry.rule.sentence) }
                    p.source { (level(entry.rule.level)) " " (entry.rule.source) " · " (entry.rule.chapter.title()) }
                    div.versus {
                        div { h3 { "Expected" } p { (finding.expected) } }
                        div.got { h3 { "Got" } p { (finding.got) } }
                    }
                    h3 { (if finding.at == 0 { "The request".to_owned() } else { format!("The shortest way there: {} requests", finding.at + 1) }) }
                    (steps(finding))
                    @if !finding.input.is_empty() {
                        details { summary { "What was drawn" } pre { (shortened(&finding.input)) } }
                    }
                    p.again {
                        "See it again: "
                        a href=(format!("{BROKEN}/{}.sh", entry.rule.id)) { "curl script" } " · "
                        a href=(format!("{BROKEN}/{}.hurl", entry.rule.id)) { "Hurl" } " · "
                        a href=(format!("{BROKEN}/{}.har", entry.rule.id)) { "HAR" } " · "
                        code { "miosa-contract run --target " (report.target) " --rule " (entry.rule.id) " --seed " (entry.seed) }
                    }
                }
            }
        }
    }
}

fn steps(finding: &Finding) -> Markup {
    let end = (finding.at + 1).min(finding.exchanges.len());
    html! {
        ol.steps {
            @for (n, exchange) in finding.exchanges.iter().enumerate().take(end) {
                li.here[n == finding.at] {
                    details open[n == finding.at] {
                        summary {
                            b { (exchange.method) } " " span.url { (path(&exchange.url)) } " "
                            (outcome(exchange))
                        }
                        (exchange_of(exchange))
                    }
                }
            }
        }
    }
}

fn outcome(exchange: &Exchange) -> Markup {
    html! {
        @match &exchange.answer {
            Some(answer) => { span class=(format!("status s{}", answer.status / 100)) { (answer.status) } }
            None => { span.status.s5 { "no answer" } }
        }
    }
}

fn exchange_of(exchange: &Exchange) -> Markup {
    html! {
        @if let Some(peculiar) = &exchange.peculiar { p.peculiar { (peculiar) } }
        pre {
            (exchange.method) " " (path(&exchange.url)) "\n"
            @if let Some(credential) = &exchange.credential { "Authorization: Bearer $" (credential) "\n" }
            @for (name, value) in &exchange.headers { (name) ": " (shortened(value)) "\n" }
            @if !exchange.body.is_empty() { "\n" (body(&exchange.body)) }
        }
        @if let Some(answer) = &exchange.answer {
            pre.answer {
                (answer.status) "\n"
                @for (name, value) in &answer.headers { (name) ": " (value) "\n" }
                @if !answer.body.is_empty() { "\n" (body(&answer.body)) }
            }
        }
        @if let Some(failure) = &exchange.failure { p.peculiar { (failure) } }
    }
}

fn untested(report: &Report) -> Markup {
    let unable: Vec<_> = report
        .entries
        .iter()
        .filter_map(|entry| match &entry.outcome {
            Outcome::Unable { why } => Some((entry, why)),
            _ => None,
        })
        .collect();
    html! {
        @if !unable.is_empty() {
            section {
                h2 { "Could not be checked" }
                ul.rules {
                    @for (entry, why) in unable {
                        li.unable { code.id { (entry.rule.id) } span { (entry.rule.sentence) br; small { (why) } } }
                    }
                }
            }
        }
    }
}

fn chapters(report: &Report) -> Markup {
    html! {
        @for chapter in Chapter::ALL {
            @let entries: Vec<&Entry> = report.entries.iter().filter(|entry| entry.rule.chapter == chapter).collect();
            @if !entries.is_empty() {
                section {
                    h2 { (chapter.title()) }
                    ul.rules { @for entry in entries { (row(entry)) } }
                }
            }
        }
    }
}

fn row(entry: &Entry) -> Markup {
    let (class, why) = match &entry.outcome {
        Outcome::Kept => ("kept", None),
        Outcome::Broken { .. } => ("broken", None),
        Outcome::Unable { why } => ("unable", Some(why)),
        Outcome::Skipped { why } => ("skipped", Some(why)),
    };
    html! {
        li class=(class) {
            code.id { (entry.rule.id) }
            span {
                @if class == "broken" { a href=(format!("#{}", entry.rule.id)) { (entry.rule.sentence) } }
                @else { (entry.rule.sentence) }
                " " (level(entry.rule.level))
                @if let Some(why) = why { br; small { (why) } }
            }
            span.cost {
                @if entry.cases > 0 { (entry.cases) " cases · " (entry.requests) " requests · " (format!("{:.1} s", entry.seconds)) }
                @else { (class) }
            }
        }
    }
}

fn level(level: Level) -> Markup {
    html! { span class=(format!("level {}", level.word())) { (level.word()) } }
}

fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(url)
}

/// JSON indented, other text as it is, other bytes counted.
fn body(bytes: &[u8]) -> String {
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes)
        && let Ok(pretty) = serde_json::to_string_pretty(&value)
    {
        return shortened(&pretty);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => shortened(text),
        Err(_) => format!("{} bytes that are no text", bytes.len()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(BODY) {
        Some((end, _)) => {
            format!("{}… ({} bytes in all)", text.get(..end).unwrap_or_default(), text.len())
        }
        None => text.to_owned(),
    }
}
