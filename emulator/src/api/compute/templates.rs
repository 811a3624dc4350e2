//! The catalogue of templates, with what this computer can start of it.

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sandboxes::sizes::{self, SIZES};
use crate::app::App;
use crate::http::route::Access;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiResult, Params, Route};
use crate::machines::TemplateReadiness;
use crate::machines::templates::{BUILT_IN, BuiltIn, DEFAULT_TEMPLATE};

/// The routes of the family.
pub fn routes() -> Vec<Route> {
    let read = "sandboxes:read";
    [
        Route::get("/templates", catalogue).scope(read),
        Route::get("/sandbox-templates", list).scope(read),
        Route::get("/sandbox-templates/{id}", get).scope(read),
    ]
    .into_iter()
    .map(|route| route.family("templates").access(Access::Key))
    .collect()
}

/// The three words of readiness (contract fixture public-v1).
const READINESS: &[&str] = &["fast_ready", "cold_boot_only", "missing"];

async fn readiness(app: &App, template: &BuiltIn) -> (&'static str, Option<String>) {
    let Some(host) = app.machines.host() else {
        return ("missing", Some("this emulator has no machines".into()));
    };
    match host.template(template.id).await {
        TemplateReadiness::FastReady => ("fast_ready", None),
        TemplateReadiness::ColdBootOnly => ("cold_boot_only", None),
        TemplateReadiness::Missing(reason) => ("missing", Some(reason)),
    }
}

fn default_shape() -> (&'static str, crate::machines::Shape) {
    SIZES.iter().find(|(name, _)| *name == sizes::DEFAULT).copied().unwrap_or((
        sizes::DEFAULT,
        crate::machines::Shape { vcpus: 2, memory_mb: 4096, disk_mb: 10_240 },
    ))
}

/// `GET /templates`: an object at top level and under `data`, never a list (miosa-go 2.0 reads no other form).
async fn catalogue(Extracted(app): Extracted<App>) -> ApiResult<Answer> {
    let mut templates = Vec::new();
    for template in BUILT_IN {
        let (state, reason) = readiness(&app, template).await;
        let sizes: Vec<Value> = SIZES
            .iter()
            .map(|(size, shape)| {
                json!({
                    "size": size,
                    "state": state,
                    "resource_contract": sizes::contract(size, *shape),
                })
            })
            .collect();
        templates.push(json!({
            "id": template.id,
            "template_id": template.id,
            "name": template.name,
            "description": template.description,
            "product": "sandbox",
            "primitive": "sandbox",
            "sdk_name": template.id,
            "cli_name": template.id,
            "default": template.id == DEFAULT_TEMPLATE,
            "default_size": sizes::DEFAULT,
            "size_ids": SIZES.iter().map(|(size, _)| *size).collect::<Vec<_>>(),
            "aliases": template.aliases,
            "installed_tools": template.tools,
            "readiness": state,
            "readiness_reason": reason,
            "readiness_contract": { "states": READINESS },
            "sizes": sizes,
        }));
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
        "readiness_states": READINESS,
        "rules": {
            "default_template_id": DEFAULT_TEMPLATE,
            "default_size": sizes::DEFAULT,
            "custom_shapes": true,
        },
    }))
}

/// The record of a template (`api-reference/sandbox-templates`).
async fn record(app: &App, template: &BuiltIn) -> Value {
    let (state, reason) = readiness(app, template).await;
    let (_, shape) = default_shape();
    json!({
        "id": template.id,
        "slug": template.id,
        "name": template.name,
        "description": template.description,
        "image_id": template.id,
        "category": template.category,
        "categories": [template.category],
        "tags": [template.category],
        "aliases": template.aliases,
        "default": template.id == DEFAULT_TEMPLATE,
        "built_in": true,
        "is_official": true,
        "public": true,
        "status": "active",
        "readiness": state,
        "readiness_reason": reason,
        "cpu_count": shape.vcpus,
        "vcpus": shape.vcpus,
        "default_cpu": shape.vcpus,
        "memory_mb": shape.memory_mb,
        "default_memory_mb": shape.memory_mb,
        "disk_mb": shape.disk_mb,
        "workdir": "/workspace",
        "preview_port": template.preview_port,
        "runtimes": template.tools,
        "install_command": null,
        "start_command": null,
        "readiness_probe": null,
        "artifact_paths": [],
        "build_spec": null,
        "current_build_id": null,
    })
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ListQuery {
    include_aliases: Option<String>,
}

/// `GET /sandbox-templates`: every template; with `include_aliases` each alias as an entry of its own.
async fn list(
    Extracted(app): Extracted<App>,
    Params(query): Params<ListQuery>,
) -> ApiResult<Answer> {
    let aliases = matches!(query.include_aliases.as_deref(), Some("true" | "1"));
    let mut items = Vec::new();
    for template in BUILT_IN {
        let record = record(&app, template).await;
        items.push(record.clone());
        for alias in template.aliases.iter().filter(|_| aliases) {
            let mut entry = record.clone();
            if let Value::Object(fields) = &mut entry {
                fields.insert("id".into(), (*alias).into());
                fields.insert("slug".into(), (*alias).into());
                fields.insert("alias_of".into(), template.id.into());
                fields.insert("default".into(), false.into());
            }
            items.push(entry);
        }
    }
    // `default_template_id` stands beside the list (`api-reference/sandbox-templates`).
    let total = items.len();
    let answer = Answer::ok(&items)?
        .beside("default_template_id", json!(DEFAULT_TEMPLATE))
        .beside("page", json!({ "page": 1, "page_size": total, "total": total }))
        .beside("meta", json!({ "total": total, "page": 1, "per_page": total }))
        .beside("templates", json!(items))
        .beside("total", json!(total));
    Ok(answer)
}

/// `GET /sandbox-templates/{id}`: by id or alias.
async fn get(Extracted(app): Extracted<App>, path: PathValues) -> ApiResult<Answer> {
    let template = super::sandboxes::create::template::named(path.at(0))?;
    Answer::ok(&record(&app, template).await)
}
