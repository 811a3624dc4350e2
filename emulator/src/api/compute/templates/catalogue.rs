//! `GET /templates`: what can be started here, in which sizes, and how ready it is. Built-in templates and the caller's own.

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::find::own_templates;
use super::readiness::{self, Kept, Readiness, WORDS};
use crate::api::compute::sandboxes::sizes::{self, SIZES};
use crate::app::App;
use crate::http::{Answer, ApiResult, Caller};
use crate::machines::templates::{BUILT_IN, DEFAULT_TEMPLATE};

/// The handler: an object at top level and under `data`, never a list (miosa-go 2.0 reads no other form).
pub async fn catalogue(State(app): State<App>, caller: Caller) -> ApiResult<Answer> {
    let mut templates = Vec::new();
    for template in BUILT_IN {
        let readiness = readiness::built_in(&app, template).await;
        let own = json!({
            "id": template.id,
            "slug": template.id,
            "name": template.name,
            "description": template.description,
            "image_id": template.id,
            "default": template.id == DEFAULT_TEMPLATE,
            "default_size": sizes::DEFAULT,
            "aliases": template.aliases,
            "installed_tools": template.tools,
            "built_in": true,
        });
        templates.push(item(own, &readiness));
    }
    let own = own_templates(&app, &caller).await?;
    if !own.is_empty() {
        let kept = Kept::look(&app).await;
        for template in own {
            let image =
                template.live.map(|live| super::Template::image_id(&template.slug, live.number));
            let shown = json!({
                "id": template.id,
                "slug": template.slug,
                "name": template.name,
                "description": template.description,
                "image_id": image,
                "default": false,
                "default_size": template.spec.size,
                "aliases": [template.slug],
                "installed_tools": [],
                "start_command": template.spec.start_cmd,
                "built_in": false,
            });
            templates.push(item(shown, &kept.readiness(&template)));
        }
    }
    let contracts: Vec<Value> =
        SIZES.iter().map(|(size, shape)| sizes::contract(size, *shape)).collect();
    let sizes: Vec<Value> = SIZES
        .iter()
        .map(|(size, shape)| {
            json!({
                "id": size, "size": size, "vcpus": shape.vcpus, "cpu_count": shape.vcpus,
                "memory_mb": shape.memory_mb, "disk_size_mb": shape.disk_mb,
                "default": *size == sizes::DEFAULT,
            })
        })
        .collect();
    Answer::ok(&json!({
        "templates": templates,
        "products": [{
            "id": "sandbox", "name": "Sandbox", "default_template": DEFAULT_TEMPLATE,
            "default_template_id": DEFAULT_TEMPLATE, "default_size": sizes::DEFAULT,
        }],
        "sizes": sizes,
        "shape_contracts": { "sandbox": contracts, "computer": [] },
        "readiness_states": WORDS,
        "rules": {
            "default_template_id": DEFAULT_TEMPLATE,
            "default_size": sizes::DEFAULT,
            "custom_shapes": true,
        },
    }))
}

/// An entry: what it says of itself, and what holds for each. One computer starts every size or none, so each size is as
/// ready as the template.
fn item(own: Value, readiness: &Readiness) -> Value {
    let mut item = match own {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let id = item.get("id").cloned().unwrap_or_default();
    let sizes: Vec<Value> = SIZES
        .iter()
        .map(|(size, shape)| {
            json!({
                "size": size,
                "state": readiness.state,
                "fast_ready": readiness.state == "fast_ready",
                "cold_boot_only": readiness.state == "cold_boot_only",
                "readiness_scope": "host",
                "resource_contract": sizes::contract(size, *shape),
            })
        })
        .collect();
    let shared = json!({
        "template_id": id,
        "product": "sandbox",
        "primitive": "sandbox",
        "sdk_name": id,
        "cli_name": id,
        "size_ids": SIZES.iter().map(|(size, _)| *size).collect::<Vec<_>>(),
        "readiness": readiness.state,
        "readiness_reason": readiness.reason,
        "readiness_contract": { "states": WORDS },
        "benchmark_lane": {},
        "sizes": sizes,
    });
    if let Value::Object(shared) = shared {
        item.extend(shared);
    }
    Value::Object(item)
}
