//! A file in the words of every client: `size` and `size_bytes`, `is_dir` and `type`, `mode` and `permissions`.

use miosa_agent::protocol::{self, EntryKind};
use serde::Deserialize as _;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::defects::defect;

/// A file or directory.
pub fn show(entry: &protocol::Entry) -> Value {
    let size = defect!(SizeInBlocks, entry.size.div_ceil(512) * 512, entry.size);
    json!({
        "name": entry.name,
        "path": entry.path,
        "type": match entry.kind {
            EntryKind::File => "file",
            EntryKind::Dir => "directory",
            EntryKind::Symlink => "symlink",
            EntryKind::Other => "other",
        },
        "is_dir": entry.kind == EntryKind::Dir,
        "is_symlink": entry.kind == EntryKind::Symlink,
        "symlink_target": entry.symlink_target,
        "size": size,
        "size_bytes": size,
        "mode": format!("{:04o}", entry.mode),
        "permissions": permissions(entry.mode),
        "modified_at": Timestamp(entry.modified_at_ms),
    })
}

/// A directory as a tree. `type` has its own words here: `dir` and `file` (miosa-go 2.0, miosa-python 2.19).
pub fn show_tree(tree: &protocol::Tree) -> Value {
    let entry = &tree.entry;
    let mut node = Map::new();
    let mut add = |name: &str, value: Value| node.insert(name.to_owned(), value);
    add("path", entry.path.as_str().into());
    add("name", entry.name.as_str().into());
    add("type", if entry.kind == EntryKind::Dir { "dir" } else { "file" }.into());
    add("size", entry.size.into());
    add("modified_at", json!(Timestamp(entry.modified_at_ms)));
    if entry.kind == EntryKind::Symlink {
        add("is_symlink", true.into());
    }
    if tree.truncated {
        add("truncated", true.into());
    }
    if let Some(children) = &tree.children {
        add("children", children.iter().map(show_tree).collect());
    }
    Value::Object(node)
}

/// What was written.
pub fn show_written(path: &str, bytes: u64) -> Value {
    json!({ "path": path, "size": bytes, "size_bytes": bytes })
}

/// `rwxr-xr-x`.
fn permissions(mode: u32) -> String {
    [(0o400, 'r'), (0o200, 'w'), (0o100, 'x')]
        .iter()
        .cycle()
        .take(9)
        .zip([0, 0, 0, 3, 3, 3, 6, 6, 6])
        .map(|((bit, letter), shift)| if mode & (bit >> shift) == 0 { '-' } else { *letter })
        .collect()
}

/// Permission bits as clients write them: octal digits in a string (`"0755"`).
pub fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| !digits.starts_with('+') && digits.len() >= 3 && *mode <= 0o7777)
        .map(Some)
        .ok_or_else(|| D::Error::custom("expected octal permission bits such as \"0755\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_everything_in_both_words() {
        let entry = protocol::Entry {
            name: "a".into(),
            path: "/workspace/a".into(),
            size: 3,
            kind: EntryKind::Dir,
            mode: 0o750,
            modified_at_ms: 1_779_012_000_000,
            symlink_target: None,
        };
        let shown = show(&entry);
        assert_eq!((&shown["mode"], &shown["permissions"]), (&json!("0750"), &json!("rwxr-x---")));
        assert_eq!((&shown["type"], &shown["is_dir"]), (&json!("directory"), &json!(true)));
        assert_eq!((&shown["size"], &shown["size_bytes"]), (&json!(3), &json!(3)));
        assert_eq!(shown["modified_at"], "2026-05-17T10:00:00Z");
    }

    #[test]
    fn a_mode_is_octal_digits() {
        let json = |value: Value| mode(value).ok().flatten();
        assert_eq!(json(json!("0755")), Some(0o755));
        assert_eq!(json(json!("644")), Some(0o644));
        assert_eq!(json(json!("0o600")), Some(0o600));
        for bad in
            [json!("9"), json!("0888"), json!("7"), json!(755), json!("77777"), json!("+755")]
        {
            assert_eq!(json(bad.clone()), None, "{bad}");
        }
    }
}
