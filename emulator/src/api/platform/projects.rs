//! Projects: apps, sites, documents and workflows inside a workspace.

mod environment;
mod environment_routes;
mod moving;
mod record;
mod routes;
mod summary;
mod template;
mod template_routes;
mod variable;
mod variable_routes;

pub use environment::Environment;
pub use record::Project;
pub use routes::routes;
