//! A request body that is written piece by piece.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Body, BoxError};

/// How many pieces wait for room on the connection.
const AHEAD: usize = 4;

/// A body and the way to write it. The body ends when every sender is gone; cancelling the token breaks it
/// off, which resets the stream.
pub(super) fn written(broken: CancellationToken) -> (mpsc::Sender<Bytes>, Body) {
    let (write, pieces) = mpsc::channel(AHEAD);
    let body = stream::unfold((pieces, broken), |(mut pieces, broken)| async move {
        let piece = tokio::select! {
            biased;
            () = broken.cancelled() => Some(Err(BoxError::from("given up"))),
            piece = pieces.recv() => piece.map(|bytes: Bytes| Ok(Frame::data(bytes))),
        };
        piece.map(|piece| (piece, (pieces, broken)))
    });
    (write, StreamBody::new(body).boxed_unsync())
}
