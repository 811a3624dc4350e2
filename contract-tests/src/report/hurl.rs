//! A finding as a Hurl file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::curl::one_line;
use super::replay::{Piece, Replay, Step};
use crate::rule::Rule;

/// The file. Credentials are taken out by whoever writes it.
pub fn file(rule: &Rule, replay: &Replay<'_>) -> String {
    let mut variables = String::new();
    for name in &replay.given {
        variables += &format!("--variable {name}=\"${name}\" ");
    }
    let mut out = format!(
        "# {}  {}\n# expected: {}\n# got:      {}\n#\n# hurl --variable origin={} {variables}{}.hurl\n",
        rule.id,
        rule.sentence,
        one_line(&replay.finding.expected),
        one_line(&replay.finding.got),
        replay.origin,
        rule.id
    );
    let last = replay.steps.last().map_or(0, |step| step.number);
    for step in &replay.steps {
        out += &entry(replay, step, step.number == last);
    }
    out
}

fn entry(replay: &Replay<'_>, step: &Step<'_>, last: bool) -> String {
    let exchange = step.exchange;
    let mut out = format!("\n# {}.", step.number);
    if step.at_once {
        out += " sent together with the one before";
    }
    if let Some(peculiar) = &exchange.peculiar {
        out += &format!(" as plain HTTP here; it was sent otherwise: {}", one_line(peculiar));
    }
    out += &format!(
        "\n{} {{{{origin}}}}{}\n",
        exchange.method,
        template(replay, step, replay.path(step))
    );
    if let Some(credential) = &exchange.credential {
        out += &format!("Authorization: Bearer {{{{{credential}}}}}\n");
    }
    // Hurl tells the length of what it sends.
    let told = |name: &str| name.eq_ignore_ascii_case("content-length");
    for (name, value) in exchange.headers.iter().filter(|(name, _)| !told(name)) {
        out += &format!("{name}: {}\n", template(replay, step, value));
    }
    if !exchange.body.is_empty() {
        let json = serde_json::from_slice::<serde_json::Value>(&exchange.body).is_ok();
        match std::str::from_utf8(&exchange.body) {
            Ok(text) if json && text.starts_with(['{', '[']) => {
                out += &format!("{}\n", filled(replay, step, text, r"\u007b\u007b", "#"));
            }
            _ => out += &format!("base64,{};\n", STANDARD.encode(&exchange.body)),
        }
    }
    match &exchange.answer {
        Some(answer) if !last => out += &format!("HTTP {}\n", answer.status),
        _ => out += "HTTP *\n",
    }
    if !step.captures.is_empty() {
        out += "[Captures]\n";
        for capture in &step.captures {
            let path: String = capture
                .pointer
                .split('/')
                .skip(1)
                .map(|part| match part.parse::<usize>() {
                    Ok(n) => format!("[{n}]"),
                    Err(_) => format!("['{part}']"),
                })
                .collect();
            out += &format!("{}: jsonpath \"${path}\"\n", capture.variable);
        }
    }
    out
}

/// A value of a line of its own, as Hurl writes it.
fn template(replay: &Replay<'_>, step: &Step<'_>, text: &str) -> String {
    filled(replay, step, text, r"\u{7b}\u{7b}", r"\#")
}

/// A text with variables in it, and with these for what else would be read as one, or as a comment.
fn filled(replay: &Replay<'_>, step: &Step<'_>, text: &str, braces: &str, hash: &str) -> String {
    replay
        .pieces(step, text)
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.replace("{{", braces).replace('#', hash),
            Piece::Variable(name) => format!("{{{{{name}}}}}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::replay::tests::finding;
    use super::*;
    use crate::chapters;

    #[test]
    fn what_one_answer_brings_the_next_request_sends() {
        let finding = finding();
        let replay = Replay::new(&finding, "http://127.0.0.1:1");
        let text = file(chapters::all()[0], &replay);
        let captured = "v1: jsonpath \"$['data']['id']\"\n";
        let used = "DELETE {{origin}}/api/v1/workspaces/{{v1}}?x=1\nAuthorization: Bearer {{MINTED_KEY_1}}\n";
        assert!(text.contains(captured) && text.contains(used), "{text}");
        assert!(text.contains(r#"{"workspace":"{{v1}}"}"#), "{text}");
    }

    #[test]
    fn a_body_stays_json() {
        let mut finding = finding();
        finding.exchanges[0].body = r##"{"name":"#1 {{x}}"}"##.into();
        let text = file(chapters::all()[0], &Replay::new(&finding, "http://127.0.0.1:1"));
        let line = text.lines().find(|line| line.starts_with('{')).unwrap();
        let body: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(body["name"], "#1 {{x}}");
    }
}
