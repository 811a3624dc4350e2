//! The request of each step.

use serde_json::{Value, json};

use super::{Drive, Kind};
use crate::case::{Reply, Sending};
use crate::fault::Fault;
use crate::model::key::{self, Scope};
use crate::model::{Place, Step, World, preview, project, sandbox, snapshot, workspace};

/// The one that an answer must show, when the step asks for what is there already.
pub fn same(before: &World, step: &Step) -> Option<Place> {
    match step {
        Step::Workspace(_, workspace::Act::Make { external, .. }) => {
            before.workspace_labelled((*external)?)
        }
        Step::Project(_, project::Act::Make { workspace, external, .. }) => {
            before.project_labelled(*workspace, (*external)?)
        }
        Step::Preview(_, preview::Act::Open { sandbox, port, .. }) => {
            before.preview_of(*sandbox, *port).map(|(at, _)| at)
        }
        _ => None,
    }
}

/// The file that sandboxes write.
const FILE: &str = "/workspace/mark";

/// The scopes as they are written.
pub fn scopes(scope: Scope) -> Value {
    match scope {
        Scope::All => json!([]),
        Scope::Places => json!(["projects:read"]),
        Scope::Sandboxes => json!(["sandboxes:read"]),
    }
}

/// A port that nothing listens on.
pub fn port(port: u8) -> u16 {
    4100 + u16::from(port)
}

impl Drive {
    pub(super) async fn send(&self, before: &World, step: &Step) -> Result<Reply, Fault> {
        let sending = match step.clone() {
            Step::Workspace(at, act) => self.workspace(at, act),
            Step::Project(at, act) => self.project(at, act),
            Step::Key(at, act) => self.key(at, act),
            Step::Sandbox(at, act) => self.sandbox(at, act),
            Step::Snapshot(at, act) => self.snapshot(before, at, act),
            Step::Preview(at, act) => self.preview(at, act),
        };
        sending.send().await
    }

    fn workspace(&self, at: Place, act: workspace::Act) -> Sending {
        use workspace::Act;
        let path = format!("/workspaces/{}", self.id(Kind::Workspace, at));
        match act {
            Act::Make { name, slug, external, again } => {
                let mut body = json!({
                    "name": self.text("name", name),
                    "slug": self.text("slug", slug),
                });
                if external.is_some() {
                    body["external_workspace_id"] = self.maybe("label", external);
                }
                if again {
                    body["allow_duplicate_name"] = json!(true);
                }
                self.client.post("/workspaces", body)
            }
            Act::Read => self.client.get(path),
            Act::Rename(name) => {
                self.client.patch(path, json!({ "name": self.text("name", name) }))
            }
            Act::Reslug(slug) => {
                self.client.patch(path, json!({ "slug": self.text("slug", slug) }))
            }
            Act::Describe(words) => {
                self.client.patch(path, json!({ "description": self.maybe("words", words) }))
            }
            Act::Label(label) => self
                .client
                .patch(path, json!({ "external_workspace_id": self.maybe("label", label) })),
            Act::Remove { dry_run: true } => self.client.delete(format!("{path}?dry_run=true")),
            Act::Remove { dry_run: false } => self.client.delete(path),
        }
    }

    fn project(&self, at: Place, act: project::Act) -> Sending {
        use project::Act;
        let path = format!("/projects/{}", self.id(Kind::Project, at));
        match act {
            Act::Make { workspace, name, slug, external } => {
                let mut body = json!({
                    "workspace_id": self.id(Kind::Workspace, workspace),
                    "name": self.text("name", name),
                    "slug": self.text("slug", slug),
                });
                if external.is_some() {
                    body["external_project_id"] = self.maybe("label", external);
                }
                self.client.post("/projects", body)
            }
            Act::Read => self.client.get(path),
            Act::Rename(name) => {
                self.client.patch(path, json!({ "name": self.text("name", name) }))
            }
            Act::Reslug(slug) => {
                self.client.patch(path, json!({ "slug": self.text("slug", slug) }))
            }
            Act::Describe(words) => {
                self.client.patch(path, json!({ "description": self.maybe("words", words) }))
            }
            Act::Label(label) => self
                .client
                .patch(path, json!({ "external_project_id": self.maybe("label", label) })),
            Act::Move { to } => {
                let to = json!({ "target_workspace_id": self.id(Kind::Workspace, to) });
                self.client.post(format!("{path}/move"), to)
            }
            Act::Remove => self.client.delete(path),
        }
    }

    fn key(&self, at: Place, act: key::Act) -> Sending {
        use key::Act;
        let path = format!("/api-keys/{}", self.id(Kind::Key, at));
        let secret = |back: usize| {
            let secrets = self.secrets.get(&at).map(Vec::as_slice).unwrap_or_default();
            let secret = secrets.iter().rev().nth(back).map(String::as_str).unwrap_or_default();
            self.client.as_key(secret).get("/workspaces?page_size=100")
        };
        match act {
            Act::Make { workspace, scope } => {
                let mut body = json!({ "name": self.text("name", 0) });
                if let Some(workspace) = workspace {
                    body["workspace_id"] = json!(self.id(Kind::Workspace, workspace));
                }
                if scope != Scope::All {
                    body["scopes"] = scopes(scope);
                }
                self.client.post("/api-keys", body)
            }
            Act::Read => self.client.get(path),
            Act::Use => secret(0),
            Act::UseOld => secret(1),
            Act::Rename(name) => {
                self.client.patch(path, json!({ "name": self.text("name", name) }))
            }
            Act::Rescope(scope) => self.client.patch(path, json!({ "scopes": scopes(scope) })),
            Act::Switch { active } => {
                let status = if active { "active" } else { "inactive" };
                self.client.patch(path, json!({ "status": status }))
            }
            Act::Rotate => self.client.post(format!("{path}/rotate"), json!({})),
            Act::Remove => self.client.delete(path),
        }
    }

    fn sandbox(&self, at: Place, act: sandbox::Act) -> Sending {
        use sandbox::Act;
        let path = format!("/sandboxes/{}", self.id(Kind::Sandbox, at));
        let to = |action: &str| self.client.post(format!("{path}/{action}"), json!({}));
        let exec = |command: String| {
            self.client.post(format!("{path}/exec"), json!({ "command": command }))
        };
        match act {
            Act::Make { workspace, project, name, persistent } => {
                let mut body = json!({ "name": self.text("name", name), "persistent": persistent });
                if let Some(workspace) = workspace {
                    body["workspace_id"] = json!(self.id(Kind::Workspace, workspace));
                }
                if let Some(project) = project {
                    body["project_id"] = json!(self.id(Kind::Project, project));
                }
                self.client.post("/sandboxes", body)
            }
            Act::Fork { of } => {
                let path = format!("/sandboxes/{}/fork", self.id(Kind::Sandbox, of));
                self.client.post(path, json!({}))
            }
            Act::ForkSnapshot { of } => {
                let path = format!("/snapshots/{}/fork", self.id(Kind::Snapshot, of));
                self.client.post(path, json!({}))
            }
            Act::Read => self.client.get(path),
            Act::Pause => to("pause"),
            Act::Stop => to("stop"),
            Act::Resume => to("resume"),
            Act::Extend => to("extend"),
            Act::Look => exec(format!("cat {FILE} 2>/dev/null || echo 0")),
            Act::Write(value) => exec(format!("echo {value} > {FILE}")),
            Act::Rename(name) => {
                self.client.patch(path, json!({ "name": self.text("name", name) }))
            }
            Act::Remove => self.client.delete(path),
        }
    }

    fn snapshot(&self, before: &World, at: Place, act: snapshot::Act) -> Sending {
        use snapshot::Act;
        let id = self.id(Kind::Snapshot, at);
        let snapshot = before.snapshots.get(at);
        match act {
            Act::Take { of } => {
                let path = format!("/sandboxes/{}/snapshots", self.id(Kind::Sandbox, of));
                self.client.post(path, json!({}))
            }
            Act::Read => self.client.get(format!("/snapshots/{id}")),
            Act::Restore => {
                let of = self.id(Kind::Sandbox, snapshot.map_or(0, |snapshot| snapshot.of));
                self.client.post(format!("/sandboxes/{of}/restore/{id}"), json!({}))
            }
            Act::Name(name) => {
                let body = json!({ "name": self.text("name", name), "snapshot_id": id });
                self.client.post("/named-snapshots", body)
            }
            Act::Unname => {
                let name = snapshot.and_then(|snapshot| snapshot.name).unwrap_or_default();
                self.client.delete(format!("/named-snapshots/{}", self.text("name", name)))
            }
            Act::Remove => self.client.delete(format!("/snapshots/{id}")),
        }
    }

    fn preview(&self, at: Place, act: preview::Act) -> Sending {
        use preview::Act;
        match act {
            Act::Open { sandbox, port: number, private } => {
                let path = format!("/sandboxes/{}/previews", self.id(Kind::Sandbox, sandbox));
                let visibility = if private { "private" } else { "public" };
                let body = json!({ "port": port(number), "visibility": visibility });
                self.client.post(path, body)
            }
            Act::Read => self.client.get(self.preview_path(at)),
            Act::Close => self.client.delete(self.preview_path(at)),
        }
    }

    /// The path that the preview had when it was opened.
    pub(super) fn preview_path(&self, at: Place) -> String {
        let id = self.id(Kind::Preview, at);
        let of = self.owners.get(&at).copied().unwrap_or_default();
        format!("/sandboxes/{}/previews/{id}", self.id(Kind::Sandbox, of))
    }
}
