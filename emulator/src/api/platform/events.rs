//! What happened, as it happens and afterwards: streams of a resource and of an organization, and the outbox as a list.
//!
//! Everything is read from one ordered table (`store/outbox.rs`), so a stream that breaks off is resumed from the last id
//! seen, over a restart too. A reader is never waited for: it reads at its own pace, and what was removed meanwhile to make
//! room is told to it as `events.lost`.

pub mod feed;
pub mod frames;
mod outbox;
pub mod resource;
pub mod resume;
mod tenant;

use crate::http::Route;

/// The routes.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/sandboxes/{id}/events", resource::stream).scope("sandboxes:read").ticketed(),
        Route::get("/sandboxes/{id}/audit/stream", resource::egress)
            .scope("sandboxes:read")
            .ticketed(),
        Route::get("/events/stream", tenant::stream).scope("events:read").ticketed(),
        Route::get("/platform-events", outbox::list).scope("events:read"),
        Route::get("/platform-events/outbox", outbox::health).scope("events:read"),
    ]
    .into_iter()
    .map(|route| route.family("events"))
    .collect()
}
