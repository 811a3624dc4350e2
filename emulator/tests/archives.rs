//! Archives in and out, exports and artifacts, through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::Reply;
use hosted::{Sandbox, start};
use http::Method;
use serde_json::{Value, json};
use tar::EntryType;

const OCTETS: &str = "application/octet-stream";

impl Sandbox {
    async fn unpack(&self, query: &str, content_type: &str, archive: Vec<u8>) -> Reply {
        let path = self.at(&format!("/files/archive{query}"));
        self.client.request(Method::POST, &path).bytes(content_type, archive).send().await
    }

    async fn get(&self, rest: &str) -> Reply {
        self.client.get(&self.at(rest)).await
    }

    async fn said(&self, command: &str) -> String {
        let done = self.exec(command).await;
        assert_eq!(done["exit_code"], 0, "{done}");
        done["stdout"].as_str().unwrap().trim_end().to_owned()
    }
}

/// An entry of a tar: its kind, name, target or content.
type Entry<'e> = (EntryType, &'e str, &'e str);

fn tarred(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (kind, name, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        // As it is, where the crate would refuse it.
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        let content = if *kind == EntryType::Regular { text.as_bytes() } else { b"" };
        if content.is_empty() {
            gnu.linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip; a target instead of content makes a link.
fn zipped(entries: &[(&str, &[u8], Option<&str>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, content, target) in entries {
        match target {
            Some(target) => archive.add_symlink(*name, *target, options).unwrap(),
            None => {
                archive.start_file(*name, options).unwrap();
                archive.write_all(content).unwrap();
            }
        }
    }
    archive.finish().unwrap().into_inner()
}

/// What a tar holds: content of files, targets of links as `-> target`, directories as `/`.
fn held(tar: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let what = match entry.header().entry_type() {
            EntryType::Directory => "/".to_owned(),
            EntryType::Symlink => {
                format!("-> {}", entry.link_name().unwrap().unwrap().display())
            }
            _ => {
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                content
            }
        };
        (name.trim_end_matches('/').to_owned(), what)
    });
    entries.collect()
}

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

const TREE: &str = "mkdir -p t/d/e t/empty; printf one > t/1; printf two > t/d/2; printf ü > t/d/e/ü; \
    ln -s d/2 t/link; chmod 750 t/1; mkfifo t/fifo; ln -s nowhere t/dangling";

#[tokio::test]
async fn a_directory_comes_out_and_goes_in_again_in_every_format() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.said(TREE).await;
    let look = "find . ! -type p -printf '%P %y %m %l\\n' | sort";
    let before = sandbox.said(&format!("cd t && {look}")).await;
    for (format, content_type) in
        [("tar", "application/x-tar"), ("tar.gz", "application/gzip"), ("zip", "application/zip")]
    {
        let reply = sandbox.get(&format!("/files/archive?path=t&format={format}")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, content_type));
        let named = format!("attachment; filename=\"t.{format}\"");
        assert_eq!(reply.header("content-disposition"), named);
        for (said, type_) in [
            (format!("&format={format}"), OCTETS),
            (String::new(), content_type),
            (String::new(), OCTETS),
        ] {
            let query = format!("?path=back/{format}{said}");
            let reply = sandbox.unpack(&query, type_, reply.body.to_vec()).await;
            let unpacked = reply.data(201);
            assert_eq!(unpacked["path"], format!("/workspace/back/{format}"));
            assert_eq!(
                (&unpacked["format"], &unpacked["files"], &unpacked["links"]),
                (&json!(format), &json!(3), &json!(2))
            );
            assert_eq!((&unpacked["directories"], &unpacked["size_bytes"]), (&json!(3), &json!(8)));
            assert_eq!(reply.json()["success"], true);
        }
        let after = sandbox.said(&format!("cd back/{format} && {look}")).await;
        assert_eq!(after, before, "{format}");
    }
    let whole = sandbox.get("/files/archive?path=t").await;
    let held = held(&gunzipped(&whole.body));
    assert_eq!(held["d/e/ü"], "ü");
    assert_eq!((held["link"].as_str(), held["empty"].as_str()), ("-> d/2", "/"));
    assert!(!held.contains_key("fifo"), "{held:?}");
    sandbox.get("/files/archive?path=t/no").await.refused(404, "file_not_found");
    sandbox.get("/files/archive?path=/proc").await.refused(403, "FORBIDDEN_PATH");
    sandbox.get("/files/archive?path=t/fifo").await.refused(403, "FORBIDDEN_PATH");
    sandbox.get("/files/archive?format=rar").await.refused(400, "INVALID_PARAMETER");
}

/// What the workspace and its neighbourhood hold, to see that nothing has changed.
async fn everything(sandbox: &Sandbox) -> String {
    sandbox.said("find /workspace . | sort; ls -la /etc | sort; ls /tmp | sort").await
}

#[tokio::test]
async fn an_archive_that_climbs_or_leads_out_is_refused_and_changes_nothing() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("kept", "old").await;
    let good = (EntryType::Regular, "kept", "new");
    let before = everything(&sandbox).await;
    for bad in [
        vec![(EntryType::Regular, "../climbed", "x")],
        vec![(EntryType::Regular, "a/../../climbed", "x")],
        vec![(EntryType::Regular, "/tmp/absolute", "x")],
        vec![(EntryType::Directory, "../climbed", "")],
        vec![(EntryType::Symlink, "out", "/etc")],
        vec![(EntryType::Symlink, "out", "../..")],
        vec![(EntryType::Symlink, "in", "."), (EntryType::Regular, "in/x", "x")],
        vec![(EntryType::Link, "hard", "/etc/passwd")],
        vec![(EntryType::Link, "hard", "../../etc/passwd")],
        vec![(EntryType::Char, "null", "")],
        vec![(EntryType::Block, "disk", "")],
        vec![(EntryType::Fifo, "pipe", "")],
    ] {
        let entries: Vec<_> = [good].into_iter().chain(bad.clone()).collect();
        for archive in [tarred(&entries), gzipped(&tarred(&entries))] {
            let refusal = sandbox.unpack("?path=into", OCTETS, archive).await;
            refusal.refused(403, "FORBIDDEN_PATH");
        }
    }
    for bad in [
        ("../climbed", b"x".as_slice(), None),
        ("/tmp/absolute", b"x", None),
        ("..\\climbed", b"x", None),
        ("out", b"", Some("/etc")),
        ("d/out", b"", Some("../../x")),
    ] {
        let archive = zipped(&[("kept", b"new", None), bad]);
        let refusal = sandbox.unpack("?path=into", OCTETS, archive).await;
        refusal.refused(403, "FORBIDDEN_PATH");
    }
    assert_eq!(everything(&sandbox).await, before);
    assert_eq!(sandbox.read("kept").await.unwrap(), "old");
    let archive = tarred(&[good]);
    sandbox.unpack("?path=/proc/x", OCTETS, archive).await.refused(403, "FORBIDDEN_PATH");
}

#[tokio::test]
async fn a_link_that_lies_in_the_way_leads_nowhere() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.said("mkdir into outside; ln -s ../outside into/d; ln -s ../outside/f into/f").await;
    let through = tarred(&[(EntryType::Regular, "d/x", "x")]);
    sandbox.unpack("?path=into", OCTETS, through).await.refused(403, "FORBIDDEN_PATH");
    assert_eq!(sandbox.said("ls outside").await, "");
    // A link in the place of a file is replaced, not followed.
    let over = tarred(&[(EntryType::Regular, "f", "new")]);
    sandbox.unpack("?path=into", OCTETS, over).await.data(201);
    assert_eq!(sandbox.said("ls outside; readlink into/f || cat into/f").await, "new");
}

#[tokio::test]
async fn an_archive_that_is_cut_off_or_none_changes_nothing() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let tar = tarred(&[(EntryType::Regular, "a", "aaa"), (EntryType::Regular, "b", "bbb")]);
    let zip = zipped(&[("a", b"aaa", None), ("b", b"bbb", None)]);
    for whole in [tar.clone(), gzipped(&tar), zip] {
        for length in [0, 10, whole.len() / 2, whole.len() - 1100.min(whole.len() / 3)] {
            let refusal = sandbox.unpack("", OCTETS, whole[..length].to_vec()).await;
            refusal.refused(400, "INVALID_ARCHIVE");
        }
    }
    let mut broken = gzipped(&tar);
    let last = broken.len() - 6;
    broken[last] ^= 1;
    sandbox.unpack("", OCTETS, broken).await.refused(400, "INVALID_ARCHIVE");
    sandbox.unpack("?format=zip", OCTETS, tar.clone()).await.refused(400, "INVALID_ARCHIVE");
    sandbox.unpack("", "text/plain", b"hello".to_vec()).await.refused(400, "INVALID_ARCHIVE");
    sandbox
        .unpack("", "multipart/form-data; boundary=x", tar.clone())
        .await
        .refused(400, "BAD_REQUEST");
    sandbox.unpack("?format=rar", OCTETS, tar).await.refused(400, "INVALID_PARAMETER");
    assert_eq!(sandbox.said("find . -mindepth 1").await, "");
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_goes_off() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let zeros = vec![0; 20 * 1024 * 1024];
    let mut bomb = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(zeros.len() as u64);
    header.set_mode(0o644);
    bomb.append_data(&mut header, "zeros", zeros.as_slice()).unwrap();
    let bomb = bomb.into_inner().unwrap().finish().unwrap();
    sandbox.unpack("", OCTETS, bomb).await.refused(413, "ARCHIVE_TOO_LARGE");
    sandbox
        .unpack("", OCTETS, zipped(&[("zeros", &zeros, None)]))
        .await
        .refused(413, "ARCHIVE_TOO_LARGE");
    let names: Vec<String> = (0..50_001).map(|n| n.to_string()).collect();
    let many: Vec<Entry> = names.iter().map(|n| (EntryType::Regular, n.as_str(), "")).collect();
    let many = gzipped(&tarred(&many));
    sandbox.unpack("", OCTETS, many).await.refused(413, "ARCHIVE_TOO_LARGE");
    assert_eq!(sandbox.said("find . -mindepth 1").await, "");
}

#[tokio::test]
async fn an_archive_with_a_key_is_unpacked_once() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let unpack = async |text: &str| {
        let archive = tarred(&[(EntryType::Regular, "a", text)]);
        let request = sandbox.client.request(Method::POST, &sandbox.at("/files/archive"));
        request.header("idempotency-key", "u1").bytes(OCTETS, archive).send().await
    };
    let first = unpack("first").await;
    first.data(201);
    sandbox.write("a", "second").await;
    let again = unpack("first").await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(sandbox.read("a").await.unwrap(), "second");
    unpack("other").await.refused(409, "IDEMPOTENCY_PAYLOAD_MISMATCH");
}

#[tokio::test]
async fn a_large_archive_comes_back_whole() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.said("head -c 20000000 /dev/urandom > big; seq 1 3000 | xargs -I{} touch n{}").await;
    let sum = sandbox.said("sha256sum < big").await;
    let archive = sandbox.get("/files/archive").await;
    assert_eq!(archive.status, 200);
    let unpacked = sandbox.unpack("?path=/tmp/back", "", archive.body.to_vec()).await.data(201);
    assert_eq!(unpacked["files"], 3001);
    assert_eq!(sandbox.said("sha256sum < /tmp/back/big; rm -r /tmp/back").await, sum);
}

impl Sandbox {
    async fn export(&self, body: Value) -> Reply {
        self.client.post(&self.at("/exports"), body).await
    }

    /// What a URL of an answer brings.
    async fn at_url(&self, url: &Value) -> Reply {
        let url = url.as_str().unwrap();
        assert!(url.starts_with("/api/v1/sandboxes/"), "{url}");
        self.client.get(url).await
    }
}

#[tokio::test]
async fn one_file_is_exported_as_it_is() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("out/a&b.json", "{\"a\": 1}").await;
    let body = json!({ "path": "out/a&b.json", "label": "the result" });
    let reply = sandbox.export(body).await;
    let export = reply.data(201);
    assert_eq!((&export["status"], &export["label"]), (&json!("ready"), &json!("the result")));
    assert_eq!(export["sandbox_id"], sandbox.id);
    let file = &export["files"][0];
    assert_eq!(
        (&file["path"], &file["filename"], &file["size_bytes"]),
        (&json!("/workspace/out/a&b.json"), &json!("a&b.json"), &json!(8))
    );
    let bytes = sandbox.at_url(&file["download_url"]).await;
    assert_eq!((bytes.status, &bytes.body[..]), (200, &b"{\"a\": 1}"[..]));
    assert_eq!(bytes.header("content-type"), OCTETS);
    assert!(bytes.header("content-disposition").contains("filename*=UTF-8''a%26b.json"));
    let archive = sandbox.at_url(&export["archive_download_url"]).await;
    assert_eq!(held(&gunzipped(&archive.body))["a&b.json"], "{\"a\": 1}");
    let path = sandbox.at("/exports/download?path=out/a%26b.json&filename=x.bin");
    let request = sandbox.client.request(Method::GET, &path).header("range", "bytes=1-3");
    let part = request.send().await;
    assert_eq!((part.status, &part.body[..]), (206, &b"\"a\""[..]));
    assert_eq!(part.header("content-disposition"), "attachment; filename=\"x.bin\"");
}

#[tokio::test]
async fn several_paths_are_exported_as_an_archive() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.said("mkdir -p out/d; printf 1 > out/d/one; printf 2 > two; printf 3 > out/three; printf t > /tmp/t-$$; mv /tmp/t-* /tmp/tt").await;
    let paths = json!(["out/d", "two", "out/three", "/workspace/out/d/one"]);
    let export = sandbox.export(json!({ "paths": paths })).await.data(201);
    assert_eq!(export["files"].as_array().unwrap().len(), 3);
    assert_eq!(export["files"][0]["type"], "directory");
    let expected = [("out/d", "/"), ("out/d/one", "1"), ("out/three", "3"), ("two", "2")];
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    let archive = sandbox.at_url(&export["archive_download_url"]).await;
    assert_eq!(archive.header("content-type"), "application/gzip");
    assert_eq!(archive.header("content-disposition"), "attachment; filename=\"export.tar.gz\"");
    assert_eq!(held(&gunzipped(&archive.body)), expected);
    let one = sandbox.at_url(&export["files"][0]["download_url"]).await;
    assert_eq!(held(&gunzipped(&one.body)).keys().collect::<Vec<_>>(), ["one"]);
    let several = "/exports/download?paths[]=out/d&paths[]=two&paths[]=out/three";
    let tar = sandbox.get(&format!("{several}&filename=all.tar")).await;
    assert_eq!(tar.header("content-type"), "application/x-tar");
    assert_eq!(held(&tar.body), expected);
    let zip = sandbox.get(&format!("{several}&filename=all.zip")).await;
    let zip = zip::ZipArchive::new(Cursor::new(zip.body)).unwrap();
    assert_eq!(zip.len(), 4);
    let far = sandbox.get("/exports/download?paths[]=two&paths[]=/tmp/tt").await;
    let far = held(&gunzipped(&far.body));
    assert_eq!(far.keys().collect::<Vec<_>>(), ["tmp/tt", "workspace/two"]);
    sandbox.said("rm /tmp/tt").await;
}

#[tokio::test]
async fn an_export_of_nothing_is_refused() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("a", "").await;
    sandbox.export(json!({ "path": "no" })).await.refused(404, "file_not_found");
    sandbox.export(json!({ "paths": ["a", "no"] })).await.refused(404, "file_not_found");
    sandbox.export(json!({ "path": "/proc/1/environ" })).await.refused(403, "FORBIDDEN_PATH");
    sandbox.export(json!({})).await.refused(400, "INVALID_PATH");
    for wrong in [
        json!({ "paths": [] }),
        json!({ "paths": ["a"], "path": "a" }),
        json!({ "path": "a", "filename": ".." }),
        json!({ "path": "a", "label": "x".repeat(201) }),
        json!({ "paths": vec!["a"; 101] }),
    ] {
        sandbox.export(wrong).await.refused(422, "VALIDATION_FAILED");
    }
    sandbox.get("/exports/download").await.refused(400, "INVALID_PARAMETER");
    sandbox.get("/exports/download?path=a&filename=..").await.refused(400, "INVALID_PARAMETER");
    sandbox.get("/exports/download?path=no").await.refused(404, "file_not_found");
    sandbox.get("/exports/download?paths[]=a&paths[]=no").await.refused(404, "file_not_found");
}

#[tokio::test]
async fn artifacts_are_what_was_exported_and_nothing_is_invented() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("a", "1").await;
    let none = sandbox.get("/artifacts").await;
    let nothing = json!({ "declared": [], "files": [], "exports": [] });
    assert_eq!(none.data(200)["artifacts"], nothing);
    assert_eq!((&none.json()["artifacts"], &none.json()["preview"]), (&nothing, &json!({})));
    let first = sandbox.export(json!({ "path": "a" })).await.data(201);
    let second = sandbox.export(json!({ "path": "a", "label": "again" })).await.data(201);
    let artifacts = sandbox.get("/artifacts").await.data(200)["artifacts"].clone();
    assert_eq!(artifacts["exports"], json!([second, first]));
    assert_eq!(artifacts["files"].as_array().unwrap().len(), 2);
    let preview = sandbox.client.post(&sandbox.at("/expose"), json!({ "port": 8123 })).await;
    assert!(preview.status < 300, "{preview:?}");
    let url = sandbox.get("/artifacts").await.data(200)["preview"]["url"].clone();
    assert!(url.as_str().unwrap().starts_with("http://"), "{url}");
    let other = emulator.client("msk_test_somebodyelse");
    other.get(&sandbox.at("/artifacts")).await.refused(404, "sandbox_not_found");
    other
        .post(&sandbox.at("/exports"), json!({ "path": "a" }))
        .await
        .refused(404, "sandbox_not_found");
}
