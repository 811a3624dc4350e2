//! What is there: one entry, a directory, a tree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::names::name;
use super::spellings::entries;
use crate::Reply;
use crate::fault::Fault;
use crate::room::{Inside, Room, encode, shell};
use crate::session::Session;

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File(usize),
    Dir,
    Link,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => prop_oneof![Just(0), Just(1), Just(4096), 0usize..70_000].prop_map(Kind::File),
        1 => Just(Kind::Dir),
        1 => Just(Kind::Link),
    ]
}

pub(super) fn stat(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let mode = prop::sample::select(vec![0o644u32, 0o600, 0o755, 0o777, 0o640, 0o711, 0o666]);
    session.forall((name(), kind(), mode), async |case, (name, kind, mode)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        let path = inside.path(&name);
        let file = shell::quoted(&path);
        let line = match kind {
            Kind::File(size) => format!("head -c {size} /dev/zero > {file}; chmod {mode:o} {file}"),
            Kind::Dir => format!("mkdir {file}; chmod {mode:o} {file}"),
            Kind::Link => format!("ln -s ./there {file}"),
        };
        inside.shell(&line).await?;
        let asked = [
            inside.get_path("/fs/stat", &path),
            inside.get_path("/files/stat", &path),
            inside.post("/fs/stat", json!({ "path": path })),
            inside.post("/files/stat", json!({ "path": path })),
        ];
        for sending in asked {
            let reply = sending.send().await?.expect(200)?;
            told(&reply, &reply.data()?, &name, &path, kind, mode)?;
        }
        for list in ["/fs", "/files", "/files/list"] {
            let reply = inside.get_path(list, &inside.folder).send().await?.expect(200)?;
            let entries = entries(&reply)?;
            let Some(entry) = entries.iter().find(|entry| entry["path"] == path.as_str()) else {
                return Err(reply.broken(format!("an entry with path {path:?}"), reply.summary()));
            };
            told(&reply, entry, &name, &path, kind, mode)?;
        }
        Ok(())
    })
}

fn told(
    reply: &Reply,
    entry: &Value,
    name: &str,
    path: &str,
    kind: Kind,
    mode: u32,
) -> Result<(), Fault> {
    let holds = |field: &str, expected: Value| {
        let got = &entry[field];
        let what = format!("{field} {expected} of {path:?}, a {kind:?}");
        reply.holds(*got == expected, what, got.to_string())
    };
    holds("name", json!(name))?;
    holds("path", json!(path))?;
    holds("is_dir", json!(kind == Kind::Dir))?;
    if let Kind::File(size) = kind {
        holds("size", json!(size))?;
        holds("size_bytes", json!(size))?;
    }
    if kind == Kind::Link {
        holds("is_symlink", json!(true))?;
        return holds("symlink_target", json!("./there"));
    }
    holds("type", json!(if kind == Kind::Dir { "directory" } else { "file" }))?;
    holds("mode", json!(format!("{mode:04o}")))
}

pub(super) fn list(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let drawn = (
        prop::collection::btree_map(name(), prop::option::weighted(0.7, 0usize..50), 0..8),
        // Beyond what a server might take for one page.
        prop_oneof![6 => Just(0usize), 1 => 101usize..130, 1 => 500usize..600],
        prop::option::of(name()),
    );
    session.forall(drawn, async |case, (named, many, later)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        let mut there: BTreeMap<String, Option<usize>> = BTreeMap::new();
        let mut files = Vec::new();
        for (name, size) in &named {
            match size {
                Some(size) => {
                    let content = crate::room::base64(&vec![b'x'; *size]);
                    files.push(json!({ "path": inside.path(name), "content_base64": content }));
                }
                None => {
                    let body = json!({ "path": inside.path(name) });
                    inside.post("/files/mkdir", body).send().await?.needs(201)?;
                    let file = inside.path(&format!("{name}/below"));
                    files.push(json!({ "path": file, "content_base64": "" }));
                    there.insert(format!("{name}/below"), Some(0));
                }
            }
            there.insert(name.clone(), *size);
        }
        if !files.is_empty() {
            let body = json!({ "files": files });
            inside.post("/files/write-many", body).send().await?.needs(200)?;
        }
        if many > 0 {
            let folder = shell::quoted(&inside.folder);
            let line = format!(
                "cd {folder} && i=0; while [ $i -lt {many} ]; do : > many-$i; i=$((i+1)); done"
            );
            inside.shell(&line).await?;
            there.extend((0..many).map(|n| (format!("many-{n}"), Some(0))));
        }
        lists(&inside, &there).await?;
        let Some(later) = later else { return Ok(()) };
        // What commands change is seen at once.
        let path = shell::quoted(&inside.path(&later));
        inside.shell(&format!("rm -rf {path} && printf new > {path}")).await?;
        there.retain(|path, _| !path.starts_with(&format!("{later}/")));
        there.insert(later, Some(3));
        lists(&inside, &there).await
    })
}

async fn lists(inside: &Inside, there: &BTreeMap<String, Option<usize>>) -> Result<(), Fault> {
    let folder = encode(&inside.folder);
    for (list, depth) in
        [("/fs", 1), ("/files", 1), ("/files/list", 1), ("/files", 2), ("/files/list", 2)]
    {
        let deep = if depth == 1 { String::new() } else { format!("&depth={depth}") };
        let reply = inside.get(&format!("{list}?path={folder}{deep}")).send().await?.expect(200)?;
        let mut got = BTreeMap::new();
        for entry in entries(&reply)? {
            let size = (entry["is_dir"] == false).then(|| entry["size"].as_u64());
            let path = entry["path"].as_str().unwrap_or_default().to_owned();
            got.insert(path, size.map(|size| size.unwrap_or_default() as usize));
        }
        same(inside, &reply, there, depth, &got)?;
    }
    let reply =
        inside.get(&format!("/files/tree?path={folder}&depth=3")).send().await?.expect(200)?;
    let mut got = BTreeMap::new();
    grow(&reply.data()?, &mut got);
    got.remove(&inside.folder);
    same(inside, &reply, there, 3, &got)
}

/// The nodes of a tree.
fn grow(node: &Value, into: &mut BTreeMap<String, Option<usize>>) {
    let size = (node["type"] != "dir").then(|| node["size"].as_u64().unwrap_or_default() as usize);
    into.insert(node["path"].as_str().unwrap_or_default().to_owned(), size);
    for child in node["children"].as_array().into_iter().flatten() {
        grow(child, into);
    }
}

fn same(
    inside: &Inside,
    reply: &Reply,
    there: &BTreeMap<String, Option<usize>>,
    depth: usize,
    got: &BTreeMap<String, Option<usize>>,
) -> Result<(), Fault> {
    let expected: BTreeMap<String, Option<usize>> = there
        .iter()
        .filter(|(path, _)| path.matches('/').count() < depth)
        .map(|(path, size)| (inside.path(path), *size))
        .collect();
    if *got == expected {
        return Ok(());
    }
    let lacks: Vec<_> = expected.iter().filter(|it| got.get(it.0) != Some(it.1)).take(5).collect();
    let more: Vec<_> = got.iter().filter(|it| expected.get(it.0) != Some(it.1)).take(5).collect();
    Err(reply.broken(
        format!("{} entries in {}, {lacks:?} among them", expected.len(), reply.place()),
        format!("{} entries, {more:?} among them", got.len()),
    ))
}
