//! What is not there.

use http::Method;
use proptest::prelude::*;
use serde_json::json;

use super::names::path;
use super::spellings::Reader;
use crate::case::Sending;
use crate::fault::Fault;
use crate::room::{Inside, Room, encode};
use crate::session::Session;

/// How many requests [`requests`] makes.
const REQUESTS: usize = 25;

/// Every operation that needs something to be there.
fn requests(inside: &Inside, path: &str) -> Vec<Sending> {
    let named = || json!({ "path": path });
    let moved = || json!({ "from": path, "to": inside.path("moved"), "recursive": true });
    let mut all: Vec<Sending> = Reader::ALL.iter().map(|way| way.request(inside, path)).collect();
    for list in [
        "/fs/stat",
        "/files/stat",
        "/fs",
        "/files",
        "/files/list",
        "/files/tree",
        "/files/archive",
        "/files/watch",
    ] {
        all.push(inside.get_path(list, path));
    }
    for (route, body) in [
        ("/fs/stat", named()),
        ("/files/stat", named()),
        ("/fs/rename", moved()),
        ("/files/rename", moved()),
        ("/fs/copy", moved()),
        ("/files/copy", moved()),
        ("/fs/chmod", json!({ "path": path, "mode": "0600" })),
        ("/files/chmod", json!({ "path": path, "mode": "0600" })),
        ("/exports", json!({ "path": path })),
    ] {
        all.push(inside.post(route, body));
    }
    all.push(inside.client.delete(format!("{}?path={}", inside.at("/fs"), encode(path))));
    all.push(inside.client.request(Method::DELETE, inside.at("/files")).json(named()));
    all
}

pub(super) fn check(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let taken = prop::collection::vec(prop::bool::weighted(0.95), REQUESTS);
    session.forall((path(), any::<bool>(), taken), async |case, (path, beside, taken)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        if beside {
            // Something whose name only begins alike.
            inside.put(&inside.path("other"), b"x").await?;
        }
        let path = inside.path(&format!("othe/{path}"));
        let all = requests(&inside, &path);
        if all.len() != REQUESTS {
            return Err(Fault::unable(format!("{} requests", all.len())));
        }
        for (sending, taken) in all.into_iter().zip(taken) {
            if taken {
                sending.send().await?.refused(404)?;
            }
        }
        Ok(())
    })
}
