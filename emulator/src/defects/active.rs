//! The one fault of this process. It is chosen before anything is served and never changes.

use std::sync::OnceLock;

use super::catalogue::{Defect, Place};

static ACTIVE: OnceLock<Defect> = OnceLock::new();

/// Chooses it. Only the first choice counts.
pub fn choose(defect: Defect) {
    let _ = ACTIVE.set(defect);
}

/// Whether it is this one.
#[inline]
pub fn is(defect: Defect) -> bool {
    ACTIVE.get() == Some(&defect)
}

/// It, if it is one of the layer.
pub fn layered() -> Option<Defect> {
    ACTIVE.get().copied().filter(|defect| defect.row().place == Place::Layer)
}
