//! The record of a template (`api-reference/sandbox-templates`, miosa-cli).
//!
//! A list carries what a single record has: miosa-cli reads `categories`, `default_cpu` and `default_memory_mb` there,
//! the published page `slug`, `vcpus` and `memory_mb`, miosa-go 2.0 `image_ref` and `created_at`.

use serde_json::{Map, Value, json};

use super::Template;
use super::readiness::Readiness;
use crate::api::compute::sandboxes::sizes;
use crate::machines::Shape;
use crate::machines::templates::{BuiltIn, DEFAULT_TEMPLATE};

/// The record of a built-in template.
pub fn built_in(template: &BuiltIn, readiness: Readiness) -> Value {
    let (_, shape) = sizes::default_shape();
    let own = json!({
        "id": template.id,
        "slug": template.id,
        "name": template.name,
        "description": template.description,
        "image_id": template.id,
        "image_ref": template.id,
        "tags": [template.category],
        "aliases": template.aliases,
        "default": template.id == DEFAULT_TEMPLATE,
        "built_in": true,
        "is_official": true,
        "public": true,
        "status": "active",
        "workdir": "/workspace",
        "preview_port": template.preview_port,
        "runtimes": template.tools,
        "start_command": null,
        "readiness_probe": null,
        "artifact_paths": [],
        "build_spec": null,
        "current_build_id": null,
        "metadata": {},
        "tenant_id": null,
        "workspace_id": null,
        "inserted_at": null,
        "created_at": null,
        "updated_at": null,
    });
    whole(template.category, shape, own, readiness)
}

/// The record of one of the organization's own.
pub fn own(template: &Template, readiness: Readiness) -> Value {
    let spec = &template.spec;
    let live = template.live;
    let image = live.map(|live| Template::image_id(&template.slug, live.number));
    let probe = spec.ready_cmd.as_ref().map(|line| json!({ "type": "command", "command": line }));
    let own = json!({
        "id": template.id,
        "slug": template.slug,
        "name": template.name,
        "description": template.description,
        "image_id": image,
        "image_ref": image,
        "tags": [],
        "aliases": [],
        "default": false,
        "built_in": false,
        "is_official": false,
        "public": false,
        "status": template.status,
        "workdir": spec.workdir,
        "preview_port": spec.preview_port,
        "runtimes": [],
        "start_command": spec.start_cmd,
        "readiness_probe": probe,
        "artifact_paths": spec.artifact_paths,
        "build_spec": spec,
        // While none is live it is the newest, so that who looks for the reason finds it (miosa-cli).
        "current_build_id": live.map(|live| live.build).or(template.latest),
        "version": live.map(|live| live.number),
        "metadata": template.metadata,
        "tenant_id": template.org,
        "workspace_id": template.workspace_id,
        "inserted_at": template.created_at,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    });
    whole("custom", spec.shape(), own, readiness)
}

/// Adds what is said of every template the same way.
fn whole(category: &str, shape: Shape, own: Value, readiness: Readiness) -> Value {
    let mut record = match own {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let shared = json!({
        "category": category,
        "categories": [category],
        "readiness": readiness.state,
        "readiness_reason": readiness.reason,
        "cpu_count": shape.vcpus,
        "vcpus": shape.vcpus,
        "default_cpu": shape.vcpus,
        "memory_mb": shape.memory_mb,
        "default_memory_mb": shape.memory_mb,
        "disk_mb": shape.disk_mb,
        "install_command": null,
    });
    if let Value::Object(shared) = shared {
        record.extend(shared);
    }
    Value::Object(record)
}
