//! Whole directories in and out.

use http::Method;
use proptest::prelude::*;
use serde_json::json;

use super::names::{counted, name};
use super::spellings::most_of;
use crate::Reply;
use crate::fault::Fault;
use crate::room::{Inside, Room, base64, encode, shell};
use crate::session::Session;

/// A way out, and the format that comes.
#[derive(Debug, Clone, Copy)]
enum Out {
    /// `GET /files/archive` in this format.
    Archive(&'static str),
    /// `GET /exports/download` of the directory.
    Export,
}

const OUTS: [Out; 5] = [
    Out::Archive("tar"),
    Out::Archive("tar.gz"),
    Out::Archive("tgz"),
    Out::Archive("zip"),
    Out::Export,
];

impl Out {
    fn format(self) -> &'static str {
        match self {
            Self::Archive(format) => format,
            Self::Export => "tar.gz",
        }
    }

    fn mime(self) -> &'static str {
        match self.format() {
            "tar" => "application/x-tar",
            "zip" => "application/zip",
            _ => "application/gzip",
        }
    }

    async fn download(self, inside: &Inside, path: &str) -> Result<Reply, Fault> {
        let path = encode(path);
        let sending = match self {
            Self::Archive(format) => {
                inside.get(&format!("/files/archive?path={path}&format={format}"))
            }
            Self::Export => inside.get(&format!("/exports/download?path={path}")),
        };
        let reply = sending.send().await?.expect(200)?;
        let typed = reply.header("content-type") == Some(self.mime());
        let got = format!("{:?}", reply.header("content-type"));
        reply.holds(typed, format!("{self:?} typed {}", self.mime()), got)?;
        Ok(reply)
    }
}

pub(super) fn check(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let sizes =
        prop_oneof![3 => 0usize..600, 1 => prop::sample::select(vec![511usize, 512, 513, 70_000])];
    // A backslash parts directories for some who unpack a zip: a server may refuse it there.
    let name = name().prop_filter("a backslash", |name| !name.contains('\\'));
    let files = prop::collection::btree_map(name, sizes, 0..5);
    let drawn = (files, any::<bool>(), any::<bool>(), most_of(&OUTS), any::<prop::sample::Index>());
    session.forall(drawn, async |case, (files, empty, link, outs, cut)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        let root = inside.path("in");
        inside
            .post("/files/mkdir", json!({ "path": root, "mode": "0755" }))
            .send()
            .await?
            .needs(201)?;
        let written: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(n, (name, size))| {
                let below = if n % 2 == 0 { "" } else { "deep/er/" };
                let content = base64(&counted(*size, n as u8));
                json!({ "path": format!("{root}/{below}{name}"), "content_base64": content })
            })
            .collect();
        if !written.is_empty() {
            inside
                .post("/files/write-many", json!({ "files": written }))
                .send()
                .await?
                .needs(200)?;
        }
        let mut line = format!(
            "cd {} && printf x > .hidden && find . -type f -size +1 -exec chmod 755 {{}} +",
            shell::quoted(&root)
        );
        if empty {
            line += " && mkdir -m 700 nothing";
        }
        if link {
            line += " && ln -s nowhere link";
        }
        inside.shell(&line).await?;
        let expected = fingerprint(&inside, &root).await?;
        for (n, out) in outs.into_iter().enumerate() {
            let archive = out.download(&inside, &root).await?;
            let to = inside.path(&format!("out-{n}"));
            let place = format!(
                "{}?path={}&format={}",
                inside.at("/files/archive"),
                encode(&to),
                out.format()
            );
            let post = |bytes: bytes::Bytes| {
                inside.client.request(Method::POST, place.clone()).bytes(out.mime(), bytes).send()
            };
            // A block of zeros ends a tar: one that is cut behind it is whole.
            let zeros = archive.body.iter().rev().take_while(|byte| **byte == 0).count();
            let end =
                if out.format() == "tar" { archive.body.len() - zeros } else { archive.body.len() };
            let short = archive.body.slice(..cut.index(end.max(2) - 1).min(end * 2 / 3));
            // Nor is it told from a whole one when it is cut between two entries.
            let between = out.format() == "tar" && short.len().is_multiple_of(512);
            if n == 0 && end > 1 && !between {
                refused(&inside, &post(short).await?, &to).await?;
            }
            post(archive.body.clone()).await?.expect(201)?;
            let got = fingerprint(&inside, &to).await?;
            archive.holds(got == expected, format!("{out:?}: {expected}"), got)?;
            // The sandbox's own program reads it, too: both ends could be wrong in the same way.
            if out.format() != "zip" {
                let by = inside.path(&format!("by-{n}"));
                inside.put(&inside.path("archive"), &archive.body).await?;
                let z = if out.format() == "tar" { "" } else { "z" };
                let line = format!(
                    "mkdir -p {0} && tar x{z}pf {1} -C {0}",
                    shell::quoted(&by),
                    shell::quoted(&inside.path("archive"))
                );
                inside.shell(&line).await?;
                let got = fingerprint(&inside, &by).await?;
                archive.holds(got == expected, format!("{out:?}, by tar: {expected}"), got)?;
            }
        }
        Ok(())
    })
}

/// What a directory holds: kinds, modes, names, links, and the bytes.
async fn fingerprint(inside: &Inside, root: &str) -> Result<String, Fault> {
    let line = format!(
        "cd {} && find . -mindepth 1 -printf '%y %m %P %l\\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r cat | cksum",
        shell::quoted(root)
    );
    inside.shell(&line).await
}

/// One that is cut off changes nothing.
async fn refused(inside: &Inside, reply: &Reply, to: &str) -> Result<(), Fault> {
    let expected = "400 for an archive that is cut off";
    reply.holds((400..500).contains(&reply.status), expected, reply.summary())?;
    reply.refusal()?;
    let looked = inside.get_path("/files/stat", to).send().await?;
    looked.holds(looked.status == 404, "nothing of an archive that was refused", looked.summary())
}
