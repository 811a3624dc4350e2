//! A finding as HAR 1.2, which browsers and proxies open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::exchange::{Exchange, Header};
use crate::fault::Finding;
use crate::rule::Rule;

/// The log. Credentials are taken out by whoever writes it.
pub fn log(rule: &Rule, finding: &Finding) -> Value {
    let entries: Vec<Value> = finding.exchanges.iter().map(entry).collect();
    json!({ "log": {
        "version": "1.2",
        "creator": { "name": "miosa-contract", "version": env!("CARGO_PKG_VERSION") },
        "comment": format!("{}: {} Expected: {}. Got: {}.", rule.id, rule.sentence, finding.expected, finding.got),
        "entries": entries,
    }})
}

fn entry(exchange: &Exchange) -> Value {
    let mut headers = named(&exchange.headers);
    if let Some(credential) = &exchange.credential {
        headers.insert(
            0,
            json!({ "name": "Authorization", "value": format!("Bearer ${credential}") }),
        );
    }
    let query: Vec<Value> = exchange
        .url
        .split_once('?')
        .map(|(_, query)| query.split('&'))
        .into_iter()
        .flatten()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            json!({ "name": name, "value": value })
        })
        .collect();
    let mut request = json!({
        "method": exchange.method, "url": exchange.url, "httpVersion": "HTTP/1.1", "headers": headers,
        "queryString": query, "cookies": [], "headersSize": -1, "bodySize": exchange.body.len(),
    });
    if !exchange.body.is_empty() {
        let (text, encoding) = content(&exchange.body);
        let mut data = json!({ "mimeType": kind(&exchange.headers), "text": text });
        if let Some(encoding) = encoding {
            data["comment"] = json!(format!("encoded as {encoding}"));
        }
        request["postData"] = data;
    }
    if let Some(peculiar) = &exchange.peculiar {
        request["comment"] = json!(peculiar);
    }
    let response = match &exchange.answer {
        Some(answer) => {
            let (text, encoding) = content(&answer.body);
            let mut content = json!({
                "size": answer.body.len(), "mimeType": kind(&answer.headers), "text": text,
            });
            if let Some(encoding) = encoding {
                content["encoding"] = json!(encoding);
            }
            json!({
                "status": answer.status, "statusText": "", "httpVersion": "HTTP/1.1",
                "headers": named(&answer.headers), "cookies": [], "content": content, "redirectURL": "",
                "headersSize": -1, "bodySize": answer.body.len(),
            })
        }
        None => json!({
            "status": 0, "statusText": "", "httpVersion": "", "headers": [], "cookies": [],
            "content": { "size": 0, "mimeType": "" }, "redirectURL": "", "headersSize": -1, "bodySize": -1,
            "comment": exchange.failure,
        }),
    };
    json!({
        "startedDateTime": exchange.at.to_rfc3339(),
        "time": exchange.millis,
        "request": request,
        "response": response,
        "cache": {},
        "timings": { "send": 0, "wait": exchange.millis, "receive": 0 },
    })
}

fn named(headers: &[Header]) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn kind(headers: &[Header]) -> &str {
    let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    found.map_or("", |(_, value)| value)
}

fn content(body: &[u8]) -> (String, Option<&'static str>) {
    match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(body), Some("base64")),
    }
}
