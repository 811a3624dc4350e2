//! Who a credential is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;
