//! A finding as steps that can be repeated from nothing: what the server chose (ids, secrets) becomes variables that are
//! read from the answer that brought it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::exchange::Exchange;
use crate::fault::Finding;

/// Shorter values are taken for coincidences.
const SHORTEST: usize = 6;

/// A finding, ready to be written down.
pub struct Replay<'f> {
    /// The finding.
    pub finding: &'f Finding,
    /// The server's origin, `http://127.0.0.1:4010`.
    pub origin: &'f str,
    /// The steps, up to the one that shows the fault.
    pub steps: Vec<Step<'f>>,
    /// Credentials that no answer brings: they must be given.
    pub given: Vec<String>,
}

/// One request.
pub struct Step<'f> {
    /// Its number, from one.
    pub number: usize,
    /// The request and its answer.
    pub exchange: &'f Exchange,
    /// What is read from the answer.
    pub captures: Vec<Capture>,
    /// Whether it was under way together with the one before.
    pub at_once: bool,
}

/// A value to be read from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The variable.
    pub variable: String,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
    /// What it was.
    pub value: String,
}

/// A text in which variables stand for what the server chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of a variable.
    Variable(String),
}

impl<'f> Replay<'f> {
    /// Of this finding against that server.
    pub fn new(finding: &'f Finding, origin: &'f str) -> Self {
        let end = (finding.at + 1).min(finding.exchanges.len());
        let exchanges = finding.exchanges.get(..end).unwrap_or_default();
        let mut captured: BTreeMap<String, Capture> = BTreeMap::new();
        let mut steps: Vec<Step<'f>> = Vec::new();
        for (number, exchange) in exchanges.iter().enumerate() {
            let later = exchanges.get(number + 1..).unwrap_or_default();
            let before = exchanges.get(..=number).unwrap_or_default();
            let mut captures = Vec::new();
            for (pointer, value) in texts(exchange) {
                let secret = finding.secrets.iter().find(|(_, secret)| *secret == value);
                let used = secret.is_some() || later.iter().any(|later| sends(later, &value));
                if !used || captured.contains_key(&value) {
                    continue;
                }
                if secret.is_none() && before.iter().any(|before| sends(before, &value)) {
                    continue; // ours, not the server's
                }
                let variable = match secret {
                    Some((variable, _)) => variable.clone(),
                    None => format!("v{}", captured.len() + 1),
                };
                let capture = Capture { variable, pointer, value: value.clone() };
                captured.insert(value, capture.clone());
                captures.push(capture);
            }
            let at_once = number
                .checked_sub(1)
                .and_then(|before| exchanges.get(before))
                .is_some_and(|before| {
                    let ended = before.at + chrono::TimeDelta::milliseconds(before.millis as i64);
                    before.millis > 0 && exchange.at < ended
                });
            steps.push(Step { number: number + 1, exchange, captures, at_once });
        }
        let brought: Vec<_> = captured.values().map(|capture| capture.variable.clone()).collect();
        let mut given: Vec<String> = exchanges
            .iter()
            .filter_map(|exchange| exchange.credential.clone())
            .filter(|variable| !brought.contains(variable))
            .collect();
        given.sort();
        given.dedup();
        Self { finding, origin, steps, given }
    }

    /// The text of a step with variables for what earlier answers brought.
    pub fn pieces(&self, step: &Step<'_>, text: &str) -> Vec<Piece> {
        let known = self.steps.iter().take_while(|before| before.number < step.number);
        let mut pieces = vec![Piece::Text(text.to_owned())];
        for capture in known.flat_map(|before| &before.captures) {
            pieces = pieces
                .into_iter()
                .flat_map(|piece| match piece {
                    Piece::Text(text) => split(&text, &capture.value, &capture.variable),
                    variable @ Piece::Variable(_) => vec![variable],
                })
                .collect();
        }
        pieces
    }

    /// The path of a step's URL, from the origin on.
    pub fn path(&self, step: &Step<'f>) -> &'f str {
        step.exchange.url.strip_prefix(self.origin).unwrap_or(&step.exchange.url)
    }
}

fn split(text: &str, value: &str, variable: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (n, part) in text.split(value).enumerate() {
        if n > 0 {
            pieces.push(Piece::Variable(variable.to_owned()));
        }
        if !part.is_empty() {
            pieces.push(Piece::Text(part.to_owned()));
        }
    }
    pieces
}

/// Whether a request says this.
fn sends(exchange: &Exchange, value: &str) -> bool {
    exchange.url.contains(value)
        || exchange.headers.iter().any(|(_, said)| said.contains(value))
        || std::str::from_utf8(&exchange.body).is_ok_and(|body| body.contains(value))
}

/// Every text of an answer that is long enough to be told from others, with its place; those under `data` first.
fn texts(exchange: &Exchange) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let body = exchange.answer.as_ref().map(|answer| &answer.body[..]).unwrap_or_default();
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        if let Some(data) = value.get("data") {
            walk(data, "/data", &mut found);
        }
        walk(&value, "", &mut found);
    }
    found
}

fn walk(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) if text.len() >= SHORTEST => found.push((at.to_owned(), text.clone())),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| walk(item, &format!("{at}/{n}"), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| walk(member, &format!("{at}/{name}"), found));
        }
        _ => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use chrono::{DateTime, Utc};
    use serde_json::json;

    use super::*;
    use crate::exchange::Answered;

    pub(in crate::report) fn exchange(
        method: &str,
        path: &str,
        sent: &str,
        got: &Value,
    ) -> Exchange {
        Exchange {
            at: DateTime::<Utc>::UNIX_EPOCH,
            credential: Some("MIOSA_API_KEY".to_owned()),
            method: method.to_owned(),
            url: format!("http://127.0.0.1:1{path}"),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Bytes::from(sent.to_owned()),
            peculiar: None,
            answer: Some(Answered {
                status: 201,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: got.to_string().into(),
            }),
            failure: None,
            millis: 0,
        }
    }

    pub(in crate::report) fn finding() -> Finding {
        let made = json!({ "data": { "id": "8f14e45f-ceea", "name": "it's mine" } });
        let key = json!({ "data": { "id": "11111111-aaaa", "secret": "msk_live_secret" } });
        let mut with_key =
            exchange("DELETE", "/api/v1/workspaces/8f14e45f-ceea?x=1", "", &json!({}));
        with_key.credential = Some("MINTED_KEY_1".to_owned());
        Finding {
            expected: "204".to_owned(),
            got: "201".to_owned(),
            input: "3".to_owned(),
            at: 2,
            exchanges: vec![
                exchange("POST", "/api/v1/workspaces", r#"{"name":"it's mine"}"#, &made),
                exchange("POST", "/api/v1/api-keys", r#"{"workspace":"8f14e45f-ceea"}"#, &key),
                with_key,
            ],
            secrets: vec![("MINTED_KEY_1".to_owned(), "msk_live_secret".to_owned())],
        }
    }

    #[test]
    fn what_the_server_chose_becomes_a_variable_and_what_we_chose_does_not() {
        let finding = finding();
        let replay = Replay::new(&finding, "http://127.0.0.1:1");
        let names = |n: usize| -> Vec<_> {
            replay.steps[n].captures.iter().map(|c| (&*c.variable, &*c.pointer)).collect()
        };
        assert_eq!(names(0), [("v1", "/data/id")]);
        assert_eq!(names(1), [("MINTED_KEY_1", "/data/secret")]);
        assert_eq!(replay.given, ["MIOSA_API_KEY"]);
        let last = &replay.steps[2];
        assert_eq!(
            replay.pieces(last, replay.path(last)),
            [
                Piece::Text("/api/v1/workspaces/".to_owned()),
                Piece::Variable("v1".to_owned()),
                Piece::Text("?x=1".to_owned()),
            ]
        );
    }
}
