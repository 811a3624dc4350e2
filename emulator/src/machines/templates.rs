//! The built-in templates, in one table: what a machine's files start from and which tools it promises.

/// A built-in template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Canonical id, as the API names it.
    pub id: &'static str,
    /// Other names that clients send for it.
    pub aliases: &'static [&'static str],
    /// Display name.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// `general`, `backend`, `frontend`, `data` or `testing`.
    pub category: &'static str,
    /// Programs that must be in `PATH` inside; a host that lacks one calls the template missing.
    pub tools: &'static [&'static str],
    /// Docker image; `--template-image ID=IMAGE` replaces it.
    pub image: &'static str,
    /// Where its dev server usually listens.
    pub preview_port: Option<u16>,
}

/// The image that the emulator builds itself when a template has no other.
pub const DEFAULT_IMAGE: &str = "miosa-emulator/sandbox:1";

/// The default template (`api-reference`, overview: `"template": "miosa-sandbox"`).
pub const DEFAULT_TEMPLATE: &str = "miosa-sandbox";

/// Every built-in template, the default one first.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        id: DEFAULT_TEMPLATE,
        aliases: &["miosa-sandbox-prod-1", "debian-12-sandbox-v8", "default"],
        name: "MIOSA sandbox",
        description: "Debian with Python, Node.js, Git and curl",
        category: "general",
        tools: &["bash", "python3", "node", "git", "curl"],
        image: DEFAULT_IMAGE,
        preview_port: None,
    },
    BuiltIn {
        id: "blank",
        aliases: &[],
        name: "Blank",
        description: "A shell and the basic tools, nothing else promised",
        category: "general",
        tools: &["bash"],
        image: DEFAULT_IMAGE,
        preview_port: None,
    },
    BuiltIn {
        id: "python",
        aliases: &["python-3.12", "python-3.11"],
        name: "Python",
        description: "Python 3 of the base image",
        category: "backend",
        tools: &["bash", "python3"],
        image: DEFAULT_IMAGE,
        preview_port: Some(8000),
    },
    BuiltIn {
        id: "node",
        aliases: &["node-22", "node-20", "react-vite", "vite-react", "nextjs", "static"],
        name: "Node.js",
        description: "Node.js and npm of the base image",
        category: "frontend",
        tools: &["bash", "node", "npm"],
        image: DEFAULT_IMAGE,
        preview_port: Some(3000),
    },
];

/// The template that `id` or one of its aliases names.
pub fn find(id: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|t| t.id == id || t.aliases.contains(&id))
}
