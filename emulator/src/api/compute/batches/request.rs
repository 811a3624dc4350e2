//! What a batch may ask for: how many, how many at once, and what each create says.

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::record::{Batch, Status};
use crate::api::compute::sandboxes::create::Plan;
use crate::api::compute::sandboxes::create::request::Create;
use crate::api::compute::sandboxes::create::template::named;
use crate::api::compute::sandboxes::{fields, snapshot_base};
use crate::api::compute::templates::{Origin, origin};
use crate::clock::Timestamp;
use crate::http::ownership::{Owner, Selectors};
use crate::http::{ApiError, ApiResult, Caller, validation};
use crate::machines::Base;
use crate::store::View;

/// The most sandboxes of one batch.
pub const MOST: u32 = 1000;
/// At once, when nothing is said.
const CONCURRENCY: u32 = 8;
/// At once, at most.
const MOST_AT_ONCE: u32 = 32;

/// What is the batch's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Own {
    count: Option<i64>,
    concurrency: Option<i64>,
    name_prefix: Option<String>,
}

const OWN: [&str; 3] = ["count", "concurrency", "name_prefix"];

/// A request that has been checked.
pub struct Asked {
    /// Where the sandboxes belong.
    pub selectors: Selectors,
    template: String,
    snapshot: Option<String>,
    create: Map<String, Value>,
    count: u32,
    concurrency: u32,
    name_prefix: Option<String>,
}

/// Reads a body; what nobody knows goes to `unread`.
///
/// # Errors
/// What a create of this body would be refused for, and 422 for wrong numbers.
pub fn read(mut body: Map<String, Value>, unread: &mut Vec<String>) -> ApiResult<Asked> {
    let own: Map<String, Value> =
        OWN.iter().filter_map(|key| Some(((*key).to_owned(), body.remove(*key)?))).collect();
    let own: Own = parse(&own, &mut Vec::new())?;
    let number = |field: &str, value: Option<i64>, default: Option<u32>, most: u32| match value {
        None => default.ok_or_else(|| ApiError::field(field, "is missing")),
        Some(n) => u32::try_from(n)
            .ok()
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| ApiError::field(field, format!("must be 1 to {most}"))),
    };
    let count = number("count", own.count, None, MOST)?;
    let concurrency = number("concurrency", own.concurrency, Some(CONCURRENCY), MOST_AT_ONCE)?;
    for field in ["name", "slug"] {
        if body.get(field).is_some_and(|value| !value.is_null()) {
            return Err(ApiError::field(field, "would be that of every sandbox; send name_prefix"));
        }
    }
    if let Some(prefix) = &own.name_prefix {
        fields::name(prefix)?;
        validation::text("name_prefix", prefix, 1, 240)?;
    }
    let create: Create = parse(&body, unread)?;
    let (selectors, snapshot) = (create.selectors(), create.snapshot());
    selectors.validate()?;
    let template = create.template()?.to_owned();
    // One of the organization's own is looked up, and the create with it checked, when the batch is written.
    if let Ok(built_in) = named(&template) {
        create.plan(&Origin::BuiltIn(built_in))?;
    }
    Ok(Asked {
        template,
        selectors,
        snapshot,
        create: body,
        count,
        concurrency,
        name_prefix: own.name_prefix,
    })
}

fn parse<T: serde::de::DeserializeOwned>(
    body: &Map<String, Value>,
    unread: &mut Vec<String>,
) -> ApiResult<T> {
    let text = serde_json::to_vec(body).map_err(|error| ApiError::internal(error.to_string()))?;
    validation::parse(&text, unread)
}

impl Asked {
    /// What the sandboxes start from, when that is a snapshot.
    ///
    /// # Errors
    /// As for a create.
    pub fn base(&self, view: &View<'_>, caller: &Caller) -> ApiResult<Option<Base>> {
        let origin = origin::of(view, (caller.org, caller.bound_workspace), &self.template)?;
        parse::<Create>(&self.create, &mut Vec::new())?.plan(&origin)?;
        let named = self.snapshot.as_deref();
        named.map(|named| snapshot_base::of(view, caller, named)).transpose()
    }

    /// The row.
    pub fn batch(
        self,
        id: Uuid,
        caller: &Caller,
        owner: Owner,
        base: Option<Base>,
        now: Timestamp,
    ) -> Batch {
        Batch {
            id,
            org: caller.org,
            owner,
            owner_id: caller.user_id,
            create: self.create,
            base,
            name_prefix: self.name_prefix,
            count: self.count,
            concurrency: self.concurrency,
            status: Status::Pending,
            dispatched: 0,
            refused: 0,
            succeeded: 0,
            refusals: Vec::new(),
            created_at: now,
            updated_at: now,
            settled_at: None,
        }
    }
}

impl Batch {
    /// What its sandbox with this number is made as.
    ///
    /// # Errors
    /// What such a create is refused for by now.
    pub fn plan(&self, view: &View<'_>, index: u32) -> ApiResult<Plan> {
        let create = parse::<Create>(&self.create, &mut Vec::new())?;
        let origin = origin::of(view, (self.org, None), create.template()?)?;
        let mut plan = create.plan(&origin)?;
        if let Some(base) = &self.base {
            plan.base = base.clone();
            plan.boot_path = "snapshot";
        }
        plan.name = self.name_prefix.as_ref().map(|prefix| format!("{prefix}-{}", index + 1));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(body: Value) -> ApiResult<(u32, u32)> {
        let Value::Object(body) = body else { panic!() };
        read(body, &mut Vec::new()).map(|asked| (asked.count, asked.concurrency))
    }

    #[test]
    fn numbers_have_bounds_and_the_create_is_checked_before_anything_begins() {
        assert_eq!(asked(json!({ "count": 3 })).unwrap(), (3, 8));
        assert_eq!(asked(json!({ "count": 1000, "concurrency": 32 })).unwrap(), (1000, 32));
        for bad in [
            json!({}),
            json!({ "count": 0 }),
            json!({ "count": 1001 }),
            json!({ "count": 2, "concurrency": 33 }),
            json!({ "count": 2, "name": "same" }),
            json!({ "count": 2, "name_prefix": "" }),
            json!({ "count": 2, "size": "huge" }),
            json!({ "count": 2, "setup_file": "" }),
        ] {
            assert_eq!(asked(bad.clone()).unwrap_err().code.status, 422, "{bad}");
        }
        // One of the organization's own is looked up when the batch is written.
        assert_eq!(asked(json!({ "count": 2, "template_id": "own" })).unwrap(), (2, 8));
    }
}
