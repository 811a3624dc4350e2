//! Names and labels: how the emulator knows its own things on an engine that others use too.
//!
//! The owner is the id of a data directory. It is in every label, and its hash in every name, since ids of
//! machines may repeat between data directories (`--seed`).

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The data directory's id: on containers, snapshots and derived images.
pub const OWNER: &str = "ai.miosa.emulator.owner";
/// The machine's id: on containers.
pub const MACHINE: &str = "ai.miosa.emulator.machine";
/// The operation that made the machine: on containers. A restore keeps it, the machine is the same.
pub const OPERATION: &str = "ai.miosa.emulator.operation";
/// How often the machine was restored: on containers. A torn restore leaves two; the lower one is the machine.
pub const GENERATION: &str = "ai.miosa.emulator.generation";
/// The agent's secret: on containers. Who may read an engine's labels may do everything else on it as well.
pub const SECRET: &str = "ai.miosa.emulator.secret";
/// Names of the variables that the machine's own environment set, as JSON: on containers.
pub const VARIABLES: &str = "ai.miosa.emulator.variables";
/// The snapshot's id: on snapshot images.
pub const SNAPSHOT: &str = "ai.miosa.emulator.snapshot";
/// The hash of the agent inside: on derived images.
pub const AGENT: &str = "ai.miosa.emulator.agent";
/// The id of the image that the agent was put into: on derived images.
pub const BASE: &str = "ai.miosa.emulator.base";
/// Programs of the templates that were found in it, separated by commas: on derived images.
pub const TOOLS: &str = "ai.miosa.emulator.tools";
/// On a container that is never started and only looked into.
pub const PROBE: &str = "ai.miosa.emulator.probe";

/// Repository of images with an agent.
pub const AGENT_REPOSITORY: &str = "miosa-emulator/agent";
/// Repository of snapshots.
pub const SNAPSHOT_REPOSITORY: &str = "miosa-emulator/snapshot";
/// Repository of removed snapshots that machines still stand on.
pub const KEPT_REPOSITORY: &str = "miosa-emulator/kept";

/// The first `digits` hex digits of the SHA-256 of the parts.
pub fn hash(parts: &[&[u8]], digits: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut text = hex(&hasher.finalize());
    text.truncate(digits);
    text
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The owner as part of a name.
fn short(owner: &str) -> String {
    hash(&[owner.as_bytes()], 8)
}

/// The name of a machine's container: readable, and unique by operation and generation.
pub fn container_name(owner: &str, machine: Uuid, operation: Uuid, generation: u64) -> String {
    let machine = machine.simple().to_string();
    let machine = machine.get(..8).unwrap_or_default();
    format!("miosa-{}-{machine}-{operation}-{generation}", short(owner))
}

/// The tag of a snapshot, the same in both repositories.
pub fn snapshot_tag(owner: &str, snapshot: Uuid) -> String {
    format!("{}-{snapshot}", short(owner))
}

/// The image of a snapshot.
pub fn snapshot_image(owner: &str, snapshot: Uuid) -> String {
    format!("{SNAPSHOT_REPOSITORY}:{}", snapshot_tag(owner, snapshot))
}

/// A filter on labels as the engine's list calls take it.
pub fn filter(labels: &[(&str, Option<&str>)]) -> std::collections::HashMap<String, Vec<String>> {
    let labels = labels
        .iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => (*key).to_owned(),
        })
        .collect();
    std::collections::HashMap::from([("label".to_owned(), labels)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_owner_even_for_the_same_ids() {
        let (machine, operation) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let a = container_name("a", machine, operation, 0);
        let b = container_name("b", machine, operation, 0);
        assert_ne!(a, b);
        assert_ne!(snapshot_image("a", machine), snapshot_image("b", machine));
        assert!(a.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    }

    #[test]
    fn a_hash_knows_where_its_parts_end() {
        assert_ne!(hash(&[b"ab", b"c"], 16), hash(&[b"a", b"bc"], 16));
        assert_eq!(hash(&[b"ab"], 16).len(), 16);
    }
}
