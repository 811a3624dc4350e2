//! What holds for every request, one rule a file.
//!
//! A request passes, outermost first: request id and journal → host and origin → auth → rate limit →
//! idempotency → the family's handler → envelope or error. This room knows no family: what it must ask of one
//! (who is this key) it declares as a trait.

pub mod answer;
pub mod auth;
pub mod body;
pub mod codes;
mod deeds;
pub mod error;
pub mod exchange;
pub mod host_check;
pub mod idempotency;
pub mod journal;
pub mod networks;
pub mod ownership;
pub mod pagination;
pub mod paths;
pub mod presented;
pub mod rate_limit;
pub mod request_id;
pub mod route;
pub mod scoped;
pub mod socket;
pub mod spool;
pub mod sse;
pub mod tickets;
pub mod validation;

pub use answer::Answer;
pub use auth::Caller;
pub use error::{ApiError, ApiResult};
pub use exchange::Exchange;
pub use pagination::Pages;
pub use route::Route;
pub use scoped::Scoped;
pub use spool::Spooled;
pub use validation::{Input, Nothing, Pairs, Params};
