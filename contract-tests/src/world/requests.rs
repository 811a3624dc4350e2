//! What the request of an operation says: its path, query and body, with placeholders.

use miosa_openapi::check::{Location, Operation};
use serde_json::Value;

use super::parameters;

/// Operations that take another than the first of a kind, since an earlier one ends it or must not.
const PATHS: &[(&str, &str)] = &[
    ("deleteSnapshot", "/snapshots/<snapshot#3>"),
    ("deleteSandboxSnapshot", "/sandboxes/<sandbox>/snapshots/<snapshot#4>"),
    ("acceptInvite", "/workspace-invites/<invite#2.name>/accept"),
    ("stopProcess", "/sandboxes/<sandbox>/processes/<process#2>"),
    ("deleteWorkspace", "/workspaces/<workspace#3>"),
    ("deleteProject", "/projects/<project#2>"),
    ("revokeApiKey", "/api-keys/<api_key#2>"),
    ("deleteProjectEnvironment", "/projects/<project>/environments/<environment#2>"),
];

/// Queries that an operation cannot do without.
const QUERIES: &[(&str, &str)] = &[
    ("deleteWorkspace", "?force=true"),
    ("talkToExecInSandbox", "?command=true"),
    ("spawnInSandbox", "?command=true"),
    ("execOnSocket", "?command=true"),
    ("streamExecEvents", "?ticket=<exec_ticket>"),
    ("downloadExport", "?path=<file>"),
    ("downloadArchive", "?path=/workspace"),
    ("uploadArchive", "?path=/workspace/unpacked&format=tar"),
    ("getSnapshotFile", "?path=<file>"),
    ("fsDownload", "?path=<file>"),
    ("fsRead", "?path=<file>"),
    ("fsStatByQuery", "?path=<file>"),
    ("downloadFile", "?path=<file>"),
    ("readFileText", "?path=<file>"),
    ("statFileByQuery", "?path=<file>"),
];

/// Bodies that name what the world has, or that must not be the document's example.
const BODIES: &[(&str, &str)] = &[
    ("createApiKey", r#"{"name":"<fresh>"}"#),
    ("createApiKeyPreset", r#"{"name":"<fresh>","scopes":["sandboxes:read"]}"#),
    (
        "createScopedToken",
        r#"{"user_id":"<fresh>","workspace_id":"<workspace>","expires_in_seconds":3600,"scopes":["sandboxes:read"]}"#,
    ),
    ("createExport", r#"{"paths":["<file>"],"label":"report"}"#),
    ("bulkPauseSandboxes", r#"{"ids":["<sandbox>"]}"#),
    ("bulkResumeSandboxes", r#"{"ids":["<sandbox>"]}"#),
    ("bulkDestroySandboxes", r#"{"ids":["<sandbox>"]}"#),
    ("fetchDeviceLoginKey", r#"{"device_code":"<device_approval.name>"}"#),
    ("createEgressRule", r#"{"host":"<fresh>.example.com","effect":"allow"}"#),
    ("setEgressMode", r#"{"mode":"audit_only"}"#),
    ("updateEgressPolicy", r#"{"mode":"audit_only"}"#),
    ("fsDelete", r#"{"path":"<file#2>"}"#),
    ("deleteFile", r#"{"path":"<file#3>"}"#),
    ("fsStat", r#"{"path":"<file>"}"#),
    ("statFile", r#"{"path":"<file>"}"#),
    ("fsMkdir", r#"{"path":"/workspace/<fresh>","recursive":true}"#),
    ("makeDirectory", r#"{"path":"/workspace/<fresh>","recursive":true}"#),
    ("fsCopy", r#"{"from":"<file>","to":"/workspace/<fresh>","recursive":false}"#),
    ("copyFile", r#"{"from":"<file>","to":"/workspace/<fresh>","recursive":false}"#),
    ("fsRename", r#"{"from":"<file#4>","to":"/workspace/<fresh>"}"#),
    ("renameFile", r#"{"from":"<file#5>","to":"/workspace/<fresh>"}"#),
    ("fsChmod", r#"{"path":"<file>","mode":"0644"}"#),
    ("chmodFile", r#"{"path":"<file>","mode":"0644"}"#),
    (
        "applyPolicyToMany",
        r#"{"tier":"workspace","ids":["<workspace>"],"policy":{"quotas":{"max_sandboxes":70}}}"#,
    ),
    ("createProject", r#"{"name":"<fresh>","workspace_id":"<workspace>"}"#),
    ("moveProject", r#"{"target_workspace_id":"<workspace#2>"}"#),
    (
        "createSandbox",
        r#"{"name":"<fresh>","workspace_id":"<workspace>","project_id":"<project>"}"#,
    ),
    ("createSandboxBatch", r#"{"count":1,"name_prefix":"<fresh>"}"#),
    (
        "transferResources",
        r#"{"resource_ids":["<sandbox>"],"target_workspace_id":"<workspace#2>"}"#,
    ),
    ("createWorkspace", r#"{"name":"<fresh>"}"#),
    ("addMember", r#"{"email":"<fresh>@example.com","role":"admin"}"#),
    ("createInvite", r#"{"email":"<fresh>@example.com","role":"member"}"#),
    ("deleteSnapshots", r#"{"ids":["<snapshot#5>"]}"#),
    ("createNamedSnapshot", r#"{"name":"<fresh>","snapshot_id":"<snapshot#2>"}"#),
    ("createSandboxTemplate", r#"{"name":"<fresh>","build_spec":{"from":"miosa-sandbox"}}"#),
    ("resizeExec", r#"{"session_id":"<terminal>","rows":40,"cols":120}"#),
    ("createTerminal", r#"{"cols":120,"rows":40,"cwd":"/workspace"}"#),
    ("signalProcess", r#"{"signal":"SIGCONT"}"#),
    ("runCommandInSandbox", r#"{"command":"echo hello","cwd":"/workspace"}"#),
    ("createPreview", r#"{"port":3001,"visibility":"private"}"#),
    ("startSandboxTemplate", r#"{"start_command":"sleep 600","port":<port>}"#),
    ("createService", r#"{"name":"<fresh>","command":"sleep 600","restart":"on-failure"}"#),
    ("updateSandbox", r#"{"name":"<fresh>"}"#),
];

/// The path, with placeholders for its parameters.
pub(super) fn path(operation: &Operation) -> String {
    if let Some((_, path)) = PATHS.iter().find(|(id, _)| *id == operation.id()) {
        return (*path).to_owned();
    }
    let mut path = operation.path().to_owned();
    for parameter in operation.parameters().iter().filter(|it| it.location == Location::Path) {
        let kind = parameters::kind(operation.path(), parameter.name).unwrap_or("unknown");
        let braced = format!("{{{}}}", parameter.name);
        // A path of a file begins with the slash that is there already.
        let (from, to) = match kind {
            "file" => (format!("/{braced}"), parameters::placeholder(kind)),
            _ => (braced, parameters::placeholder(kind)),
        };
        path = path.replace(&from, &to);
    }
    path
}

/// The query, with placeholders.
pub(super) fn query(operation: &Operation) -> &'static str {
    QUERIES.iter().find(|(id, _)| *id == operation.id()).map_or("", |(_, query)| query)
}

/// The body, with placeholders.
pub(super) fn body(operation: &Operation) -> Option<(&'static str, String)> {
    let media = operation.request_body()?.content.first()?;
    if let Some((_, body)) = BODIES.iter().find(|(id, _)| *id == operation.id()) {
        return Some((media.content_type, (*body).to_owned()));
    }
    let mut example = match media.examples.first() {
        Some(example) => example.value.clone(),
        None => Value::Object(serde_json::Map::new()),
    };
    // Names are taken once.
    if let Some(name) = example.get_mut("name").filter(|name| name.is_string()) {
        *name = Value::from("<fresh>");
    }
    Some((media.content_type, example.to_string()))
}

/// What must be there although no request names it.
const UNNAMED: &[(&str, &str)] = &[
    ("promoteSandboxTemplate", "<template_build>"),
    ("rollbackSandboxTemplate", "<template_build>"),
];

/// All texts that may name something.
pub(super) fn texts(operation: &Operation) -> Vec<String> {
    let unnamed = UNNAMED.iter().filter(|(id, _)| *id == operation.id());
    let unnamed = unnamed.map(|(_, text)| *text).collect();
    let body = body(operation).map(|(_, text)| text).unwrap_or_default();
    vec![path(operation), query(operation).to_owned(), body, unnamed]
}

/// The operations that the tables name.
#[cfg(test)]
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    [PATHS, QUERIES, BODIES].into_iter().flatten().map(|(id, _)| *id)
}
