//! The check, tried with answers that are right and answers that are wrong in one way each.

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", "req_1".parse().unwrap());
    headers.insert("content-type", "application/json; charset=utf-8".parse().unwrap());
    for (name, value) in pairs {
        headers.insert(*name, value.parse().unwrap());
    }
    headers
}

fn refusal(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "No.", "request_id": "req_1" } })
}

/// The example of a successful answer.
fn example(method: &Method, path: &str, status: u16) -> Value {
    let operation = Contract::get().operation(method, path).unwrap();
    operation.response(status).unwrap().content[0].examples[0].value.clone()
}

#[track_caller]
fn check(method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &Value) -> Vec<Kind> {
    let checked = Contract::get().check(method, path, status, headers, body.to_string().as_bytes());
    match checked {
        Ok(()) => Vec::new(),
        Err(violation) => {
            assert!(!violation.findings.is_empty());
            violation.findings.iter().map(|finding| finding.kind).collect()
        }
    }
}

#[test]
fn a_right_answer_passes() {
    let body = example(&Method::GET, "/sandboxes/x", 200);
    assert_eq!(check(&Method::GET, "/sandboxes/x?a=b", 200, &headers(&[]), &body), []);
    let body = refusal("sandbox_not_found");
    assert_eq!(check(&Method::GET, "/sandboxes/x", 404, &headers(&[]), &body), []);
}

#[test]
fn every_member_of_the_body_is_checked_wherever_it_stands() {
    let good = example(&Method::GET, "/sandboxes/x", 200);
    for (at, wrong) in [
        ("/id", json!("no-uuid")),
        ("/data/id", json!(7)),
        ("/created_at", json!("2026-05-17T10:00:00+02:00")),
        ("/data/created_at", json!("yesterday")),
        ("/state", json!("dreaming")),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(at).unwrap() = wrong;
        let violation = Contract::get()
            .check(&Method::GET, "/sandboxes/x", 200, &headers(&[]), body.to_string().as_bytes())
            .unwrap_err();
        assert_eq!(violation.operation, "GET /sandboxes/{id}");
        assert!(
            violation.findings.iter().all(|it| it.kind == Kind::Body && it.at == at),
            "{violation}"
        );
        assert!(violation.to_string().contains(&format!("body at {at}: wants ")), "{violation}");
    }
    let mut body = good;
    body.as_object_mut().unwrap().remove("id");
    assert_eq!(check(&Method::GET, "/sandboxes/x", 200, &headers(&[]), &body), [Kind::Missing]);
    let broken =
        Contract::get().check(&Method::GET, "/sandboxes/x", 200, &headers(&[]), b"{\"id\":");
    assert_eq!(broken.unwrap_err().findings[0].kind, Kind::Body);
}

#[test]
fn a_status_that_the_operation_does_not_declare_is_refused_and_the_reason_is_told() {
    let body = refusal("WHO_KNOWS").to_string();
    let violation = Contract::get()
        .check(&Method::GET, "/sandboxes/x", 418, &headers(&[]), body.as_bytes())
        .unwrap_err();
    assert_eq!(violation.findings[0].kind, Kind::Status);
    assert!(violation.to_string().contains("was 418 (WHO_KNOWS: No.)"), "{violation}");
}

#[test]
fn a_code_of_another_status_is_refused() {
    let body = refusal("snapshot_not_found");
    assert_eq!(check(&Method::GET, "/sandboxes/x", 404, &headers(&[]), &body), [Kind::Code]);
    let body = json!({ "error": { "code": "sandbox_not_found", "message": "No." } });
    assert_eq!(check(&Method::GET, "/sandboxes/x", 404, &headers(&[]), &body), [Kind::Missing]);
}

#[test]
fn a_code_is_looked_for_where_device_logins_have_it_too() {
    let path = "/auth/cli/token";
    let refused =
        |code: &str| check(&Method::POST, path, 428, &headers(&[]), &json!({ "error": code }));
    assert_eq!(refused("authorization_pending"), []);
    assert_eq!(refused("access_denied"), [Kind::Code]);
}

#[test]
fn headers_are_there_and_have_their_form() {
    let body = refusal("RATE_LIMITED");
    let limits =
        [("x-ratelimit-limit", "300"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")];
    let answered = |pairs: &[(&'static str, &str)]| {
        check(&Method::GET, "/sandboxes/x", 429, &headers(&[&limits[..], pairs].concat()), &body)
    };
    assert_eq!(answered(&[("retry-after", "7")]), []);
    assert_eq!(answered(&[]), [Kind::Header]);
    assert_eq!(answered(&[("retry-after", "soon")]), [Kind::Header]);
    assert_eq!(answered(&[("retry-after", "1.5")]), [Kind::Header]);
    let mut nameless = headers(&[]);
    nameless.remove("x-request-id");
    let body = refusal("sandbox_not_found");
    assert_eq!(check(&Method::GET, "/sandboxes/x", 404, &nameless, &body), [Kind::Header]);
    // A number is a text as well, where a text is wanted.
    let numbered = headers(&[("x-request-id", "17")]);
    assert_eq!(check(&Method::GET, "/sandboxes/x", 404, &numbered, &body), []);
}

#[test]
fn the_content_type_is_one_of_those_declared() {
    let body = refusal("sandbox_not_found");
    let html = headers(&[("content-type", "text/html")]);
    assert_eq!(check(&Method::GET, "/sandboxes/x", 404, &html, &body), [Kind::ContentType]);
    let stream = headers(&[("content-type", "text/event-stream")]);
    let path = "/sandboxes/x/exec/stream";
    assert_eq!(Contract::get().check(&Method::POST, path, 200, &stream, b"event: x\n\n"), Ok(()));
    assert_eq!(Contract::get().check_head(&Method::POST, path, 200, &stream), Ok(()));
    let wrong = Contract::get().check_head(&Method::POST, path, 200, &headers(&[]));
    assert_eq!(wrong.unwrap_err().findings[0].kind, Kind::ContentType);
}

#[test]
fn where_no_body_may_be_there_is_none() {
    let contract = Contract::get();
    let gone = contract.operations().iter().find(|it| it.response(204).is_some()).unwrap();
    assert_eq!(contract.check(gone.method(), gone.path(), 204, &headers(&[]), b""), Ok(()));
    let filled = contract.check(gone.method(), gone.path(), 204, &headers(&[]), b"{}").unwrap_err();
    assert_eq!(filled.findings[0].kind, Kind::Body);
    assert_eq!(contract.check(&Method::HEAD, "/sandboxes/x", 200, &headers(&[]), b""), Ok(()));
    assert!(contract.check(&Method::HEAD, "/sandboxes/x", 200, &headers(&[]), b"{}").is_err());
}

#[test]
fn a_path_or_method_that_is_none_is_refused_as_such() {
    let allow = headers(&[("allow", "GET, POST")]);
    let not_allowed = refusal("METHOD_NOT_ALLOWED");
    assert_eq!(check(&Method::PUT, "/sandboxes", 405, &allow, &not_allowed), []);
    assert_eq!(check(&Method::PUT, "/sandboxes", 405, &headers(&[]), &not_allowed), [Kind::Header]);
    let no_route = refusal("ROUTE_NOT_FOUND");
    assert_eq!(check(&Method::GET, "/nowhere", 404, &headers(&[]), &no_route), []);
    // The path is there.
    assert_eq!(check(&Method::PUT, "/sandboxes", 404, &headers(&[]), &no_route), [Kind::Status]);
    let unbuilt = refusal("not_emulated");
    assert_eq!(check(&Method::GET, "/computers", 501, &headers(&[]), &unbuilt), []);
    assert_eq!(check(&Method::GET, "/nowhere", 200, &headers(&[]), &json!({})), [Kind::Status]);
}

#[test]
fn a_literal_wins_over_a_parameter_and_the_rest_comes_last() {
    let contract = Contract::get();
    for (method, path, template) in [
        (Method::GET, "/sandboxes/runtimes", "/sandboxes/runtimes"),
        (Method::GET, "/sandboxes/runtime", "/sandboxes/{id}"),
        (Method::GET, "//sandboxes/x/?a=/b", "/sandboxes/{id}"),
        (Method::GET, "/sandboxes/x/files/tree", "/sandboxes/{id}/files/tree"),
        (Method::GET, "/sandboxes/x/files/a/b/c", "/sandboxes/{id}/files/{path}"),
        (Method::POST, "/sandboxes/x/exec", "/sandboxes/{id}/exec"),
    ] {
        let found = contract.operation(&method, path);
        assert_eq!(found.map(Operation::path), Some(template), "{method} {path}");
    }
    // What stands under a literal is not looked for under the parameter beside it.
    assert!(contract.operation(&Method::DELETE, "/sandboxes/runtimes").is_none());
    assert!(contract.operation(&Method::GET, "/sandboxes/x/nowhere").is_none());
    assert!(contract.operation(&Method::GET, "/").is_none());
}

#[test]
fn secrets_and_long_values_are_not_printed() {
    let mut body = example(&Method::GET, "/sandboxes/x", 200);
    body["name"] = json!({ "msk_live_inside": "msk_live_secret" });
    body["state"] = json!("long ".repeat(1000));
    body["slug"] = json!("msk_live_secret");
    body["data"]["state"] = json!("msk_live_secret");
    let violation = Contract::get()
        .check(&Method::GET, "/sandboxes/x", 200, &headers(&[]), body.to_string().as_bytes())
        .unwrap_err();
    let text = violation.to_string();
    assert!(violation.findings.len() >= 3, "{text}");
    assert!(!text.contains("msk_live_secret"), "{text}");
    assert!(text.len() < 2500, "{text}");
}

#[test]
fn operations_say_what_the_document_says() {
    let contract = Contract::get();
    assert_eq!(contract.operations().len(), crate::operations().len());
    let create = contract.by_id("createSandbox").unwrap();
    assert_eq!(create.name(), "POST /sandboxes");
    assert_eq!(create.scope(), Some("sandboxes:create"));
    assert!(create.is_idempotent() && !create.is_paginated() && !create.is_open());
    assert!(create.parameter(Location::Header, "Idempotency-Key").is_some());
    assert!(!create.parameter(Location::Query, "wait").unwrap().required);
    let body = create.request_body().unwrap().media("application/json").unwrap();
    assert!(!body.examples.is_empty());
    assert_eq!(body.schema.pointer(), "/components/schemas/SandboxCreate");
    let reference = json!({ "$ref": "#/components/schemas/SandboxCreate" });
    assert_eq!(contract.resolve(&reference), body.schema.value());
    assert!(contract.by_id("listSandboxes").unwrap().is_paginated());
    let item = contract.operation(&Method::GET, "/sandboxes/x").unwrap();
    assert!(item.parameter(Location::Path, "id").unwrap().required);
    assert_eq!(contract.methods("/sandboxes"), [&Method::GET, &Method::POST]);
    assert!(contract.operations().iter().any(Operation::is_open));
    assert!(contract.operations().iter().any(Operation::is_socket));
    assert!(contract.operations().iter().any(Operation::is_stream));
}

#[test]
fn every_schema_compiles() {
    let contract = Contract::get();
    let mut broken = Vec::new();
    let mut each = |schema: &Schema| {
        let findings = contract.findings(schema, &Value::Null);
        broken.extend(findings.into_iter().filter(|it| it.kind == Kind::Contract));
    };
    for operation in contract.operations() {
        operation.parameters().iter().for_each(|parameter| each(&parameter.schema));
        let bodies = operation.request_body().into_iter().flat_map(|body| &body.content);
        bodies.for_each(|media| each(&media.schema));
        for response in operation.responses() {
            response.content.iter().for_each(|media| each(&media.schema));
            response.headers.iter().for_each(|header| each(&header.schema));
        }
    }
    broken.dedup();
    assert!(broken.is_empty(), "{broken:#?}");
}
