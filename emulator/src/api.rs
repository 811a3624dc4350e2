//! The API, one folder a chapter of its reference, one file a family.

pub mod known_routes;
pub mod openapi;
