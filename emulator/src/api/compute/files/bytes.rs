//! Bytes of a file as an answer.
//!
//! They are always `application/octet-stream`, whatever the file is: miosa-python 2.19 reads a download that is
//! labelled as JSON as an envelope and gives its caller nothing.

use std::fmt::Write as _;
use std::io;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use miosa_agent::protocol::Entry;

use super::range::{Range, range};
use crate::api::compute::sandboxes::awake::ActivityGuard;
use crate::defects::defect;
use crate::http::{ApiError, codes};
use crate::machines::agent::ContentStream;

/// The file's bytes, all or the range that was asked for.
pub fn whole_or_range(
    headers: &HeaderMap,
    entry: &Entry,
    stream: ContentStream,
    active: ActivityGuard,
) -> Response {
    let size = entry.size;
    let mut response = Response::new(Body::empty());
    let set = |response: &mut Response, name, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    };
    let tag = tag(entry);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // A part of what the client has not begun with would be of no use to it.
    let asked = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|known| known == tag));
    match asked.map_or(Range::Whole, |text| range(text, size)) {
        Range::Whole => {
            set(&mut response, CONTENT_LENGTH, size.to_string());
            *response.body_mut() = Body::from_stream(part(stream, 0, size, active));
        }
        Range::Part { first, last } => {
            let last = defect!(RangeOffByOne, last.saturating_sub(1).max(first), last);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, CONTENT_LENGTH, (last - first + 1).to_string());
            set(&mut response, CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
            *response.body_mut() = Body::from_stream(part(stream, first, last - first + 1, active));
        }
        Range::Outside => {
            let text = format!("The file has {size} bytes.");
            let mut refusal = ApiError::new(codes::RANGE_NOT_SATISFIABLE, text).into_response();
            set(&mut refusal, CONTENT_RANGE, format!("bytes */{size}"));
            return refusal;
        }
    }
    set(&mut response, CONTENT_TYPE, "application/octet-stream".to_owned());
    set(&mut response, ACCEPT_RANGES, "bytes".to_owned());
    set(&mut response, ETAG, tag);
    response
}

/// Changes whenever the file is written.
fn tag(entry: &Entry) -> String {
    format!("\"{:x}-{:x}\"", entry.modified_at_ms, entry.size)
}

/// Names what is downloaded (RFC 6266): plainly for who reads only ASCII, and as it is.
pub fn disposition(headers: &mut HeaderMap, filename: &str) {
    let plain: String = filename
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " ._-+()".contains(c) { c } else { '_' })
        .collect();
    let mut value = format!("attachment; filename=\"{plain}\"");
    if plain != filename {
        value.push_str("; filename*=UTF-8''");
        for byte in filename.bytes() {
            if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
                value.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
}

/// `length` bytes of the stream after the first `skip`. A stream that ends before is an error, never a short file.
fn part(
    stream: ContentStream,
    skip: u64,
    length: u64,
    active: ActivityGuard,
) -> impl Stream<Item = io::Result<Bytes>> {
    let reading = Reading { stream, skip, left: length, _active: active };
    futures_util::stream::unfold(reading, |mut reading| async move {
        Some((reading.next().await.transpose()?, reading))
    })
}

struct Reading {
    stream: ContentStream,
    skip: u64,
    left: u64,
    _active: ActivityGuard,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.left > 0 {
            let left = std::mem::take(&mut self.left);
            let mut bytes = self.stream.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let passed = self.skip.min(bytes.len() as u64);
            self.skip -= passed;
            bytes = bytes.slice(passed as usize..);
            bytes.truncate(left.min(bytes.len() as u64) as usize);
            self.left = left - bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_itself_in_a_header_and_nothing_else() {
        for (filename, expected) in [
            ("a b.txt", "attachment; filename=\"a b.txt\""),
            (
                "x\"; y=\r\n",
                "attachment; filename=\"x__ y___\"; filename*=UTF-8''x%22%3B%20y%3D%0D%0A",
            ),
            ("\u{fc}", "attachment; filename=\"_\"; filename*=UTF-8''%C3%BC"),
        ] {
            let mut headers = HeaderMap::new();
            disposition(&mut headers, filename);
            assert_eq!(headers[CONTENT_DISPOSITION], expected);
        }
    }
}
