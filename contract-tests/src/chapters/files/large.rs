//! The largest file.

use http::Method;

use super::names::counted;
use super::spellings::{form, form_type};
use crate::fault::Fault;
use crate::room::Room;
use crate::session::Session;

/// Whoever counts in thousands must still take this, and whoever counts in 1024s refuse what is more than [`OVER`].
const TAKEN: usize = 10_000_000;

/// 10 MiB.
const OVER: usize = 10 * 1024 * 1024;

pub(super) fn check(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((0usize..100, 1usize..2000), async |case, (less, more)| {
        let inside = room.enter(&case).await?;
        let upload = |path: String, size: usize| {
            let body = form(Some(&path), "a", &counted(size, 1), true);
            inside
                .client
                .request(Method::POST, inside.at("/files/upload"))
                .bytes(&form_type(), body)
                .send()
        };
        let over = upload(inside.path("over"), OVER + more).await?;
        over.refused(413)?;
        inside.get_path("/files/stat", &inside.path("over")).send().await?.refused(404)?;
        let taken = upload(inside.path("taken"), TAKEN - less).await?.expect(201)?;
        let stat =
            inside.get_path("/files/stat", &inside.path("taken")).send().await?.expect(200)?;
        let size = stat.data()?["size"].as_u64();
        let expected = TAKEN - less;
        stat.holds(
            size == Some(expected as u64),
            format!("{expected} bytes, of which {} was answered", taken.status),
            format!("{size:?}"),
        )
    })
}
