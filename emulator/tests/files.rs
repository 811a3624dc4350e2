//! Files through real HTTP, on every surface that clients use.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::Reply;
use hosted::{Sandbox, start};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

impl Sandbox {
    async fn post(&self, rest: &str, body: Value) -> Reply {
        self.client.post(&self.at(rest), body).await
    }

    async fn get(&self, rest: &str) -> Reply {
        self.client.get(&self.at(rest)).await
    }
}

#[tokio::test]
async fn every_surface_writes_and_reads_the_same_tree() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let content = "{\"é\": 1}\n";
    for (n, (route, body)) in [
        ("/fs/write", json!({ "content": content })),
        ("/fs/write", json!({ "content_base64": base64(content) })),
        ("/fs/write", json!({ "content": base64(content), "encoding": "base64" })),
        ("/files", json!({ "content": base64(content) })),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/workspace/deep/{n}/a.json");
        let mut body = body;
        body["path"] = path.clone().into();
        let reply = sandbox.post(route, body).await;
        let written = reply.data(201);
        assert_eq!(
            (&written["path"], &written["size_bytes"]),
            (&json!(path), &json!(content.len()))
        );
        assert_eq!((&reply.json()["ok"], &reply.json()["success"]), (&json!(true), &json!(true)));
        let encoded = path[1..].replace('/', "%2F");
        for read in [
            format!("/fs/download?path={path}"),
            format!("/files/download?path={path}"),
            format!("/files{path}"),
            format!("/files/{encoded}"),
            // As a client sends it that was told a relative path.
            format!("/files/deep/{n}/a.json"),
        ] {
            let reply = sandbox.get(&read).await;
            assert_eq!((reply.status, &reply.body[..]), (200, content.as_bytes()), "{read}");
            assert_eq!(reply.header("content-type"), "application/octet-stream");
            assert_eq!(reply.header("content-length"), content.len().to_string());
        }
        for read in ["/fs/read", "/files/read"] {
            let reply = sandbox.get(&format!("{read}?path={path}")).await;
            assert_eq!(reply.data(200)["content"], content);
            assert_eq!(reply.json()["content"], content);
        }
        let shown = sandbox.exec(&format!("cat deep/{n}/a.json")).await;
        assert_eq!(shown["stdout"], content);
    }
}

#[tokio::test]
async fn the_client_that_sends_base64_as_text_is_understood() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let old = sandbox.client.clone().with("user-agent", "miosa-python/2.10.0");
    let body = json!({ "path": "a", "content": base64("hello") });
    old.post(&sandbox.at("/fs/write"), body).await.data(201);
    assert_eq!(sandbox.read("a").await.unwrap(), "hello");
}

#[tokio::test]
async fn what_is_not_there_is_404_everywhere() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for read in [
        "/fs/download?path=no",
        "/files/download?path=no",
        "/files/workspace/no",
        "/fs/read?path=no",
        "/files/read?path=no",
        "/fs?path=no",
        "/files?path=no",
        "/files/tree?path=no",
    ] {
        sandbox.get(read).await.refused(404, "file_not_found");
    }
    for (route, body) in [
        ("/fs/stat", json!({ "path": "no" })),
        ("/files/stat", json!({ "path": "no" })),
        ("/fs/rename", json!({ "from": "no", "to": "yes" })),
        ("/fs/copy", json!({ "from": "no", "to": "yes" })),
        ("/fs/chmod", json!({ "path": "no", "mode": "0644" })),
    ] {
        sandbox.post(route, body).await.refused(404, "file_not_found");
    }
    sandbox.client.delete(&sandbox.at("/fs?path=no")).await.refused(404, "file_not_found");
    let nowhere = format!("/sandboxes/{}/fs?path=no", uuid::Uuid::new_v4());
    sandbox.client.get(&nowhere).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn paths_that_are_not_for_files_are_refused() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for path in ["/proc/self/environ", "/dev/null", "../sys/kernel", "/tmp/../proc/1/mem"] {
        let body = json!({ "path": path, "content": "" });
        sandbox.post("/fs/write", body).await.refused(403, "FORBIDDEN_PATH");
        let read = format!("/fs/download?path={path}");
        sandbox.get(&read).await.refused(403, "FORBIDDEN_PATH");
    }
    sandbox.exec("ln -s /proc/self/environ link").await;
    sandbox.get("/fs/download?path=link").await.refused(403, "FORBIDDEN_PATH");
    for body in [
        json!({ "content": "" }),
        json!({ "path": "", "content": "" }),
        json!({ "path": "a\u{0}b", "content": "" }),
    ] {
        sandbox.post("/fs/write", body).await.refused(400, "INVALID_PATH");
    }
    sandbox.get("/fs/download").await.refused(400, "INVALID_PATH");
    sandbox.get("/files/a%00b").await.refused(400, "INVALID_PATH");
}

#[tokio::test]
async fn a_range_is_a_part_of_the_bytes() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let content: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let body = json!({ "path": "big", "content_base64": base64(&content) });
    sandbox.post("/fs/write", body).await.data(201);
    let path = sandbox.at("/fs/download?path=big");
    let ask = async |range: &str| {
        sandbox.client.request(Method::GET, &path).header("range", range).send().await
    };
    for (range, expected, shown) in [
        ("bytes=100000-199999", &content[100_000..200_000], "bytes 100000-199999/300000"),
        ("bytes=299999-", &content[299_999..], "bytes 299999-299999/300000"),
        ("bytes=-10", &content[299_990..], "bytes 299990-299999/300000"),
    ] {
        let reply = ask(range).await;
        assert_eq!((reply.status, reply.header("content-range")), (206, shown));
        assert_eq!(reply.header("content-length"), expected.len().to_string());
        assert!(reply.body == expected, "{range}");
    }
    let outside = ask("bytes=300000-").await;
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */300000"));
    let whole = ask("bytes=1-2,5-6").await;
    assert_eq!((whole.status, whole.body.len()), (200, 300_000));
    let head = sandbox.client.request(Method::HEAD, &path).send().await;
    assert_eq!((head.status, head.header("content-length")), (200, "300000"));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn each_of_many_files_succeeds_or_fails_by_itself() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("mkdir directory").await;
    for route in ["/fs/write-many", "/files/write-many", "/files/batch"] {
        let body = json!({ "files": [
            { "path": "/workspace/x/1", "content_base64": base64("1") },
            { "path": "/proc/1/mem", "content_base64": base64("2") },
            { "path": "directory", "content_base64": base64("3") },
            { "path": "y/4", "content": base64("4") },
            { "path": "5", "content_base64": "!" },
            { "content_base64": base64("6") },
        ]});
        let reply = sandbox.post(route, body).await;
        let outcome = reply.data(200);
        let paths: Vec<_> =
            outcome["written"].as_array().unwrap().iter().map(|w| &w["path"]).collect();
        assert_eq!(paths, ["/workspace/x/1", "/workspace/y/4"]);
        let failed: Vec<_> = outcome["failed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (f["path"].as_str().unwrap(), f["code"].as_str().unwrap()))
            .collect();
        assert_eq!(
            failed,
            [
                ("/proc/1/mem", "FORBIDDEN_PATH"),
                ("directory", "CONFLICT"),
                ("5", "VALIDATION_FAILED"),
                ("", "INVALID_PATH")
            ]
        );
        assert_eq!(reply.json()["success"], false);
        assert_eq!(sandbox.read("y/4").await.unwrap(), "4");
    }
    let none = sandbox.post("/fs/write-many", json!({ "files": [] })).await;
    assert_eq!((none.data(200)["written"].clone(), &none.json()["ok"]), (json!([]), &json!(true)));
    sandbox.post("/fs/write-many", json!({})).await.refused(422, "VALIDATION_FAILED");
}

fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, filename, content) in parts {
        let filename = filename.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        let head =
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

impl Sandbox {
    async fn upload(&self, body: Vec<u8>) -> Reply {
        let request = self.client.request(Method::POST, &self.at("/files/upload"));
        request.bytes("multipart/form-data; boundary=XX", body).send().await
    }
}

#[tokio::test]
async fn a_form_is_read_in_any_order() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let file = |name| ("file", Some(name), &b"\x00\xff bytes"[..]);
    for (parts, path) in [
        (vec![file("a.bin")], "/workspace/a.bin"),
        (vec![file("a.bin"), ("path", None, b"/workspace/up/")], "/workspace/up/a.bin"),
        (vec![("path", None, b"b.bin"), file("a.bin")], "/workspace/b.bin"),
        (
            vec![file("x"), ("path", None, b"/workspace/c.bin"), ("create_dirs", None, b"true")],
            "/workspace/c.bin",
        ),
    ] {
        let reply = sandbox.upload(form(&parts)).await;
        let uploaded = reply.data(201);
        assert_eq!(
            (&uploaded["file"]["path"], &uploaded["file"]["size_bytes"]),
            (&json!(path), &json!(8))
        );
        assert_eq!(reply.json()["success"], true);
        let back = sandbox.get(&format!("/fs/download?path={path}")).await;
        assert_eq!(&back.body[..], b"\x00\xff bytes");
    }
    sandbox.upload(form(&[("path", None, b"/tmp/")])).await.refused(400, "MISSING_FILE");
    sandbox.post("/files/upload", json!({})).await.refused(400, "MISSING_FILE");
    sandbox.upload(b"--XX\r\nbroken".to_vec()).await.refused(400, "BAD_REQUEST");
    let forbidden = form(&[file("a"), ("path", None, b"/dev/")]);
    sandbox.upload(forbidden).await.refused(403, "FORBIDDEN_PATH");
}

#[tokio::test]
async fn ten_megabytes_are_taken_and_no_more() {
    const MOST: usize = 10 * 1024 * 1024;
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let (most, more) = (vec![b'x'; MOST], vec![b'x'; MOST + 1]);
    let write = |bytes: &[u8]| json!({ "path": "big", "content_base64": base64(bytes) });
    sandbox.post("/fs/write", write(&most)).await.data(201);
    sandbox.post("/fs/write", write(&more)).await.refused(413, "FILE_TOO_LARGE");
    assert_eq!(sandbox.get("/fs/download?path=big").await.body.len(), MOST);
    sandbox.upload(form(&[("file", Some("big"), &most)])).await.data(201);
    sandbox.upload(form(&[("file", Some("big"), &more)])).await.refused(413, "FILE_TOO_LARGE");
    let many: Vec<Value> = (0..4)
        .map(|n| json!({ "path": format!("m{n}"), "content_base64": base64(&most) }))
        .collect();
    let refused = sandbox.post("/fs/write-many", json!({ "files": many })).await;
    refused.refused(413, "PAYLOAD_TOO_LARGE");
    let three = sandbox.post("/fs/write-many", json!({ "files": many[..3] })).await;
    assert_eq!(three.data(200)["written"].as_array().unwrap().len(), 3);
    // What a command makes may be larger; it is read as bytes, not as text.
    sandbox.exec("head -c 20000000 /dev/zero > huge").await;
    assert_eq!(sandbox.get("/fs/download?path=huge").await.body.len(), 20_000_000);
    sandbox.get("/fs/read?path=huge").await.refused(413, "FILE_TOO_LARGE");
}

#[tokio::test]
async fn a_directory_is_shown_in_every_clients_words() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("src/main.py", "print()").await;
    sandbox.exec("chmod 600 src/main.py; ln -s main.py src/link; mkdir src/empty").await;
    for route in ["/files?path=/workspace/src", "/files/list?path=src", "/fs?path=/workspace/src"] {
        let reply = sandbox.get(route).await;
        let listing = reply.data(200);
        assert_eq!(listing["path"], "/workspace/src");
        assert_eq!(listing["entries"], listing["files"]);
        assert_eq!(reply.json()["files"], listing["files"]);
        let entries = listing["entries"].as_array().unwrap();
        let by_name = |name: &str| entries.iter().find(|e| e["name"] == name).unwrap();
        let file = by_name("main.py");
        assert_eq!(file["path"], "/workspace/src/main.py");
        assert_eq!((&file["type"], &file["is_dir"]), (&json!("file"), &json!(false)));
        assert_eq!((&file["size"], &file["size_bytes"]), (&json!(7), &json!(7)));
        assert_eq!((&file["mode"], &file["permissions"]), (&json!("0600"), &json!("rw-------")));
        assert!(file["modified_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(by_name("empty")["type"], "directory");
        assert_eq!(
            (&by_name("link")["type"], &by_name("link")["symlink_target"]),
            (&json!("symlink"), &json!("main.py"))
        );
        assert_eq!(entries.len(), 3);
    }
    let deep = sandbox.get("/files?depth=2").await.data(200);
    assert_eq!(deep["path"], "/workspace");
    assert_eq!(deep["entries"].as_array().unwrap().len(), 4);
    for route in ["/fs/stat", "/files/stat"] {
        let stat = sandbox.post(route, json!({ "path": "src/main.py" })).await.data(200);
        assert_eq!((&stat["size"], &stat["mode"]), (&json!(7), &json!("0600")));
    }
    let tree = sandbox.get("/files/tree?path=/workspace&depth=3").await;
    let root = tree.data(200);
    assert_eq!((&root["type"], &root["path"]), (&json!("dir"), &json!("/workspace")));
    let src = &root["children"][0];
    assert_eq!((&src["name"], &src["type"]), (&json!("src"), &json!("dir")));
    assert_eq!(src["children"].as_array().unwrap().len(), 3);
    assert_eq!(tree.json()["children"], root["children"]);
    for depth in ["0", "21", "x", "-1"] {
        sandbox.get(&format!("/files?depth={depth}")).await.refused(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn files_are_made_moved_copied_and_removed() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for route in ["/fs/mkdir", "/files/mkdir"] {
        let made = sandbox.post(route, json!({ "path": "a/b", "mode": "0750" })).await;
        assert_eq!(made.data(201)["path"], "/workspace/a/b");
    }
    let plain = json!({ "path": "a/b", "recursive": false });
    sandbox.post("/fs/mkdir", plain).await.refused(409, "CONFLICT");
    sandbox.write("a/b/1", "one").await;
    sandbox.post("/fs/rename", json!({ "from": "a/b/1", "to": "c/2" })).await.data(200);
    assert_eq!(sandbox.read("a/b/1").await, None);
    sandbox.post("/fs/copy", json!({ "from": "c/2", "to": "d/3" })).await.data(200);
    assert_eq!(sandbox.read("d/3").await.unwrap(), "one");
    sandbox.post("/fs/copy", json!({ "from": "c", "to": "e", "recursive": true })).await.data(200);
    assert_eq!(sandbox.read("e/2").await.unwrap(), "one");
    let changed = sandbox.post("/fs/chmod", json!({ "path": "d/3", "mode": "0600" })).await;
    assert_eq!(changed.data(200)["mode"], "0600");
    sandbox.post("/fs/chmod", json!({ "path": "d/3" })).await.refused(422, "VALIDATION_FAILED");
    sandbox
        .post("/fs/chmod", json!({ "path": "d/3", "mode": "abc" }))
        .await
        .refused(422, "VALIDATION_FAILED");
    let full = sandbox.at("/files?path=e&recursive=false");
    sandbox.client.delete(&full).await.refused(409, "CONFLICT");
    for gone in ["/fs?path=e", "/files?path=c&recursive=true"] {
        let reply = sandbox.client.delete(&sandbox.at(gone)).await;
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{gone}");
    }
    let request = sandbox.client.request(Method::DELETE, &sandbox.at("/files"));
    let reply = request.json(&json!({ "path": "/workspace/d/3" })).send().await;
    assert_eq!(reply.status, 204);
    assert_eq!(sandbox.read("d/3").await, None);
    sandbox.client.delete(&sandbox.at("/files")).await.refused(400, "INVALID_PATH");
}

#[tokio::test]
async fn a_write_with_a_key_is_answered_again_without_being_done_again() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let write = async || {
        let request = sandbox.client.request(Method::POST, &sandbox.at("/fs/write"));
        let body = json!({ "path": "a", "content": "first" });
        request.header("idempotency-key", "w1").json(&body).send().await
    };
    let first = write().await;
    sandbox.write("a", "second").await;
    let again = write().await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(sandbox.read("a").await.unwrap(), "second");
}

/// Reads events until one of this path, each as `event path`, a rename as `renamed old new`.
async fn heard(stream: &mut hyper::body::Incoming, text: &mut String, last: &str) -> Vec<String> {
    let mut told = Vec::new();
    let hearing = async {
        loop {
            while let Some((frame, rest)) = text.split_once("\n\n") {
                let data = frame.split_once("event: change\ndata: ").map(|(_, data)| data);
                let rest = rest.to_owned();
                if let Some(data) = data {
                    let change: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(change["type"], change["event"]);
                    let of = |field: &str| change[field].as_str().unwrap_or_default().to_owned();
                    let words = [of("event"), of("old_path"), of("path")];
                    let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).collect();
                    told.push(words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" "));
                } else {
                    assert!(frame.starts_with(": "), "{frame}");
                }
                *text = rest;
                if told.last().is_some_and(|told| told == last) {
                    return;
                }
            }
            let frame = stream.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    let in_time = tokio::time::timeout(harness::BOUND, hearing).await.is_ok();
    assert!(in_time, "never: {last:?}, but {told:?} and {text:?}");
    told
}

#[tokio::test]
async fn a_watch_tells_of_changes_made_by_commands_and_by_the_api() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let watch = sandbox.at("/files/watch?path=/workspace");
    let answer = sandbox.client.request(Method::GET, &watch).open().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut stream, mut text) = (answer.into_body(), String::new());
    sandbox.write("a", "1").await;
    let told = heard(&mut stream, &mut text, "created /workspace/a").await;
    assert_eq!(told.len(), 1);
    sandbox.write("a", "2").await;
    let told = heard(&mut stream, &mut text, "modified /workspace/a").await;
    assert_eq!(told.len(), 1);
    sandbox.exec("mkdir -p x/y && echo 1 > x/y/b && mv a c").await;
    let told = heard(&mut stream, &mut text, "renamed /workspace/a /workspace/c").await;
    for created in ["x", "x/y", "x/y/b"] {
        let created = format!("created /workspace/{created}");
        assert_eq!(told.iter().filter(|told| **told == created).count(), 1, "{told:?}");
    }
    let body = json!({ "from": "c", "to": "x/c" });
    sandbox.post("/fs/rename", body).await.data(200);
    heard(&mut stream, &mut text, "renamed /workspace/c /workspace/x/c").await;
    sandbox.client.delete(&sandbox.at("/fs?path=x")).await;
    let told = heard(&mut stream, &mut text, "deleted /workspace/x").await;
    assert!(told.contains(&"deleted /workspace/x/c".to_owned()), "{told:?}");
    let watch = sandbox.at("/files/watch?path=");
    sandbox.client.get(&format!("{watch}no")).await.refused(404, "file_not_found");
    sandbox.client.get(&format!("{watch}/proc")).await.refused(403, "FORBIDDEN_PATH");
    assert_eq!(sandbox.client.get(&format!("{watch}&recursive=2")).await.status, 400);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_read_anew() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let busy = "while :; do head -c 3000000 /dev/zero > f; : > f; done";
    let running = sandbox.client.request(Method::POST, &sandbox.at("/exec/stream"));
    let _running = running.json(&json!({ "command": busy })).open().await;
    hosted::until(async || sandbox.exec("test -e f").await["exit_code"] == 0).await;
    for _ in 0..50 {
        let read = sandbox.client.get(&sandbox.at("/fs/read?path=f")).await;
        // Never as if the sandbox did not answer.
        assert!([200, 409].contains(&read.status), "{read:?}");
    }
}
