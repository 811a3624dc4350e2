//! Paths that climb.

use bytes::Bytes;
use http::Method;
use proptest::prelude::*;
use serde_json::json;

use super::spellings::{Reader, Writer, form, form_type, most_of};
use crate::Reply;
use crate::case::Sending;
use crate::fault::Fault;
use crate::room::way::{Ask, Way};
use crate::room::{Inside, Room, encode, shell};
use crate::session::Session;

/// A part of a path.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["..", "..", "..", ".", "", "up", "root", "x", "etc", "tmp", "..."])
}

/// What lies at the end, on this computer as well as in a sandbox.
fn end() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "etc/hostname",
        "etc/passwd",
        "etc/os-release",
        "etc/shadow",
        "root/.bashrc",
        "proc/self/environ",
        "proc/1/root/etc/hostname",
        "proc/version",
        "x",
    ])
}

pub(super) fn check(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let parts = prop_oneof![
        prop::collection::vec(part(), 0..9),
        // Straight up, to the root or one short of it.
        prop::collection::vec(Just(".."), 0..6),
    ];
    let ends = prop::collection::vec(end(), 1..4);
    let drawn = (parts, ends, any::<bool>(), most_of(&Reader::ALL), most_of(&Writer::ALL));
    session.forall(drawn, async |case, (parts, ends, relative, readers, writers)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        let folder = shell::quoted(&inside.folder);
        inside.shell(&format!("cd {folder} && ln -s / root && ln -s .. up && mkdir x")).await?;
        let from =
            if relative { inside.folder.replace("/workspace/", "") } else { inside.folder.clone() };
        for end in ends {
            let path = [vec![from.as_str()], parts.clone(), vec![end]].concat().join("/");
            for reader in &readers {
                read(&inside, *reader, &path).await?;
            }
        }
        // The token is the case's own: it can stand nowhere else by chance.
        let token = format!("mc-{}", encode(&inside.folder).replace('%', "-"));
        let target = [vec![from.as_str()], parts, vec![&token]].concat().join("/");
        for writer in writers {
            write(&inside, writer, &target, &token).await?;
        }
        carried(&inside, &target).await?;
        climbed(&inside, &token).await
    })
}

/// The path, worked out by its words.
fn worked_out(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { "/workspace" };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

async fn read(inside: &Inside, reader: Reader, path: &str) -> Result<(), Fault> {
    let reply = reader.request(inside, path).send().await?;
    if reply.status != 200 {
        return refused(&reply);
    }
    if reader == Reader::Export && reply.header("content-type") == Some("application/gzip") {
        // A directory, as an archive.
        return Ok(());
    }
    let got = reader.bytes(&reply)?;
    // The kernel's own changes between two looks, and is not for files.
    let words = worked_out(path);
    let kernel = ["/proc/", "/sys/", "/dev/"].iter().any(|root| words.starts_with(root));
    reply.holds(!kernel, format!("{path:?} refused: it is the kernel's"), reply.summary())?;
    let kept = by_shell(inside, &words).await?;
    let followed = by_shell(inside, path).await?;
    // Below `/files` a path has no first slash, whether it is relative or not.
    let rooted = by_shell(inside, &worked_out(&format!("/{path}"))).await?;
    let same = [&kept, &followed, &rooted].into_iter().flatten().any(|bytes| bytes[..] == got[..]);
    reply.holds(
        same,
        format!("{reader:?} of {path:?}: what a command in the sandbox sees there, or a refusal"),
        reply.summary(),
    )
}

/// What a command sees under this path.
async fn by_shell(inside: &Inside, path: &str) -> Result<Option<Vec<u8>>, Fault> {
    let line = format!("cd /workspace; cat -- {}", shell::quoted(path));
    let said = inside.run(Way::Exec, &Ask::line(line)).await?;
    Ok((said.exit == Some(0)).then_some(said.stdout))
}

fn refused(reply: &Reply) -> Result<(), Fault> {
    let expected = format!("an answer or a refusal from {}", reply.place());
    reply.holds((400..500).contains(&reply.status), expected, reply.summary())?;
    reply.refusal().map(drop)
}

async fn write(inside: &Inside, writer: Writer, path: &str, token: &str) -> Result<(), Fault> {
    let reply = writer.send(inside, path, token.as_bytes()).await?;
    let failed = reply.json()?["data"]["failed"].as_array().is_some_and(|it| !it.is_empty());
    if !(200..300).contains(&reply.status) {
        return refused(&reply);
    }
    if failed {
        return Ok(());
    }
    let words = worked_out(path);
    let (kept, followed) = (by_shell(inside, &words).await?, by_shell(inside, path).await?);
    let there =
        [&kept, &followed].into_iter().flatten().any(|bytes| bytes[..] == *token.as_bytes());
    reply.holds(
        there,
        format!("{writer:?} to {path:?}: there for a command in the sandbox, or refused"),
        "it went elsewhere",
    )?;
    inside
        .shell(&format!(
            "cd /workspace; rm -f -- {} {}",
            shell::quoted(&words),
            shell::quoted(path)
        ))
        .await?;
    Ok(())
}

/// Directories, copies and renames to a path that climbs.
async fn carried(inside: &Inside, path: &str) -> Result<(), Fault> {
    let from = inside.path("from");
    inside.put(&from, b"carried").await?;
    let body = json!({ "from": from, "to": path });
    for (route, body) in [
        ("/fs/copy", body.clone()),
        ("/files/copy", body.clone()),
        ("/files/rename", body),
        ("/fs/mkdir", json!({ "path": format!("{path}-dir") })),
    ] {
        let reply = inside.post(route, body.clone()).send().await?;
        if !(200..300).contains(&reply.status) {
            refused(&reply)?;
            continue;
        }
        let asked = body["to"].as_str().or_else(|| body["path"].as_str()).unwrap_or_default();
        let line = format!(
            "cd /workspace; [ -e {0} ] || [ -e {1} ]",
            shell::quoted(&worked_out(asked)),
            shell::quoted(asked)
        );
        let said = inside.run(Way::Exec, &Ask::line(line)).await?;
        said.holds(
            said.exit == Some(0),
            format!("{route} to {asked:?}: there for a command"),
            "it is not",
        )?;
    }
    Ok(())
}

/// Names in forms and archives that would leave the directory they are for.
async fn climbed(inside: &Inside, token: &str) -> Result<(), Fault> {
    let outside = format!("/workspace/{token}-out");
    let form =
        form(Some(&format!("{}/x/", inside.folder)), &format!("../../{token}-out"), b"x", true);
    let upload = inside.client.request(Method::POST, inside.at("/files/upload"));
    stays(inside, upload.bytes(&form_type(), form), &outside).await?;
    let into = encode(&inside.path("x"));
    let place = || inside.at(&format!("/files/archive?path={into}&format=tar"));
    for entries in [
        vec![(format!("../../{token}-out"), None)],
        vec![(outside.clone(), None)],
        vec![("link".to_owned(), Some("../..".to_owned())), (format!("link/{token}-out"), None)],
    ] {
        let archive = inside.client.request(Method::POST, place());
        stays(inside, archive.bytes("application/x-tar", tar(&entries)), &outside).await?;
    }
    Ok(())
}

async fn stays(inside: &Inside, sending: Sending, outside: &str) -> Result<(), Fault> {
    let reply = sending.send().await?;
    if !(200..300).contains(&reply.status) {
        refused(&reply)?;
    }
    let looked = inside.get_path("/files/stat", outside).send().await?;
    looked.holds(looked.status == 404, format!("nothing at {outside}"), looked.summary())
}

/// An archive of files with one letter, or of links.
fn tar(entries: &[(String, Option<String>)]) -> Bytes {
    let mut archive = Vec::new();
    for (name, link) in entries {
        let mut head = [0u8; 512];
        let mut set = |at: usize, text: &str| {
            for (byte, letter) in head.iter_mut().skip(at).zip(text.bytes()) {
                *byte = letter;
            }
        };
        set(0, name);
        set(100, "0000644\0");
        set(108, "0000000\0");
        set(116, "0000000\0");
        set(124, if link.is_some() { "00000000000\0" } else { "00000000001\0" });
        set(136, "00000000000\0");
        set(148, "        ");
        set(156, if link.is_some() { "2" } else { "0" });
        set(157, link.as_deref().unwrap_or_default());
        set(257, "ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        for (byte, letter) in head.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
            *byte = letter;
        }
        archive.extend_from_slice(&head);
        if link.is_none() {
            archive.extend_from_slice(&[b"x".as_slice(), &[0; 511]].concat());
        }
    }
    archive.extend_from_slice(&[0; 1024]);
    archive.into()
}
