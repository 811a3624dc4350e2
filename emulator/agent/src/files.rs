//! What can be done to files besides reading and writing their bytes.
//!
//! Every step goes through a descriptor that was judged (`paths`), with the last name never followed unless the
//! operation says so. Runs where it may wait for the disk.

mod change;
mod copy;
pub mod entry;
pub mod pack;
pub mod unpack;
mod walk;
pub mod watch;

use miosa_agent::protocol::{Failure, FileOp};
use serde_json::{Value, json};

use crate::answer::invalid;
use crate::paths::Workspace;

pub fn run(workspace: &Workspace, op: FileOp) -> Result<Value, Failure> {
    match op {
        FileOp::Stat { path } => value(entry::stat(&workspace.place(&path)?)?),
        FileOp::List { path, depth } => {
            value(walk::list(&workspace.place(&path)?, bounded(depth)?)?)
        }
        FileOp::Tree { path, depth } => {
            value(walk::tree(&workspace.place(&path)?, bounded(depth)?)?)
        }
        FileOp::Mkdir { path, recursive, mode } => {
            value(change::mkdir(&workspace.place(&path)?, recursive, mode)?)
        }
        FileOp::Remove { path, recursive } => {
            change::remove(&workspace.place(&path)?, recursive)?;
            Ok(json!({}))
        }
        FileOp::Rename { from, to } => {
            value(change::rename(&workspace.place(&from)?, &workspace.place(&to)?)?)
        }
        FileOp::Copy { from, to, recursive } => {
            value(copy::copy(&workspace.place(&from)?, &workspace.place(&to)?, recursive)?)
        }
        FileOp::Chmod { path, mode } => value(change::chmod(&workspace.place(&path)?, mode)?),
    }
}

fn value(answer: impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(invalid)
}

fn bounded(depth: u32) -> Result<u32, Failure> {
    if (1..=20).contains(&depth) { Ok(depth) } else { Err(invalid("depth must be 1 to 20")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use miosa_agent::protocol::FailureCode;

    use super::*;

    fn room() -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::new(dir.path().to_path_buf());
        (dir, workspace)
    }

    fn op(workspace: &Workspace, op: Value) -> Result<Value, FailureCode> {
        run(workspace, serde_json::from_value(op).unwrap()).map_err(|failure| failure.code)
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_listing_is_by_name_and_each_directory_comes_before_its_own() {
        let (dir, w) = room();
        std::fs::create_dir_all(dir.path().join("b/c")).unwrap();
        for file in ["z", "a", "b/1", "b/c/2"] {
            std::fs::write(dir.path().join(file), "x").unwrap();
        }
        let paths = |depth: u32| {
            let listing = op(&w, json!({"op": "list", "path": ".", "depth": depth})).unwrap();
            assert_eq!(listing["truncated"], false);
            listing["entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["path"].as_str().unwrap().replace("/workspace/", ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(1), ["a", "b", "z"]);
        assert_eq!(paths(3), ["a", "b", "b/1", "b/c", "b/c/2", "z"]);
        let tree = op(&w, json!({"op": "tree", "path": "b", "depth": 1})).unwrap();
        assert_eq!(tree["children"][1]["name"], "c");
        assert_eq!(tree["children"][1].get("children"), None);
        let refused = op(&w, json!({"op": "list", "path": "a", "depth": 1}));
        assert_eq!(refused, Err(FailureCode::NotDirectory));
    }

    #[test]
    fn a_listing_does_not_go_below_a_forbidden_directory() {
        let (dir, w) = room();
        symlink("/proc", dir.path().join("p")).unwrap();
        let listing = op(&w, json!({"op": "list", "path": "/", "depth": 2})).unwrap();
        let below = |e: &Value| e["path"].as_str().unwrap().starts_with("/proc/");
        assert!(!listing["entries"].as_array().unwrap().iter().any(below));
        let refused = op(&w, json!({"op": "list", "path": "p", "depth": 1}));
        assert_eq!(refused, Err(FailureCode::ForbiddenPath));
    }

    #[test]
    fn mkdir_makes_parents_only_when_asked() {
        let (dir, w) = room();
        let deep = json!({"op": "mkdir", "path": "x/y", "recursive": false});
        assert_eq!(op(&w, deep), Err(FailureCode::NotFound));
        let deep = json!({"op": "mkdir", "path": "x/y", "recursive": true, "mode": 0o700});
        assert_eq!(op(&w, deep.clone()).unwrap()["path"], "/workspace/x/y");
        assert_eq!(mode(&dir.path().join("x/y")), 0o700);
        assert!(op(&w, deep).is_ok());
        let again = json!({"op": "mkdir", "path": "x/y", "recursive": false});
        assert_eq!(op(&w, again), Err(FailureCode::Exists));
    }

    #[test]
    fn removing_spares_what_a_link_points_to() {
        let (dir, w) = room();
        std::fs::create_dir_all(dir.path().join("d/sub")).unwrap();
        std::fs::write(dir.path().join("kept"), "x").unwrap();
        symlink("../kept", dir.path().join("d/link")).unwrap();
        symlink("..", dir.path().join("d/up")).unwrap();
        let plain = json!({"op": "remove", "path": "d", "recursive": false});
        assert_eq!(op(&w, plain), Err(FailureCode::NotEmpty));
        op(&w, json!({"op": "remove", "path": "d", "recursive": true})).unwrap();
        assert!(!dir.path().join("d").exists());
        assert!(dir.path().join("kept").exists());
        let gone = json!({"op": "remove", "path": "d", "recursive": true});
        assert_eq!(op(&w, gone), Err(FailureCode::NotFound));
        let root = json!({"op": "remove", "path": "/", "recursive": true});
        assert_eq!(op(&w, root), Err(FailureCode::ForbiddenPath));
    }

    #[test]
    fn a_rename_makes_the_parents_of_its_destination() {
        let (dir, w) = room();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        let moved = op(&w, json!({"op": "rename", "from": "a", "to": "n/m/b"})).unwrap();
        assert_eq!(moved["path"], "/workspace/n/m/b");
        assert!(!dir.path().join("a").exists());
        let gone = op(&w, json!({"op": "rename", "from": "a", "to": "c"}));
        assert_eq!(gone, Err(FailureCode::NotFound));
    }

    #[test]
    fn a_copy_keeps_modes_and_links_and_does_not_enter_itself() {
        let (dir, w) = room();
        std::fs::create_dir_all(dir.path().join("d/s")).unwrap();
        std::fs::write(dir.path().join("d/s/run"), "x").unwrap();
        std::fs::set_permissions(
            dir.path().join("d/s/run"),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        symlink("s/run", dir.path().join("d/link")).unwrap();
        let plain = json!({"op": "copy", "from": "d", "to": "e", "recursive": false});
        assert_eq!(op(&w, plain), Err(FailureCode::IsDirectory));
        op(&w, json!({"op": "copy", "from": "d", "to": "e/f", "recursive": true})).unwrap();
        assert_eq!(mode(&dir.path().join("e/f/s/run")), 0o755);
        assert_eq!(std::fs::read_link(dir.path().join("e/f/link")).unwrap(), Path::new("s/run"));
        let inside = json!({"op": "copy", "from": "d", "to": "d/s/t", "recursive": true});
        assert_eq!(op(&w, inside), Err(FailureCode::InvalidPath));
        assert!(!dir.path().join("d/s/t").exists());
    }

    #[test]
    fn stat_tells_of_the_link_and_chmod_of_its_target() {
        let (dir, w) = room();
        std::fs::write(dir.path().join("a"), "xyz").unwrap();
        symlink("a", dir.path().join("l")).unwrap();
        let link = op(&w, json!({"op": "stat", "path": "l"})).unwrap();
        assert_eq!(
            (link["kind"].as_str(), link["symlink_target"].as_str()),
            (Some("symlink"), Some("a"))
        );
        op(&w, json!({"op": "chmod", "path": "l", "mode": 0o600})).unwrap();
        assert_eq!(mode(&dir.path().join("a")), 0o600);
        let root = op(&w, json!({"op": "stat", "path": "/"})).unwrap();
        assert_eq!((root["kind"].as_str(), root["size"].as_u64()), (Some("dir"), Some(0)));
    }
}
