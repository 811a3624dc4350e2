//! Where sandboxes may connect to (`security/network`): policies, rules of hosts, and the audit of every connection.
//!
//! A policy is of one sandbox or of all; each sandbox has one of its own from the start, under its own id, which watches and
//! lets everything through (`audit_only`). Of those that apply, a sandbox's own come before the organization's, and one
//! that is enforced before one that is not. A rule that denies counts before one that allows, and what no rule names is as the
//! policy's `default_effect` says.
//!
//! Enforced where connections pass the emulator: by the proxy of namespace machines, which are without any other way
//! out. Containers of Docker connect by themselves; their records say `enforced: false`, and why.

mod allowlist;
mod audit;
pub mod gate;
mod lists;
mod live;
mod pattern;
mod policies;
mod policy;
mod rule;
mod suggestions;

use uuid::Uuid;

pub use pattern::Host;
pub use policy::{Effect, Policy};
pub use rule::Rule;

use crate::http::{ApiResult, Route};
use crate::store::Tx;

/// The routes.
pub fn routes() -> Vec<Route> {
    let (read, write) = ("egress:read", "egress:write");
    [
        Route::get("/egress/policies", policies::list).scope(read),
        Route::post("/egress/policies", policies::create).scope(write).repeatable(),
        Route::patch("/egress/policies", policies::set_mode).scope(write).repeatable(),
        Route::patch("/egress/policies/{id}", policies::update).scope(write).repeatable(),
        Route::get("/egress/allowlist", allowlist::list).scope(read),
        Route::post("/egress/allowlist", allowlist::create).scope(write).repeatable(),
        Route::delete("/egress/allowlist/{id}", allowlist::delete).scope(write).repeatable(),
        Route::get("/egress/audit", audit::list).scope(read),
        Route::get("/egress/audit/suggestions", suggestions::list).scope(read),
        Route::get("/egress/audit/resource/{id}", live::follow).scope(read).ticketed(),
        Route::get("/egress/audit/{id}", audit::get).scope(read),
    ]
    .into_iter()
    .map(|route| route.family("egress"))
    .collect()
}

/// Removes the policies and rules of a sandbox that is gone.
///
/// # Errors
/// When the store fails.
pub fn forget(tx: &Tx<'_>, org: Uuid, sandbox: Uuid) -> ApiResult<()> {
    tx.remove_children::<Policy>(org, sandbox)?;
    tx.remove_children::<Rule>(org, sandbox)?;
    Ok(())
}
