//! Files in the words of each client that is not Python: what ComputeSDK, the command line in Go and the SDKs for Go
//! and Elixir send, and the members that they read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hosted::{Sandbox, start};
use http::Method;
use serde_json::{Value, json};

/// The members of an answer that a client reads without looking for an envelope.
fn bare(reply: &harness::Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{:?}", String::from_utf8_lossy(&reply.body));
    reply.json()
}

#[tokio::test]
async fn computesdk_works_on_fs() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = sandbox.client.clone().with("user-agent", "node");
    let made = json!({ "path": "/workspace/dir", "recursive": true });
    assert_eq!(bare(&client.post(&sandbox.at("/fs/mkdir"), made).await, 201)["success"], true);
    let text = json!({ "path": "/workspace/dir/a.txt", "content": "aGk= is text here" });
    assert_eq!(bare(&client.post(&sandbox.at("/fs/write"), text).await, 201)["success"], true);
    let read = client.get(&sandbox.at("/fs/read?path=%2Fworkspace%2Fdir%2Fa.txt")).await;
    assert_eq!(bare(&read, 200)["content"], "aGk= is text here");
    let listed = bare(&client.get(&sandbox.at("/fs?path=%2Fworkspace")).await, 200);
    let entry = &listed["files"][0];
    assert_eq!((&entry["name"], &entry["type"]), (&json!("dir"), &json!("directory")));
    let inside = bare(&client.get(&sandbox.at("/fs?path=%2Fworkspace%2Fdir")).await, 200);
    let entry = &inside["files"][0];
    assert_eq!((&entry["type"], &entry["size_bytes"]), (&json!("file"), &json!(17)));
    assert!(entry["modified_at"].is_string());
    assert!(client.delete(&sandbox.at("/fs?path=%2Fworkspace%2Fdir")).await.status < 300);
    client
        .get(&sandbox.at("/fs/read?path=%2Fworkspace%2Fdir%2Fa.txt"))
        .await
        .refused(404, "file_not_found");
}

#[tokio::test]
async fn the_go_command_line_reads_bare_fields_and_deletes_with_a_body() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = sandbox.client.clone().with("user-agent", "Go-http-client/1.1");
    let form = "--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n/workspace/up/a.bin\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\0bytes\r\n--b--\r\n";
    let upload = client.request(Method::POST, &sandbox.at("/files/upload"));
    bare(&upload.bytes("multipart/form-data; boundary=b", form).send().await, 201);
    let bytes = client.get(&sandbox.at("/files/download?path=%2Fworkspace%2Fup%2Fa.bin")).await;
    assert_eq!((bytes.status, &bytes.body[..]), (200, &b"\0bytes"[..]));
    let made = json!({ "path": "/workspace/up/d", "recursive": false, "mode": "0755" });
    bare(&client.post(&sandbox.at("/files/mkdir"), made).await, 201);
    let listed = bare(&client.get(&sandbox.at("/files?path=%2Fworkspace%2Fup")).await, 200);
    assert_eq!(listed["path"], "/workspace/up");
    let entry = &listed["entries"][0];
    assert_eq!(
        (&entry["name"], &entry["path"], &entry["is_dir"], &entry["size"]),
        (&json!("a.bin"), &json!("/workspace/up/a.bin"), &json!(false), &json!(6))
    );
    assert!(entry["modified_at"].is_string());
    assert_eq!(listed["entries"][1]["is_dir"], true);
    let delete = client.request(Method::DELETE, &sandbox.at("/files"));
    let gone = delete.json(&json!({ "path": "/workspace/up" })).send().await;
    assert!(gone.status < 300, "{gone:?}");
    client.get(&sandbox.at("/files?path=%2Fworkspace%2Fup")).await.refused(404, "file_not_found");
}

#[tokio::test]
async fn go_and_elixir_read_a_tree_and_write_many() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for agent in ["miosa-go/2.0.2", "miosa-elixir/1.1.0"] {
        let client = sandbox.client.clone().with("user-agent", agent);
        let file = |path: &str| json!({ "path": path, "content_base64": STANDARD.encode(path) });
        let files = json!({ "files": [file("/workspace/s/a"), file("/dev/full")] });
        let outcome = bare(&client.post(&sandbox.at("/files/write-many"), files).await, 200);
        assert_eq!(outcome["written"][0]["path"], "/workspace/s/a");
        assert_eq!(outcome["written"][0]["size_bytes"], 14);
        assert_eq!(outcome["failed"][0]["path"], "/dev/full");
        assert!(outcome["failed"][0]["error"].is_string());
        assert_eq!(outcome["data"]["written"], outcome["written"]);
        let tree = client.get(&sandbox.at("/files/tree?path=%2Fworkspace&depth=3")).await;
        let tree = bare(&tree, 200);
        assert_eq!((&tree["type"], &tree["name"]), (&json!("dir"), &json!("workspace")));
        let leaf = &tree["children"][0]["children"][0];
        assert_eq!(
            (&leaf["type"], &leaf["path"], &leaf["size"]),
            (&json!("file"), &json!("/workspace/s/a"), &json!(14))
        );
        assert!(leaf["modified_at"].is_string() && leaf.get("children").is_none());
        assert_eq!(tree["data"]["children"], tree["children"]);
    }
}

#[tokio::test]
async fn a_file_is_described_by_get_and_by_post() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("d/a", "123").await;
    sandbox.exec("chmod 640 d/a; ln -s a d/l").await;
    for route in ["/fs/stat", "/files/stat"] {
        let posted = sandbox.client.post(&sandbox.at(route), json!({ "path": "d/a" })).await;
        let asked = sandbox.client.get(&sandbox.at(&format!("{route}?path=d/a"))).await;
        assert_eq!(posted.data(200), asked.data(200));
        let entry = bare(&asked, 200);
        assert_eq!((&entry["size"], &entry["mode"]), (&json!(3), &json!("0640")));
        let link = sandbox.client.get(&sandbox.at(&format!("{route}?path=d/l"))).await.data(200);
        assert_eq!((&link["is_symlink"], &link["symlink_target"]), (&json!(true), &json!("a")));
        let nothing = sandbox.at(&format!("{route}?path=d/no"));
        sandbox.client.get(&nothing).await.refused(404, "file_not_found");
        sandbox.client.get(&sandbox.at(route)).await.refused(400, "INVALID_PATH");
    }
}

#[tokio::test]
async fn a_download_goes_on_only_with_the_file_that_it_began_with() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("a", "first content").await;
    let path = sandbox.at("/fs/download?path=a");
    let begun = sandbox.client.get(&path).await;
    let tag = begun.header("etag").to_owned();
    let go_on = async || {
        let request = sandbox.client.request(Method::GET, &path);
        request.header("range", "bytes=6-").header("if-range", &tag).send().await
    };
    let rest = go_on().await;
    assert_eq!((rest.status, &rest.body[..]), (206, &b"content"[..]));
    sandbox.write("a", "another content").await;
    let whole = go_on().await;
    assert_eq!((whole.status, &whole.body[..]), (200, &b"another content"[..]));
    let request = sandbox.client.request(Method::GET, &path).header("range", "bytes=99-");
    let outside = request.send().await;
    outside.refused(416, "RANGE_NOT_SATISFIABLE");
    assert_eq!(outside.header("content-range"), "bytes */15");
}
