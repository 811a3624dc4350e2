//! In which order one world serves all operations.

use http::Method;
use miosa_openapi::check::Operation;

const READS: u32 = 0;
const CHANGES: u32 = 1_000;
/// From here on something ends that others may need.
pub(super) const ENDS: u32 = 2_000;
const STOPS: u32 = 3_000;

/// Operations that end something although they are no DELETE, and those that end what much else lies in.
const LATE: &[(&str, u32)] = &[
    ("killCommand", ENDS),
    ("cancelSandboxBatch", ENDS),
    ("deleteSnapshots", ENDS + 100),
    ("setEgressMode", STOPS - 20),
    ("restoreSnapshot", STOPS - 10),
    ("cleanUpWorkspace", STOPS - 5),
    ("pauseSandbox", STOPS),
    ("resumeSandbox", STOPS + 1),
    ("bulkPauseSandboxes", STOPS + 2),
    ("bulkResumeSandboxes", STOPS + 3),
    ("stopSandbox", STOPS + 10),
    ("deleteSandbox", STOPS + 20),
    ("bulkDestroySandboxes", STOPS + 30),
    ("deleteProject", STOPS + 40),
    ("deleteWorkspace", STOPS + 50),
];

/// Where an operation stands: the smaller, the sooner.
pub(super) fn place(operation: &Operation) -> u32 {
    if let Some((_, place)) = LATE.iter().find(|(id, _)| *id == operation.id()) {
        return *place;
    }
    let depth = operation.path().split('/').count() as u32;
    match *operation.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => READS,
        // What lies within another thing ends before it.
        Method::DELETE => ENDS + 500 - depth,
        _ => CHANGES,
    }
}

/// The operations that the table names.
#[cfg(test)]
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    LATE.iter().map(|(id, _)| *id)
}
