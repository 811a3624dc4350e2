//! The check of one answer.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::contract::Contract;
use super::operation::{Header, Media, Response};
use super::shown;
use super::violation::{Finding, Kind, Violation};

impl Contract {
    /// Checks an answer: `path` is the one below `/api/v1` that was asked for.
    ///
    /// Of streams of events and of bodies that are no JSON the content type is checked and nothing in them; of a
    /// connection that became a WebSocket nothing more than that it may.
    pub fn check(
        &self,
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Violation> {
        self.inspect(method, path, status, headers, Some(body))
    }

    /// The same for an answer whose body has not been read: a stream.
    pub fn check_head(
        &self,
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
    ) -> Result<(), Violation> {
        self.inspect(method, path, status, headers, None)
    }

    fn inspect(
        &self,
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<(), Violation> {
        let operation = self.operation(method, path);
        let findings = match operation {
            Some(operation) => match operation.response(status) {
                Some(response) => self.response(response, method, headers, body),
                None => vec![undeclared(operation.responses(), status, body)],
            },
            None => self.elsewhere(method, path, status, headers, body),
        };
        if findings.is_empty() {
            return Ok(());
        }
        let operation = operation.map_or_else(
            || format!("{method} {}", shown::cut(path.split('?').next().unwrap_or_default())),
            super::Operation::name,
        );
        Err(Violation { operation, status, findings })
    }

    /// Of a path or method that the contract does not know.
    fn elsewhere(
        &self,
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Vec<Finding> {
        // A browser's question before it asks is answered by the server, not by an operation.
        if *method == Method::OPTIONS && status == 204 {
            return empty(body).into_iter().collect();
        }
        // A path with other methods is there. One that is not known may still be, with other methods, where a server
        // knows more of the API than the contract describes.
        let known = !self.methods(path).is_empty();
        match self.elsewhere.get(&status).filter(|_| !(known && status == 404)) {
            Some(response) => self.response(response, method, headers, body),
            None => {
                let fitting = self.elsewhere.values().filter(|it| !(known && it.status == 404));
                vec![undeclared(fitting, status, body)]
            }
        }
    }

    fn response(
        &self,
        response: &Response,
        method: &Method,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for header in &response.headers {
            findings.extend(self.header(header, headers));
        }
        if response.status == 101 {
            return findings;
        }
        let bodiless = *method == Method::HEAD || response.status == 304;
        if bodiless || response.content.is_empty() {
            findings.extend(empty(body));
            return findings;
        }
        let carried = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(media) = response.media(carried.unwrap_or_default()) else {
            let wanted: Vec<_> = response.content.iter().map(|media| media.content_type).collect();
            let was = carried.map_or_else(|| "none".to_owned(), shown::cut);
            findings.push(Finding::new(Kind::ContentType, "", wanted.join(" or "), was));
            return findings;
        };
        if let (true, Some(body)) = (media.is_json(), body) {
            findings.extend(self.body(response, media, body));
        }
        findings
    }

    fn header(&self, header: &Header, headers: &HeaderMap) -> Vec<Finding> {
        let Some(value) = headers.get(header.name) else {
            let missing = Finding::new(Kind::Header, header.name, "to be there", "missing");
            return if header.required { vec![missing] } else { Vec::new() };
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        // A header is text; what the schema calls a number is one written out.
        let written = Value::from(text.as_ref());
        let read: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let read_as = match read {
            Value::Number(_) | Value::Bool(_) => Some(read),
            _ => None,
        };
        let fits = |value: &Value| self.findings(&header.schema, value).is_empty();
        if fits(&written) || read_as.as_ref().is_some_and(fits) {
            return Vec::new();
        }
        let findings = self.findings(&header.schema, read_as.as_ref().unwrap_or(&written));
        let told = findings.into_iter().map(|finding| {
            let kind = if finding.kind == Kind::Contract { finding.kind } else { Kind::Header };
            Finding::new(kind, header.name, finding.wants, shown::quoted(header.name, &text))
        });
        told.collect()
    }

    fn body(&self, response: &Response, media: &Media, body: &[u8]) -> Vec<Finding> {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(error) => {
                let text = shown::quoted("", &String::from_utf8_lossy(body));
                return vec![Finding::new(Kind::Body, "", format!("JSON ({error})"), text)];
            }
        };
        let mut findings = self.findings(&media.schema, &value);
        // Device logins refuse as RFC 8628 has it: the code is the whole error.
        let code = value.pointer("/error/code").or_else(|| value.get("error"));
        if response.status >= 400
            && let Some(code) = code.and_then(Value::as_str)
            && !response.codes.contains(&code)
        {
            let wanted = response.codes.join(", ");
            findings.push(Finding::new(Kind::Code, "/error/code", wanted, shown::quoted("", code)));
        }
        findings
    }
}

fn empty(body: Option<&[u8]>) -> Option<Finding> {
    let body = body.filter(|body| !body.is_empty())?;
    let was = format!("{} bytes", body.len());
    Some(Finding::new(Kind::Body, "", "none", was))
}

fn undeclared<'r>(
    declared: impl Iterator<Item = &'r Response>,
    status: u16,
    body: Option<&[u8]>,
) -> Finding {
    let wanted: Vec<String> = declared.map(|response| response.status.to_string()).collect();
    // Why a server refused is what a reader asks next.
    let error = body
        .and_then(|body| serde_json::from_slice::<Value>(body).ok())
        .and_then(|body| body.get("error").cloned());
    let said = error.map_or_else(String::new, |error| {
        let part = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
        shown::cut(&format!(" ({}: {})", part("code"), part("message")))
    });
    Finding::new(Kind::Status, "", wanted.join(", "), format!("{status}{said}"))
}
