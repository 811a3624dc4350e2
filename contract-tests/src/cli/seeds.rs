//! Seeds that broke a rule: kept in a file, run first the next time, dropped once the rule holds with them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::run::{Entry, Outcome};

/// At most this many a rule.
const KEPT: usize = 5;

/// Seeds by rule.
pub(super) type Seeds = BTreeMap<String, Vec<u64>>;

/// Reads the file; one that is not there holds none.
pub(super) fn read(path: &Path) -> Result<Seeds, String> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            format!("{}: {error}; remove it to begin without saved seeds", path.display())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Seeds::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// What is to be kept after a run.
pub(super) fn after(mut seeds: Seeds, entries: &[Entry]) -> Seeds {
    for entry in entries {
        match &entry.outcome {
            Outcome::Kept => drop(seeds.remove(entry.rule.id)),
            Outcome::Broken { .. } => {
                let kept = seeds.entry(entry.rule.id.to_owned()).or_default();
                kept.retain(|seed| *seed != entry.seed);
                kept.insert(0, entry.seed);
                kept.truncate(KEPT);
            }
            Outcome::Unable { .. } | Outcome::Skipped { .. } => {}
        }
    }
    seeds
}

/// Writes the file, or removes one that has become empty.
pub(super) fn write(path: &Path, seeds: &Seeds) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if seeds.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    let text = serde_json::to_string_pretty(seeds).map_err(|error| error.to_string())?;
    std::fs::write(path, text + "\n").map_err(failed)
}
