//! What the parameters of paths stand for.

/// The path up to a parameter, and the kind of thing that it names. The longest that fits counts.
const KINDS: &[(&str, &str)] = &[
    ("/api-keys/{id}", "api_key"),
    ("/api-keys/presets/{name}", "key_preset"),
    ("/tokens/scoped/{id}", "scoped_token"),
    ("/service-accounts/{id}", "service_account"),
    ("/workspaces/{id}", "workspace"),
    ("/workspaces/{id}/members/{user_id}", "member"),
    ("/workspaces/{id}/invites/{invite_id}", "invite"),
    ("/workspace-invites/{token}", "invite_token"),
    ("/projects/{id}", "project"),
    ("/projects/{id}/environments/{environment_id}", "environment"),
    ("/projects/{id}/shared-variables/{name}", "shared_variable"),
    ("/projects/{id}/templates/{slug}", "project_template"),
    ("/project-templates/{slug}", "project_template"),
    ("/external-users/{id}", "external_user"),
    ("/quotas/external/{id}", "quota_user"),
    ("/egress/policies/{id}", "egress_policy"),
    ("/egress/allowlist/{id}", "egress_rule"),
    ("/egress/audit/{id}", "egress_event"),
    ("/egress/audit/resource/{id}", "sandbox"),
    ("/sandbox-templates/{id}", "template"),
    ("/sandbox-template-builds/{id}", "template_build"),
    ("/bulk/jobs/{id}", "bulk_job"),
    ("/snapshots/{id}", "snapshot"),
    ("/named-snapshots/{name}", "named_snapshot"),
    ("/sandboxes/{id}", "sandbox"),
    ("/sandboxes/by-name/{name}", "sandbox_name"),
    ("/sandboxes/batches/{id}", "batch"),
    ("/sandboxes/{id}/files/{path}", "file"),
    ("/sandboxes/{id}/env/{key}", "variable"),
    ("/sandboxes/{id}/snapshots/{snapshot_id}", "snapshot"),
    ("/sandboxes/{id}/restore/{snapshot_id}", "snapshot"),
    ("/sandboxes/{id}/previews/{preview_id}", "preview"),
    ("/sandboxes/{id}/shares/{share_id}", "share"),
    ("/sandboxes/{id}/commands/{pid}", "command"),
    ("/sandboxes/{id}/processes/{pid}", "process"),
    ("/sandboxes/{id}/code/contexts/{context}", "code_context"),
    ("/sandboxes/{id}/services/{service}", "service"),
    ("/sandboxes/{id}/terminal/{session_id}", "terminal"),
    ("/sandboxes/{id}/pty/{session_id}", "terminal"),
    ("/sandboxes/{id}/tunnel/{port}", "port"),
];

/// What a parameter of a path stands for.
pub(super) fn kind(path: &str, parameter: &str) -> Option<&'static str> {
    let end = path.find(&format!("{{{parameter}}}"))? + parameter.len() + 2;
    let upto = path.get(..end)?;
    KINDS.iter().find(|(known, _)| *known == upto).map(|(_, kind)| *kind)
}

/// What stands in a path for a kind that is no recipe's.
pub(super) fn placeholder(kind: &str) -> String {
    match kind {
        "invite_token" => "<invite.name>".to_owned(),
        "sandbox_name" => "<sandbox.name>".to_owned(),
        kind => format!("<{kind}>"),
    }
}
