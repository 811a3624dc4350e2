//! Examples are instances of what they are examples of.

use serde_json::Value;

use super::*;

#[test]
fn every_example_is_valid_by_its_schema() {
    let contract = Contract::get();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut each = |place: String, schema: &Schema, examples: &[Example]| {
        for example in examples {
            count += 1;
            for finding in contract.findings(schema, example.value) {
                wrong.push(format!("{place} {}: {finding}", example.name));
            }
        }
    };
    for operation in contract.operations() {
        let name = operation.name();
        for it in operation.parameters() {
            each(format!("{name}, parameter {}", it.name), &it.schema, &it.examples);
        }
        for media in operation.request_body().into_iter().flat_map(|body| &body.content) {
            each(format!("{name}, request"), &media.schema, &media.examples);
        }
        for response in operation.responses() {
            for media in &response.content {
                each(format!("{name}, {}", response.status), &media.schema, &media.examples);
            }
        }
    }
    assert!(count > 150, "only {count} examples");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every schema with its place, wherever it stands in the document.
fn schemas(pointer: String, value: &'static Value, found: &mut Vec<Schema>) {
    let members = value.as_object().into_iter().flatten().map(|(name, it)| (name.clone(), it));
    let items = value.as_array().into_iter().flatten().enumerate();
    let items = items.map(|(index, it)| (index.to_string(), it));
    for (name, below) in members.chain(items) {
        // A value that is an example of something may look like anything.
        if !["example", "examples", "default", "value"].contains(&name.as_str()) {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            schemas(format!("{pointer}/{escaped}"), below, found);
        }
    }
    if value["type"].is_string() || value["type"].is_array() {
        found.push(Schema { pointer, value });
    }
}

#[test]
fn what_a_schema_gives_as_example_or_default_is_valid_by_itself() {
    let mut all = Vec::new();
    schemas(String::new(), crate::document(), &mut all);
    let (mut count, mut wrong) = (0, Vec::new());
    for schema in all {
        let examples = schema.value["examples"].as_array().into_iter().flatten();
        for value in examples.chain(schema.value.get("default")) {
            count += 1;
            for finding in Contract::get().findings(&schema, value) {
                wrong.push(format!("{}: {finding}", schema.pointer));
            }
        }
    }
    assert!(count > 30, "only {count} examples and defaults");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
