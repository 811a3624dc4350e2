//! A PATCH of one field changes that field, and neither another field nor another record.

mod place;
mod value;

use std::fmt;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::place::Place;
use crate::case::{Case, Client};
use crate::fault::Fault;
use crate::session::Session;

/// One field of one PATCH of the contract.
#[derive(Debug, Clone)]
struct Field {
    /// The path, as the contract writes it.
    path: String,
    name: String,
    schema: Value,
}

/// A field with a value for it.
#[derive(Clone)]
struct Change {
    path: String,
    field: String,
    value: Value,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PATCH {} {}", self.path, json!({ &self.field: &self.value }))
    }
}

/// Fields that say which record is meant.
const SELECTORS: &[&str] = &["resource_type", "resource_id"];

/// Fields that move by themselves, or say of another field what it is.
const MOVING: &[&str] = &["updated_at", "last_activity_at", "last_used_at", "timeout_remaining_ms"];

/// What is told of a field under another name.
fn told_by(field: &str) -> &'static [&'static str] {
    match field {
        "scopes" => &["unrestricted"],
        "name" => &["label"],
        "cpu_count" | "memory_mb" => &["size", "resource_contract", "enforced"],
        "slug" => &["preview_url"],
        "default_effect" => &["default_action"],
        "mode" => &["enforced", "enforcement"],
        _ => &[],
    }
}

/// Every field of every PATCH of the contract.
fn fields() -> Vec<Field> {
    let document = miosa_openapi::document();
    let mut fields = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let body = &item["patch"]["requestBody"]["content"]["application/json"]["schema"];
        let body = value::resolved(body);
        for (name, schema) in body["properties"].as_object().into_iter().flatten() {
            if !SELECTORS.contains(&name.as_str()) {
                let schema = value::resolved(schema).clone();
                fields.push(Field { path: path.clone(), name: name.clone(), schema });
            }
        }
    }
    fields
}

/// `LIFE-007`.
pub fn one_field(session: &Session) -> Result<(), Fault> {
    let alone = session.target.gives_organizations();
    for family in place::FAMILIES.iter().filter(|family| alone || !family.is_shared()) {
        let fields: Vec<Field> =
            fields().into_iter().filter(|field| family.covers(&field.path)).collect();
        let rounds = if family.is_dear() { 1 } else { 2 };
        let changes: Vec<_> = std::iter::repeat_n(&fields, rounds).flatten().map(change).collect();
        let changes = changes.prop_map(|all| all.into_iter().flatten().collect::<Vec<_>>());
        session.forall(changes, async |case, changes| tried(&case, *family, &changes).await)?;
    }
    Ok(())
}

/// A field with a value; none in a shorter form that does without it.
fn change(field: &Field) -> impl Strategy<Value = Option<Change>> + use<> {
    let (path, name) = (field.path.clone(), field.name.clone());
    let value = value::of(&field.name, &field.schema).prop_map(move |value| Change {
        path: path.clone(),
        field: name.clone(),
        value,
    });
    // Shorter is enough: a smaller value tells no more.
    prop::option::weighted(0.99, value.no_shrink())
}

async fn tried(case: &Case, family: place::Family, changes: &[Change]) -> Result<(), Fault> {
    if changes.is_empty() {
        return Ok(());
    }
    let client = case.organization()?;
    let place = family.make(&client).await?;
    let mut listed = place.list(&client).await?;
    for change in changes {
        listed = one(&client, &place, change, &listed).await?;
    }
    Ok(())
}

/// Tries a change; the answer is the list after it.
async fn one(
    client: &Client,
    place: &Place,
    change: &Change,
    before: &[Value],
) -> Result<Vec<Value>, Fault> {
    let value = own(client, &change.field, &change.value);
    let path = place.path(&change.path);
    let reply = client.patch(path, json!({ &change.field: value })).send().await?;
    // A host that holds its machines to no limits cannot give them others; then nothing changes.
    let refused = reply.status == 409 && change.path.ends_with("/resources");
    if !refused {
        reply.holds(reply.status == 200, format!("200 from {}", reply.place()), reply.summary())?;
    }
    let after = place.list(client).await?;
    let expected = format!("{change:?} to change {} and nothing else", change.field);
    for old in before {
        let id = &old[place.key];
        let Some(new) = after.iter().find(|new| new[place.key] == *id) else {
            return Err(reply.broken(expected, format!("{id} is not listed any more")));
        };
        let own = *id == place.id;
        let (old, new) = (old.as_object(), new.as_object());
        let names = old.into_iter().chain(new).flatten().map(|(name, _)| name);
        for name in names {
            let (was, is) = (old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)));
            let may = own
                && !refused
                && (*name == change.field || told_by(&change.field).contains(&name.as_str()));
            // A policy that is nobody's making until it is changed is made then.
            let begins = name == "updated_at" || name == "created_at" && was == Some(&Value::Null);
            if may || was == is || (own && begins) || MOVING.contains(&name.as_str()) {
                continue;
            }
            let whose = if own { "" } else { " of another one" };
            let (was, is) = (was.unwrap_or(&Value::Null), is.unwrap_or(&Value::Null));
            return Err(reply.broken(expected, format!("{name}{whose} went from {was} to {is}")));
        }
        if own && !refused {
            let is = new.and_then(|new| new.get(&change.field)).unwrap_or(&Value::Null);
            let expected = format!("{} {value} after {change:?}", change.field);
            reply.holds(value::same(is, &value), expected, is.to_string())?;
        }
    }
    reply.holds(
        before.len() == after.len(),
        format!("{} records as before", before.len()),
        after.len().to_string(),
    )?;
    Ok(after)
}

/// A name that nobody else has, where names are unique.
fn own(client: &Client, field: &str, value: &Value) -> Value {
    match value.as_str() {
        Some(text) if matches!(field, "name" | "slug") || field.starts_with("external_") => {
            json!(format!("{}-{text}", client.case().name()))
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_of_the_contract_is_covered_by_one_family() {
        let fields = fields();
        assert!(fields.len() > 30, "{}", fields.len());
        for field in fields {
            let families = place::FAMILIES.iter().filter(|family| family.covers(&field.path));
            assert_eq!(families.count(), 1, "PATCH {}", field.path);
        }
    }
}
