//! `GET /_emulator/coverage`: what is built, per family, from the same table that routes.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Params};

/// Which routes to name.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    /// Only this family, with its routes.
    family: Option<String>,
}

pub(super) async fn get(State(app): State<App>, Params(query): Params<Query>) -> ApiResult<Answer> {
    let mut families: BTreeMap<&str, (u32, Vec<Value>, Vec<Value>)> = BTreeMap::new();
    let routes = app.routes.get().map(crate::http::route::RouteTable::all).unwrap_or_default();
    for route in routes.iter().filter(|route| route.family != "control") {
        let family = families.entry(route.family).or_default();
        let name = json!(format!("{} {}", route.method, route.path));
        family.0 += 1;
        if route.built { family.1.push(name) } else { family.2.push(name) }
    }
    if let Some(wanted) = query.family.as_deref()
        && !families.contains_key(wanted)
    {
        let known: Vec<&str> = families.keys().copied().collect();
        return Err(ApiError::parameter("family", format!("must be one of {}", known.join(", "))));
    }
    let total: u32 = families.values().map(|family| family.0).sum();
    let built: usize = families.values().map(|family| family.1.len()).sum();
    let shown: Vec<Value> = families
        .into_iter()
        .filter(|(name, _)| query.family.as_deref().is_none_or(|wanted| wanted == *name))
        .map(|(name, (routes, built, not_emulated))| {
            let mut row = json!({
                "family": name, "routes": routes, "built": built.len(), "not_emulated": not_emulated.len(),
            });
            if query.family.is_some()
                && let Value::Object(row) = &mut row
            {
                row.insert("built_routes".into(), Value::Array(built));
                row.insert("not_emulated_routes".into(), Value::Array(not_emulated));
            }
            row
        })
        .collect();
    Answer::ok(&json!({
        "routes": total, "built": built, "not_emulated": total as usize - built, "families": shown,
    }))
}
