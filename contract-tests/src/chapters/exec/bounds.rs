//! Commands that must not run.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::case::made::id;
use crate::fault::Fault;
use crate::room::{Room, encode};
use crate::session::Session;

/// Requests that take a timeout: the path, its name, the most seconds.
const TIMED: [(&str, &str, u64); 5] = [
    ("/exec", "timeout", 600),
    ("/exec/stream", "timeout", 900),
    ("/exec/python", "timeout", 600),
    ("/commands", "timeout_seconds", 600),
    ("/code/run", "timeout", 600),
];

pub(super) fn refused(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let wrong = prop_oneof![
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!("soon")),
        Just(json!(1.5)),
        Just(json!([])),
        // From 1000 on some clients mean milliseconds.
        (901u64..1000).prop_map(|seconds| json!(seconds)),
        Just(json!(u64::MAX)),
    ];
    let taken = prop::collection::vec(prop::bool::weighted(0.9), TIMED.len());
    session.forall((wrong, taken, 0u64..3), async |case, (wrong, taken, more)| {
        let inside = room.enter(&case).await?;
        for ((path, name, most), taken) in TIMED.iter().zip(taken) {
            if !taken {
                continue;
            }
            let mark = inside.path("ran");
            // Just over the bound of this very request, too.
            let over = json!(most + 1 + more);
            for timeout in [&wrong, &over] {
                let mut body = if path.contains("exec/p") || path.contains("code") {
                    let code = format!("import os\nos.makedirs({mark:?})");
                    json!({ "code": code })
                } else {
                    json!({ "command": format!("mkdir -p {mark}") })
                };
                body[*name] = timeout.clone();
                inside.post(path, body).send().await?.refused(422)?;
            }
        }
        let looked = inside.get_path("/files/stat", &inside.path("ran")).send().await?;
        looked.holds(looked.status == 404, "nothing that was refused has run", looked.summary())
    })
}

/// Requests that need the machine.
fn requests(sandbox: &str, pid: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let at = |rest: &str| format!("/sandboxes/{sandbox}{rest}");
    let path = encode("/workspace/a");
    let run = json!({ "command": "true" });
    let code = json!({ "code": "1" });
    let file = json!({ "path": "/workspace/a", "content": "YQ==" });
    let named = json!({ "path": "/workspace/a" });
    let moved = json!({ "from": "/workspace/a", "to": "/workspace/b" });
    vec![
        ("POST", at("/exec"), Some(run.clone())),
        ("POST", at("/exec"), Some(json!({ "command": "true", "detached": true }))),
        ("POST", at("/exec/stream"), Some(run.clone())),
        ("POST", at("/exec/stream"), Some(json!({ "command": "true", "ticket": true }))),
        ("POST", at("/exec/python"), Some(code.clone())),
        ("POST", at("/commands"), Some(run.clone())),
        ("POST", at("/commands"), Some(json!({ "command": "true", "detached": true }))),
        ("POST", at("/processes"), Some(run)),
        ("POST", at("/code/run"), Some(code)),
        ("GET", at("/code/contexts"), None),
        ("GET", at(&format!("/processes/{pid}/logs")), None),
        ("POST", at(&format!("/processes/{pid}/signal")), Some(json!({ "signal": "TERM" }))),
        ("POST", at("/files"), Some(file.clone())),
        ("POST", at("/fs/write"), Some(json!({ "path": "/workspace/a", "content": "a" }))),
        ("POST", at("/fs/write-many"), Some(json!({ "files": [file] }))),
        ("GET", at("/files?path=/workspace"), None),
        ("GET", at("/fs?path=/workspace"), None),
        ("GET", at("/files/tree"), None),
        ("GET", at(&format!("/fs/read?path={path}")), None),
        ("GET", at(&format!("/fs/download?path={path}")), None),
        ("GET", at(&format!("/files/stat?path={path}")), None),
        ("POST", at("/fs/stat"), Some(named.clone())),
        ("POST", at("/files/mkdir"), Some(named)),
        ("POST", at("/fs/rename"), Some(moved.clone())),
        ("POST", at("/files/copy"), Some(moved)),
        ("DELETE", at(&format!("/files?path={path}")), None),
        ("GET", at("/files/archive"), None),
        ("POST", at("/exports"), Some(json!({ "path": "/workspace/a" }))),
        ("POST", at("/env/sync"), None),
    ]
}

pub(super) fn gone(session: &Session) -> Result<(), Fault> {
    let kinds = prop::collection::vec(prop::bool::weighted(0.95), requests("", "").len());
    session.forall((kinds, any::<u128>()), async |case, (taken, number)| {
        let client = case.organization()?;
        let sandbox = id(&client.sandbox().await?)?;
        let begun = client
            .post(format!("/sandboxes/{sandbox}/processes"), json!({ "command": "sleep 60" }));
        let pid = begun.send().await?.needs(201)?.id()?;
        let deleted = client.delete(format!("/sandboxes/{sandbox}")).send().await?;
        if !(200..300).contains(&deleted.status) {
            return Err(Fault::unable(format!(
                "a sandbox that cannot be deleted: {}",
                deleted.summary()
            )));
        }
        let nobody = uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid().to_string();
        for (place, allowed) in [(&sandbox, &[404, 409][..]), (&nobody, &[404][..])] {
            for ((method, path, body), taken) in requests(place, &pid).into_iter().zip(&taken) {
                if !taken {
                    continue;
                }
                let method = method.parse().map_err(|_| Fault::unable("no such method"))?;
                let mut sending = client.request(method, path);
                if let Some(body) = body {
                    sending = sending.json(body);
                }
                let reply = sending.send().await?;
                let expected = format!("{allowed:?} from {}, whose sandbox is gone", reply.place());
                reply.holds(allowed.contains(&reply.status), expected, reply.summary())?;
                reply.refusal()?;
            }
            for rest in ["stream", "spawn", "ws"] {
                let path = format!("/sandboxes/{place}/exec/{rest}?command=true");
                match client.socket(&path, None).await? {
                    Err(reply) => {
                        let expected =
                            format!("{allowed:?} from {}, whose sandbox is gone", reply.place());
                        reply.holds(allowed.contains(&reply.status), expected, reply.summary())?;
                    }
                    Ok(socket) => {
                        let at = Some(socket.close());
                        let expected = format!("{allowed:?}: the sandbox is gone");
                        return Err(Fault::Broken { expected, got: "a WebSocket".to_owned(), at });
                    }
                }
            }
        }
        Ok(())
    })
}
