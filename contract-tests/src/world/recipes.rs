//! How one of each kind is made. What a recipe names is made by one before it.

use std::collections::BTreeSet;

use super::fill;

/// How something is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    /// What comes of it.
    pub kind: &'static str,
    /// How many.
    pub count: usize,
    pub method: &'static str,
    pub path: &'static str,
    /// The body, in JSON; empty for none. `<given>` is a fresh name, the same in path and body.
    pub body: &'static str,
    /// Where in the answer its id stands; empty when `<given>` is its id.
    pub id: &'static str,
    /// Where its other name stands, or a placeholder.
    pub name: Option<&'static str>,
    /// Where it is looked up, when the answer does not tell it.
    pub found: Option<&'static str>,
    /// What is to stand where before it can be used.
    pub until: Option<(&'static str, &'static str)>,
}

impl Recipe {
    /// The kinds that it names.
    pub fn needs(&self) -> BTreeSet<String> {
        let texts = [self.path, self.body, self.found.unwrap_or_default()];
        texts.into_iter().flat_map(fill::needs).filter(|kind| is_kind(kind)).collect()
    }

    /// Whether a sandbox has to run for it.
    pub fn needs_machine(&self) -> bool {
        matches!(self.kind, "sandbox" | "batch" | "template_build")
            || self.needs().iter().any(|kind| {
                RECIPES.iter().any(|recipe| recipe.kind == kind && recipe.needs_machine())
            })
    }
}

fn is_kind(name: &str) -> bool {
    RECIPES.iter().any(|recipe| recipe.kind == name)
}

const fn post(kind: &'static str, path: &'static str, body: &'static str) -> Recipe {
    Recipe {
        kind,
        count: 1,
        method: "POST",
        path,
        body,
        id: "/data/id",
        name: None,
        found: None,
        until: None,
    }
}

const fn put(kind: &'static str, path: &'static str, body: &'static str) -> Recipe {
    Recipe { method: "PUT", ..post(kind, path, body) }
}

const fn named(recipe: Recipe) -> Recipe {
    Recipe { name: Some("/data/name"), ..recipe }
}

/// All of them.
pub(super) const RECIPES: &[Recipe] = &[
    Recipe { count: 3, ..named(post("workspace", "/workspaces", r#"{"name":"<given>"}"#)) },
    Recipe {
        count: 2,
        ..named(post("project", "/projects", r#"{"name":"<given>","workspace_id":"<workspace>"}"#))
    },
    Recipe { count: 2, ..named(post("api_key", "/api-keys", r#"{"name":"<given>"}"#)) },
    Recipe {
        id: "/data/name",
        ..post(
            "key_preset",
            "/api-keys/presets",
            r#"{"name":"<given>","scopes":["sandboxes:read"]}"#,
        )
    },
    post(
        "scoped_token",
        "/tokens/scoped",
        r#"{"user_id":"<given>","workspace_id":"<workspace>","expires_in_seconds":3600,"scopes":["sandboxes:read"]}"#,
    ),
    named(post("service_account", "/service-accounts", r#"{"name":"<given>"}"#)),
    post(
        "service_account_key",
        "/service-accounts/<service_account>/keys",
        r#"{"name":"<given>"}"#,
    ),
    // What is told of an invite only once is its token.
    Recipe {
        count: 2,
        name: Some("/data/token"),
        ..post(
            "invite",
            "/workspaces/<workspace>/invites",
            r#"{"email":"<given>@example.com","role":"member"}"#,
        )
    },
    Recipe {
        name: Some("/data/token"),
        ..post(
            "invite_taken",
            "/workspaces/<workspace>/invites",
            r#"{"email":"<given>@example.com","role":"member"}"#,
        )
    },
    Recipe {
        id: "/data/user_id",
        ..post("member", "/workspace-invites/<invite_taken.name>/accept", "{}")
    },
    Recipe {
        count: 2,
        ..named(post("environment", "/projects/<project>/environments", r#"{"name":"<given>"}"#))
    },
    Recipe {
        id: "/data/0/name",
        ..put(
            "shared_variable",
            "/projects/<project>/shared-variables",
            r#"{"variables":{"CONTRACT_BASE":"https://contract.example.com"}}"#,
        )
    },
    Recipe {
        id: "/data/0/slug",
        method: "GET",
        ..post("project_template", "/project-templates", "")
    },
    put("tenant_policy", "/tenant/policy", r#"{"quotas":{"max_sandboxes":90}}"#).given(),
    put("workspace_policy", "/workspaces/<workspace>/policy", r#"{"quotas":{"max_sandboxes":80}}"#)
        .given(),
    put("external_user", "/external-users/<given>/policy", r#"{"quotas":{"max_sandboxes":5}}"#)
        .given(),
    put("quota_user", "/quotas/external/<given>", r#"{"max_sandboxes":5}"#).given(),
    named(post("egress_policy", "/egress/policies", r#"{"name":"<given>","mode":"audit_only"}"#)),
    post("egress_rule", "/egress/allowlist", r#"{"host":"<given>.example.com","effect":"allow"}"#),
    named(post(
        "template",
        "/sandbox-templates",
        r#"{"name":"<given>","build_spec":{"from":"miosa-sandbox"}}"#,
    )),
    Recipe {
        count: 2,
        id: "/data/0/id",
        found: Some("/sandbox-templates/<template>/builds"),
        until: Some(("/data/0/state", "ready")),
        ..post("template_build", "/sandbox-templates/<template>/builds", "{}")
    },
    Recipe {
        id: "/device_code",
        name: Some("/user_code"),
        ..post("device_login", "/auth/cli/start", "{}")
    },
    // A person approves the login, which an emulator's page stands in for.
    Recipe {
        name: Some("<device_login>"),
        ..post("device_approval", "/_emulator/device", r#"{"user_code":"<device_login.name>"}"#)
    }
    .given(),
    named(post(
        "sandbox",
        "/sandboxes",
        r#"{"name":"<given>","workspace_id":"<workspace>","project_id":"<project>"}"#,
    )),
    Recipe {
        count: 5,
        id: "/data/path",
        ..post(
            "file",
            "/sandboxes/<sandbox>/files",
            r#"{"path":"/workspace/<given>.txt","content":"aGVsbG8K"}"#,
        )
    },
    Recipe {
        id: "/data/0/key",
        ..put(
            "variable",
            "/sandboxes/<sandbox>/env",
            r#"{"vars":[{"key":"CONTRACT_MODE","value":"plain"}]}"#,
        )
    },
    Recipe {
        count: 5,
        ..post("snapshot", "/sandboxes/<sandbox>/snapshots", r#"{"comment":"<given>"}"#)
    },
    Recipe {
        id: "/data/name",
        ..post(
            "named_snapshot",
            "/named-snapshots",
            r#"{"name":"<given>","snapshot_id":"<snapshot>"}"#,
        )
    },
    post("preview", "/sandboxes/<sandbox>/previews", r#"{"port":3000}"#),
    Recipe {
        name: Some("/data/token"),
        ..post("preview_share", "/sandboxes/<sandbox>/previews/<preview>/share", "{}")
    }
    .given(),
    post("share", "/sandboxes/<sandbox>/shares", "{}"),
    Recipe {
        id: "/data/pid",
        name: Some("/data/id"),
        ..post(
            "command",
            "/sandboxes/<sandbox>/commands",
            r#"{"command":"cat","detached":true,"interactive":true}"#,
        )
    },
    Recipe {
        id: "/data/pid",
        name: Some("/data/id"),
        count: 2,
        ..post("process", "/sandboxes/<sandbox>/processes", r#"{"command":"cat"}"#)
    },
    Recipe {
        id: "/data/context",
        ..post(
            "code_context",
            "/sandboxes/<sandbox>/code/run",
            r#"{"code":"1","language":"python","context":"<given>"}"#,
        )
    },
    // Whoever listens there is the interpreter, which is there already.
    Recipe {
        id: "/data/result",
        ..post(
            "port",
            "/sandboxes/<sandbox>/code/run",
            r#"{"code":"import socket; held = socket.create_server((\"\", 3000)); 3000","language":"python","context":"<code_context>"}"#,
        )
    },
    Recipe {
        id: "/data/ticket",
        ..post(
            "exec_ticket",
            "/sandboxes/<sandbox>/exec/stream",
            r#"{"command":"echo hello","ticket":true}"#,
        )
    },
    Recipe {
        id: "/data/name",
        ..post(
            "service",
            "/sandboxes/<sandbox>/services",
            r#"{"name":"<given>","command":"sleep 600"}"#,
        )
    },
    Recipe {
        id: "/data/session_id",
        ..post("terminal", "/sandboxes/<sandbox>/terminal", r#"{"cols":80,"rows":24}"#)
    },
    // A connection that goes nowhere is told all the same.
    Recipe {
        id: "/data/0/id",
        found: Some("/egress/audit"),
        ..post(
            "egress_event",
            "/sandboxes/<sandbox>/exec",
            r#"{"command":"curl -s -m 5 https://contract.invalid/ || true","timeout":10}"#,
        )
    },
    Recipe {
        id: "/job_id",
        ..post("bulk_job", "/bulk/sandboxes/resume", r#"{"ids":["<sandbox>"]}"#)
    },
    post("batch", "/sandboxes/batch", r#"{"count":1,"name_prefix":"<given>"}"#),
];

impl Recipe {
    /// What the caller names has no id of its own.
    const fn given(self) -> Self {
        Self { id: "", ..self }
    }
}
