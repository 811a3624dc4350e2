//! Events of templates and their builds, written in the transaction that makes them true.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Build, Template};
use crate::app::App;
use crate::http::ApiResult;
use crate::store::Tx;
use crate::store::outbox::Event;

/// What happens to a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It was made.
    Created,
    /// Another of its builds is live: by a request.
    Promoted,
    /// An earlier of its builds is live again.
    RolledBack,
    /// It is gone.
    Deleted,
}

/// Writes the event.
pub fn emit(tx: &Tx<'_>, app: &App, template: &Template, happening: Happening) -> ApiResult<()> {
    let kind = match happening {
        Happening::Created => "template.created",
        Happening::Promoted => "template.promoted",
        Happening::RolledBack => "template.rolled_back",
        Happening::Deleted => "template.deleted",
    };
    let data = json!({
        "name": template.name, "slug": template.slug, "status": template.status,
        "current_build_id": template.live.map(|live| live.build),
    });
    write(tx, app, kind, (template.org, template.workspace_id, template.id), data)
}

/// Writes that a build has come to another state; its subject is the template.
pub fn build(tx: &Tx<'_>, app: &App, build: &Build) -> ApiResult<()> {
    let kind = format!("template.build.{}", build.state.as_str());
    let error = build.error.as_ref();
    let data = json!({
        "build_id": build.id, "template_id": build.template_id, "state": build.state,
        "error_code": error.map(|error| &error.code),
        "error_message": error.map(|error| &error.message),
    });
    write(tx, app, &kind, (build.org, build.workspace_id, build.template_id), data)
}

fn write(
    tx: &Tx<'_>,
    app: &App,
    kind: &str,
    (org, workspace, template): (Uuid, Uuid, Uuid),
    data: Value,
) -> ApiResult<()> {
    tx.emit(&Event {
        seq: 0,
        id: app.ids.next(),
        org,
        workspace: Some(workspace),
        kind: kind.to_owned(),
        subject_kind: "template".to_owned(),
        subject_id: template,
        at: app.clock.now(org),
        data,
    })?;
    Ok(())
}
