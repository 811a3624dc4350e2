#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn every_parameter_of_every_path_is_a_kind_that_a_recipe_makes() {
    let mut missing = Vec::new();
    for operation in Contract::get().operations() {
        for parameter in operation.parameters().iter().filter(|it| it.location == Location::Path) {
            if parameters::kind(operation.path(), parameter.name).is_none() {
                missing.push(format!("{}: {}", operation.name(), parameter.name));
            }
        }
        for text in requests::texts(operation) {
            for kind in fill::needs(&text) {
                let made = RECIPES.iter().any(|recipe| recipe.kind == kind);
                if !made && !["fresh", "FRESH"].contains(&kind.as_str()) {
                    missing.push(format!("{}: <{kind}>", operation.name()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn recipes_name_only_what_was_made_before() {
    for (place, recipe) in RECIPES.iter().enumerate() {
        for kind in recipe.needs() {
            let at = RECIPES.iter().position(|other| other.kind == kind).unwrap();
            assert!(at < place, "{} needs {kind}", recipe.kind);
        }
    }
}

#[test]
fn tables_name_operations_that_there_are() {
    for id in requests::named().chain(order::named()) {
        assert!(Contract::get().by_id(id).is_some(), "{id}");
    }
}

#[test]
fn bodies_are_valid_by_their_schemas() {
    let known = RECIPES
        .iter()
        .flat_map(|recipe| std::iter::repeat_n(recipe, recipe.count))
        .map(|recipe| Known {
            kind: recipe.kind,
            id: "7d8f0f3e-5a43-4a0e-9a55-1a5c7a9d1c11".to_owned(),
            name: Some("contract-name".to_owned()),
        })
        .collect();
    let world = World { known, machines: true, prefix: "contract-run".to_owned() };
    let contract = Contract::get();
    let mut wrong = Vec::new();
    for operation in contract.operations() {
        let Some(media) = operation.request_body().and_then(|body| body.media("application/json"))
        else {
            continue;
        };
        let Some(body) = world.json(operation) else { continue };
        for finding in contract.findings(&media.schema, &body) {
            wrong.push(format!("{}: {finding} in {body}", operation.name()));
        }
        assert!(world.path(operation).is_some(), "{}", operation.name());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_placeholder_without_a_value_leaves_nothing() {
    let value = |name: &str| (name == "a").then(|| "1 2/3".to_owned());
    assert_eq!(fill::plain("x<a>y < 3", value).unwrap(), "x1 2/3y < 3");
    assert_eq!(fill::encoded("/x/<a>", value).unwrap(), "/x/1%202/3");
    assert_eq!(fill::plain("<b>", value), None);
}
