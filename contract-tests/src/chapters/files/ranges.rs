//! Parts of a file (RFC 9110, 14).

use proptest::prelude::*;

use super::names::counted;
use super::spellings::{Reader, most_of};
use crate::Reply;
use crate::fault::Fault;
use crate::room::{Inside, Room, said};
use crate::session::Session;

/// What is asked for.
#[derive(Debug, Clone)]
enum Range {
    /// All of it.
    Whole,
    /// From one byte to another.
    Part(usize, usize),
    /// From one byte on.
    From(usize),
    /// The last so many.
    Last(usize),
}

impl Range {
    fn header(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Part(first, last) => Some(format!("bytes={first}-{last}")),
            Self::From(first) => Some(format!("bytes={first}-")),
            Self::Last(count) => Some(format!("bytes=-{count}")),
        }
    }

    /// The first byte and the one after the last, of a file of this size; none where there is nothing.
    fn of(&self, size: usize) -> Option<(usize, usize)> {
        let (first, end) = match *self {
            Self::Whole => return Some((0, size)),
            Self::Part(first, last) => (first, last.saturating_add(1).min(size)),
            Self::From(first) => (first, size),
            Self::Last(count) => (size - count.min(size), size),
        };
        (first < end).then_some((first, end))
    }
}

fn ranges(size: usize) -> impl Strategy<Value = Vec<Range>> {
    let near = move || {
        prop_oneof![
            2 => 0..=size,
            2 => prop::sample::select(vec![0, 1, size.saturating_sub(1), size, size + 1]),
            1 => prop::sample::select(vec![4095usize, 4096, 65_535, 65_536]),
        ]
    };
    let range = prop_oneof![
        1 => Just(Range::Whole),
        4 => (near(), near()).prop_map(|(a, b)| Range::Part(a.min(b), a.max(b))),
        2 => near().prop_map(Range::From),
        2 => near().prop_map(Range::Last),
    ];
    prop::collection::vec(range, 1..4)
}

pub(super) fn check(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let sizes = prop_oneof![
        3 => 0usize..20,
        2 => prop::sample::select(vec![4096usize, 65_536, 65_537]),
        1 => 100_000usize..300_000,
    ];
    let drawn = sizes.prop_flat_map(|size| (Just(size), ranges(size)));
    let endings = prop::sample::select(vec!["bin", "json", "html", "txt", "tar.gz", "svg"]);
    session.forall((drawn, endings, most_of(&Reader::BYTES)), async |case, drawn| {
        let ((size, ranges), ending, readers) = drawn;
        let inside = room.enter(&case).await?;
        let bytes = counted(size, 7);
        let path = inside.path(&format!("data.{ending}"));
        inside.put(&path, &bytes).await?;
        for reader in readers {
            for range in &ranges {
                one(&inside, reader, &path, &bytes, range).await?;
            }
        }
        Ok(())
    })
}

async fn one(
    inside: &Inside,
    reader: Reader,
    path: &str,
    bytes: &[u8],
    range: &Range,
) -> Result<(), Fault> {
    let mut sending = reader.request(inside, path);
    if let Some(header) = range.header() {
        sending = sending.header("Range", &header);
    }
    let reply = sending.send().await?;
    let size = bytes.len();
    let named = format!("{reader:?}, {range:?} of {size} bytes");
    let Some((first, end)) = range.of(size) else {
        reply.refused(416)?;
        return header(&reply, "content-range", &format!("bytes */{size}"));
    };
    let status = if matches!(range, Range::Whole) { 200 } else { 206 };
    let reply = reply.expect(status)?;
    let part = bytes.get(first..end).unwrap_or_default();
    said::same(&reply, &named, part, &reply.body)?;
    header(&reply, "content-type", "application/octet-stream")?;
    header(&reply, "content-length", &part.len().to_string())?;
    if status == 206 {
        header(&reply, "content-range", &format!("bytes {first}-{}/{size}", end - 1))?;
    }
    Ok(())
}

fn header(reply: &Reply, name: &str, expected: &str) -> Result<(), Fault> {
    let got = reply.header(name);
    reply.holds(
        got == Some(expected),
        format!("{name}: {expected}"),
        got.map_or_else(|| format!("no {name}"), |got| format!("{name}: {got}")),
    )
}
