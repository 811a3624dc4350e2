//! Examples are instances of what they are examples of.

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
