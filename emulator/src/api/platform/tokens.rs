//! Short-lived tokens for one end user in one workspace (`POST /tokens/scoped`: miosa-python 2.19, miosa-cli-go).

mod record;
mod routes;

pub use record::ScopedToken;
pub use routes::routes;
