//! What holds for every operation of the contract.

use std::collections::HashSet;

use super::*;

const TEST_ROOT: Source = Source { name: "root", text: "openapi: 3.1.0" };

/// Every operation with its place, for messages.
fn each() -> Vec<(String, &'static Value, &'static Value)> {
    let mut all = Vec::new();
    for (path, item) in paths(document()) {
        for (name, _) in METHODS {
            if let Some(operation) = item.get(name) {
                all.push((format!("{name} {path}"), item, operation));
            }
        }
    }
    assert!(all.len() > 70, "only {} operations", all.len());
    all
}

/// What a value is, or what it refers to.
fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(to) => document()
            .pointer(to.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{to} leads nowhere")),
        None => value,
    }
}

fn parameters(item: &'static Value, operation: &'static Value) -> Vec<&'static Value> {
    [item.get("parameters"), operation.get("parameters")]
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten()
        .map(resolve)
        .collect()
}

fn responses(operation: &'static Value) -> &'static Map<String, Value> {
    operation["responses"].as_object().unwrap()
}

fn walk(value: &'static Value, visit: &mut impl FnMut(&'static Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(map);
            map.values().for_each(|value| walk(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[test]
fn the_contract_bundles() {
    let bundled = bundle(ROOT, FAMILIES).unwrap();
    assert_eq!(bundled["openapi"], "3.1.0");
    assert_eq!(&bundled, document());
}

#[test]
fn a_path_or_component_that_two_files_have_is_refused() {
    for text in ["paths: { /a: {} }", "components: { schemas: { A: {} } }"] {
        let [one, two] = ["one", "two"].map(|name| Source { name, text });
        assert!(bundle(TEST_ROOT, &[one]).is_ok());
        let error = bundle(TEST_ROOT, &[one, two]).unwrap_err();
        assert!(matches!(error, BundleError::Duplicate { file: "two", .. }), "{error}");
    }
    let twice = Source { name: "one", text: "paths:\n  /a: {}\n  /a: {}\n" };
    assert!(matches!(bundle(TEST_ROOT, &[twice]), Err(BundleError::Yaml { .. })));
}

#[test]
fn a_misspelt_part_of_a_file_is_refused() {
    let error = bundle(TEST_ROOT, &[Source { name: "one", text: "path: { /a: {} }" }]).unwrap_err();
    assert!(matches!(error, BundleError::Unknown { .. }), "{error}");
    let error = bundle(TEST_ROOT, &[Source { name: "one", text: "paths: [/a]" }]).unwrap_err();
    assert!(matches!(error, BundleError::Shape { .. }), "{error}");
}

#[test]
fn anchors_are_merged_through_every_level() {
    let text = "x-a: &a { one: 1, two: 1 }\nx-b: &b { <<: *a, two: 2 }\npaths: { /p: { <<: *b, three: 3 } }";
    let bundled = bundle(TEST_ROOT, &[Source { name: "one", text }]).unwrap();
    assert_eq!(bundled["paths"]["/p"], serde_json::json!({ "one": 1, "two": 2, "three": 3 }));
    walk(document(), &mut |map| assert!(!map.contains_key("<<"), "an anchor is left: {map:?}"));
}

#[test]
fn what_every_operation_may_answer_is_given_to_those_that_say_nothing_of_it() {
    let root =
        Source { name: "root", text: "x-every-operation: { '403': { a: 1 }, '501': { b: 1 } }" };
    let text = "paths: { /p: { parameters: [], get: { responses: { '403': { own: 1 } } } } }";
    let bundled = bundle(root, &[Source { name: "one", text }]).unwrap();
    let responses = &bundled["paths"]["/p"]["get"]["responses"];
    assert_eq!(responses, &serde_json::json!({ "403": { "own": 1 }, "501": { "b": 1 } }));
    assert!(bundled.get("x-every-operation").is_none());
}

#[test]
fn every_reference_resolves() {
    let mut count = 0;
    walk(document(), &mut |map| {
        if let Some(to) = map.get("$ref").and_then(Value::as_str) {
            count += 1;
            assert!(to.starts_with("#/components/"), "{to} leaves the document");
            assert!(document().pointer(to.trim_start_matches('#')).is_some(), "{to} leads nowhere");
        }
    });
    assert!(count > 500, "only {count} references");
}

#[test]
fn every_component_is_used() {
    let mut used = HashSet::new();
    walk(document(), &mut |map| {
        used.extend(map.get("$ref").and_then(Value::as_str));
    });
    for (kind, named) in document()["components"].as_object().unwrap() {
        // These are named by `security`, not referred to.
        for name in named.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            let place = format!("#/components/{kind}/{name}");
            assert!(used.contains(place.as_str()), "{place} is never used");
        }
    }
}

#[test]
fn every_operation_and_status_has_its_source() {
    for (place, _, operation) in each() {
        assert!(operation["x-source"].is_string(), "{place}: no x-source");
        for (status, response) in responses(operation) {
            assert!(resolve(response)["x-source"].is_string(), "{place} {status}: no x-source");
        }
    }
}

#[test]
fn every_operation_can_succeed_with_an_example_and_fail_with_a_code() {
    for (place, _, operation) in each() {
        let statuses = responses(operation);
        let succeeds = |status: &String| status.starts_with('2') || status == "101";
        assert!(statuses.keys().any(succeeds), "{place}: no success");
        for (status, response) in statuses {
            let response = resolve(response);
            let Some(content) = response.get("content").and_then(Value::as_object) else {
                // A WebSocket's messages are described beside.
                let socket = status == "101" && response["x-websocket"].is_object();
                assert!(socket || status == "204", "{place} {status}: no content");
                continue;
            };
            for (kind, media) in content {
                assert!(media["schema"].is_object(), "{place} {status} {kind}: no schema");
                if status.starts_with('2') {
                    assert!(
                        media.get("example").or(media.get("examples")).is_some(),
                        "{place} {status} {kind}: no example"
                    );
                } else {
                    assert!(
                        !response["x-codes"].as_array().unwrap().is_empty(),
                        "{place} {status}: no code"
                    );
                }
            }
        }
    }
}

#[test]
fn every_parameter_is_described_and_every_body_has_an_example() {
    for (place, item, operation) in each() {
        for parameter in parameters(item, operation) {
            let name = &parameter["name"];
            assert!(parameter["description"].is_string(), "{place} {name}: no description");
            assert!(parameter["schema"].is_object(), "{place} {name}: no schema");
            assert!(parameter["x-source"].is_string(), "{place} {name}: no x-source");
        }
        let content = operation.get("requestBody").and_then(|body| body["content"].as_object());
        for (kind, media) in content.into_iter().flatten() {
            let empty = media["schema"]["$ref"] == "#/components/schemas/Empty";
            let bytes = media["schema"]["format"] == "binary";
            let example = media.get("example").or(media.get("examples"));
            assert!(empty || bytes || example.is_some(), "{place} {kind}: no example");
        }
    }
}

#[test]
fn operation_ids_are_unique() {
    let mut seen = HashSet::new();
    for (place, _, operation) in each() {
        let id =
            operation["operationId"].as_str().unwrap_or_else(|| panic!("{place}: no operationId"));
        assert!(seen.insert(id), "{place}: {id} is there twice");
    }
}

#[test]
fn path_parameters_are_declared_and_no_others() {
    for (place, item, operation) in each() {
        let path = place.split_once(' ').unwrap().1;
        let named: HashSet<_> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let declared: Vec<_> = parameters(item, operation)
            .into_iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(declared.len(), named.len(), "{place}: {declared:?}");
        assert_eq!(declared.into_iter().collect::<HashSet<_>>(), named, "{place}");
    }
}

#[test]
fn mutations_take_an_idempotency_key_and_nothing_else_does() {
    for (place, item, operation) in each() {
        // A key belongs to an organization, so it means nothing where nobody is known.
        let known = operation.get("x-auth") != Some(&Value::from("none"));
        let mutates = known && !place.starts_with("get ");
        assert_eq!(operation.get("x-idempotent") == Some(&Value::Bool(true)), mutates, "{place}");
        let takes = parameters(item, operation)
            .iter()
            .any(|parameter| parameter["name"] == "Idempotency-Key");
        assert_eq!(takes, mutates, "{place}");
        let conflict = responses(operation).get("409").map(resolve);
        if mutates {
            let codes = conflict.unwrap_or_else(|| panic!("{place}: no 409"))["x-codes"]
                .as_array()
                .unwrap();
            assert!(codes.contains(&Value::from("IDEMPOTENCY_PAYLOAD_MISMATCH")), "{place}");
        }
    }
}

#[test]
fn an_operation_needs_a_credential_or_says_that_it_does_not() {
    for (place, _, operation) in each() {
        let open = operation.get("x-auth") == Some(&Value::from("none"));
        assert_eq!(operation.get("security") == Some(&Value::Array(Vec::new())), open, "{place}");
        assert_eq!(responses(operation).contains_key("401"), !open, "{place}");
    }
}

#[test]
fn a_list_answers_its_parts() {
    for (place, _, operation) in each() {
        if operation.get("x-paginated") == Some(&Value::Bool(true)) {
            let example = &responses(operation)["200"]["content"]["application/json"]["example"];
            assert!(example["data"].is_array(), "{place}");
            assert!(
                example["page"]["page_size"].is_u64() && example["meta"]["per_page"].is_u64(),
                "{place}"
            );
        }
    }
}

#[test]
fn operations_are_listed_as_the_router_writes_them() {
    let operations = operations();
    assert_eq!(operations.len(), each().len());
    assert!(operations.contains(&(Method::POST, "/sandboxes".to_owned())));
    assert!(operations.contains(&(Method::GET, "/sandboxes/{id}/files/{path...}".to_owned())));
    assert!(operations.contains(&(Method::GET, "/sandboxes/{id}/files/tree".to_owned())));
}
