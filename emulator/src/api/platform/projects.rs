//! Projects: apps, sites, documents and workflows inside a workspace.

mod record;
mod routes;

pub use record::Project;
pub use routes::routes;
