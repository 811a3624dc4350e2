//! Project templates: what a project can be furnished with.
//!
//! A template writes shared variables, made-up secrets among them, and brings services. Services are not emulated, so a
//! template that needs some is listed as what cannot be had, and refused whole: half of it would be a wrong answer.

use serde_json::{Value, json};

use super::environment::Environment;
use super::variable::Variable;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult, codes};

/// What becomes of a variable when a template is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// This value.
    Value(&'static str),
    /// A secret that is made up.
    Secret,
}

/// A template.
#[derive(Debug)]
pub(super) struct Template {
    slug: &'static str,
    name: &'static str,
    description: &'static str,
    variables: &'static [(&'static str, Source)],
    /// Services that it would bring, with their kind.
    services: &'static [(&'static str, &'static str)],
}

/// The catalogue: two that can be applied here, and two that clients know by name (miosa-python 2.19).
const TEMPLATES: &[Template] = &[
    Template {
        slug: "web-secrets",
        name: "Web secrets",
        description: "The secrets that a web application signs and encrypts with, made up for each environment.",
        variables: &[
            ("SECRET_KEY", Source::Secret),
            ("SESSION_SECRET", Source::Secret),
            ("ENCRYPTION_KEY", Source::Secret),
        ],
        services: &[],
    },
    Template {
        slug: "node-production",
        name: "Node in production",
        description: "What Node.js programs look at when they run for real.",
        variables: &[
            ("NODE_ENV", Source::Value("production")),
            ("PORT", Source::Value("3000")),
            ("SESSION_SECRET", Source::Secret),
        ],
        services: &[],
    },
    Template {
        slug: "nextjs-postgres",
        name: "Next.js with Postgres",
        description: "A web service and its database.",
        variables: &[],
        services: &[("web", "server"), ("postgres", "database")],
    },
    Template {
        slug: "redis",
        name: "Redis",
        description: "A cache.",
        variables: &[],
        services: &[("redis", "database")],
    },
];

/// Every template as clients read it.
pub(super) fn all() -> Vec<Value> {
    TEMPLATES.iter().map(Template::show).collect()
}

impl Template {
    /// The template with this slug.
    ///
    /// # Errors
    /// 404.
    pub(super) fn find(slug: &str) -> ApiResult<&'static Self> {
        TEMPLATES
            .iter()
            .find(|template| template.slug == slug)
            .ok_or_else(|| ApiError::not_found("template", slug))
    }

    pub(super) fn show(&self) -> Value {
        let variables: Vec<Value> = self
            .variables
            .iter()
            .map(|(name, source)| json!({ "name": name, "generated": *source == Source::Secret }))
            .collect();
        let services: Vec<Value> = self
            .services
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind }))
            .collect();
        json!({
            "id": self.slug,
            "slug": self.slug,
            "name": self.name,
            "description": self.description,
            "variables": variables,
            "services": services,
            "available": self.services.is_empty(),
            "unavailable_reason":
                (!self.services.is_empty()).then_some("its services are not emulated"),
        })
    }

    /// Writes its variables into an environment; what is set there already stays. Answers what it has added.
    ///
    /// # Errors
    /// 501 for a template that needs services.
    pub(super) fn apply(
        &self,
        environment: &mut Environment,
        now: Timestamp,
    ) -> ApiResult<Vec<&'static str>> {
        if !self.services.is_empty() {
            let names: Vec<_> = self.services.iter().map(|(name, _)| *name).collect();
            return Err(ApiError::new(
                codes::not_emulated,
                format!(
                    "Template {} brings services ({}), which are not emulated. Nothing was applied.",
                    self.slug,
                    names.join(", ")
                ),
            ));
        }
        let mut added = Vec::new();
        for (name, source) in self.variables {
            if environment.variables.contains_key(*name) {
                continue;
            }
            let variable = match source {
                Source::Value(value) => Variable::given((*value).to_owned(), now),
                Source::Secret => Variable::generated(now)?,
            };
            environment.variables.insert((*name).to_owned(), variable);
            added.push(*name);
        }
        environment.updated_at = now;
        Ok(added)
    }
}
