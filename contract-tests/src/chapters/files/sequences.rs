//! Sequences of operations, compared with the model after each.

use std::collections::BTreeMap;

use serde_json::json;

use super::model::{Mix, NAMES, Node, Op, Tree, Verdict, judge, place, steps};
use super::names::counted;
use super::spellings::{Reader, entries};
use crate::Reply;
use crate::fault::Fault;
use crate::room::{Inside, Room, encode};
use crate::session::Session;

pub(super) fn moving(session: &Session) -> Result<(), Fault> {
    check(session, [2, 1, 6, 6, 1, 0])
}

pub(super) fn removing(session: &Session) -> Result<(), Fault> {
    check(session, [3, 1, 1, 0, 0, 6])
}

pub(super) fn making(session: &Session) -> Result<(), Fault> {
    check(session, [2, 6, 1, 0, 5, 1])
}

fn check(session: &Session, mix: Mix) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((0..NAMES.len(), steps(mix)), async |case, (names, steps)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        let names = NAMES.get(names).unwrap_or(&NAMES[0]);
        let mut tree = Tree::new();
        for (n, step) in steps.iter().enumerate() {
            let op = step.aim(&tree, names);
            let bytes = match op {
                Op::Write { size, .. } => counted(size, n as u8),
                _ => Vec::new(),
            };
            let verdict = judge(&tree, &op, names, &bytes);
            if matches!(verdict, Verdict::Unclear) {
                continue;
            }
            let reply = send(&inside, &op, step.fs, names, &bytes).await?;
            let done = (200..300).contains(&reply.status);
            let what = format!("{op:?}");
            match verdict {
                Verdict::Done(then) => {
                    reply.holds(done, format!("{what} is done"), reply.summary())?;
                    tree = then;
                }
                Verdict::Missing => drop(reply.refused(404)?),
                Verdict::Refused => {
                    let refused = (400..500).contains(&reply.status);
                    reply.holds(refused, format!("{what} is refused"), reply.summary())?;
                    reply.refusal()?;
                }
                Verdict::Either(then) if done => tree = then,
                Verdict::Either(_) => drop(reply.refusal()?),
                Verdict::Unclear => {}
            }
            compare(&inside, &tree, step.fs, &what).await?;
        }
        for (path, node) in &tree {
            if let Node::File(bytes, _) = node {
                Reader::FilesDownload.wants(&inside, &inside.path(path), bytes).await?;
            }
        }
        Ok(())
    })
}

async fn send(
    inside: &Inside,
    op: &Op,
    fs: bool,
    names: &[&str; 3],
    bytes: &[u8],
) -> Result<Reply, Fault> {
    let path = |at: usize| inside.path(&place(names, at));
    let route = |word: &str| format!("/{}/{word}", if fs { "fs" } else { "files" });
    let sending = match op {
        Op::Write { at, .. } => {
            let body = json!({ "path": path(*at), "content": crate::room::base64(bytes) });
            if fs {
                let body = json!({ "path": path(*at), "content_base64": body["content"] });
                inside.post("/fs/write", body)
            } else {
                inside.post("/files", body)
            }
        }
        Op::Mkdir { at, recursive, mode } => {
            let mut body = json!({ "path": path(*at), "recursive": recursive });
            if let Some(mode) = mode {
                body["mode"] = json!(format!("{mode:04o}"));
            }
            inside.post(&route("mkdir"), body)
        }
        Op::Rename { from, to } => {
            inside.post(&route("rename"), json!({ "from": path(*from), "to": path(*to) }))
        }
        Op::Copy { from, to, recursive } => {
            let mut body = json!({ "from": path(*from), "to": path(*to) });
            // False is what it is when nobody says anything.
            if *recursive {
                body["recursive"] = json!(true);
            }
            inside.post(&route("copy"), body)
        }
        Op::Chmod { at, mode } => {
            let body = json!({ "path": path(*at), "mode": format!("{mode:04o}") });
            inside.post(&route("chmod"), body)
        }
        // computesdk and miosa-elixir name it in the query, miosa-cli-go in the body.
        Op::Remove { at, recursive } if fs => inside.client.delete(format!(
            "{}?path={}&recursive={recursive}",
            inside.at("/fs"),
            encode(&path(*at))
        )),
        Op::Remove { at, recursive } => inside
            .client
            .delete(inside.at("/files"))
            .json(json!({ "path": path(*at), "recursive": recursive })),
    };
    sending.send().await
}

/// What is there is what the model says, no more and no less.
async fn compare(inside: &Inside, tree: &Tree, fs: bool, after: &str) -> Result<(), Fault> {
    let folder = encode(&inside.folder);
    let list = if fs { "/files/list" } else { "/files" };
    let reply = inside.get(&format!("{list}?path={folder}&depth=9")).send().await?.expect(200)?;
    let prefix = format!("{}/", inside.folder);
    let mut there = BTreeMap::new();
    for entry in entries(&reply)? {
        let path = entry["path"].as_str().unwrap_or_default();
        let Some(path) = path.strip_prefix(&prefix) else {
            return Err(reply.broken(format!("paths below {prefix}"), path));
        };
        there.insert(path.to_owned(), entry);
    }
    let expected: Vec<&String> = tree.keys().collect();
    let got: Vec<&String> = there.keys().collect();
    reply.holds(expected == got, format!("after {after}: {expected:?}"), format!("{got:?}"))?;
    for (path, node) in tree {
        let entry = &there[path];
        let mode = match node {
            Node::File(bytes, mode) => {
                reply.holds(
                    entry["is_dir"] == false && entry["size"] == bytes.len(),
                    format!("after {after}: {path:?} a file of {} bytes", bytes.len()),
                    entry.to_string(),
                )?;
                mode
            }
            Node::Dir(mode) => {
                let is = entry["is_dir"] == true;
                let expected = format!("after {after}: {path:?} a directory");
                reply.holds(is, expected, entry.to_string())?;
                mode
            }
        };
        if let (Some(mode), Some(shown)) = (mode, entry["mode"].as_str()) {
            let expected = format!("{mode:04o}");
            let what = format!("after {after}: {path:?} with mode {expected}");
            reply.holds(shown == expected, what, shown)?;
        }
    }
    Ok(())
}
