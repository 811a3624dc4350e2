//! Streams of events that end, or are put together, otherwise than they should.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::defects::catalogue::Defect;

/// Changes a stream; what is none passes.
pub(super) fn alter(defect: Defect, mut response: Response) -> Response {
    let typed = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !typed.is_some_and(|typed| typed.starts_with(b"text/event-stream")) {
        return response;
    }
    match defect {
        Defect::StreamTypedText => {
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, plain);
            response
        }
        Defect::StreamWithoutExit => each(response, |text| {
            let cut = text.rfind("event: exit\n");
            cut.and_then(|at| text.get(..at)).unwrap_or(text).to_owned()
        }),
        Defect::LinesSwapped => each(response, |text| {
            let mut frames: Vec<&str> = text.split_inclusive("\n\n").collect();
            let said = frames.iter().take_while(|frame| frame.starts_with("event: std")).count();
            if let Some(said) = frames.get_mut(..said) {
                said.reverse();
            }
            frames.concat()
        }),
        Defect::StreamStaysOpen => response.map(|body| {
            let heartbeats = stream::unfold((), |()| async {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                Some((Ok(Bytes::from_static(b": heartbeat\n\n")), ()))
            });
            Body::from_stream(body.into_data_stream().chain(heartbeats))
        }),
        _ => response,
    }
}

/// Changes each piece. Events are written whole, so that no piece ends within one.
fn each(response: Response, change: fn(&str) -> String) -> Response {
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |piece| {
            piece.map(|bytes| Bytes::from(change(&String::from_utf8_lossy(&bytes))))
        }))
    })
}
