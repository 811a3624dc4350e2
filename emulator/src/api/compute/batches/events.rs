//! `GET /sandboxes/batches/{id}/events`: how far it has come, each time that changes, until it is settled.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::record::Batch;
use super::show::{Counts, show};
use crate::app::App;
use crate::http::{ApiError, ApiResult, Scoped, sse};

/// Where a stream stands.
struct Stream {
    app: App,
    org: Uuid,
    id: Uuid,
    /// What was told last.
    last: Option<(Batch, Counts)>,
    ended: bool,
}

/// The handler.
pub async fn stream(State(app): State<App>, batch: Scoped<Batch>) -> Response {
    let stream = Stream { app, org: batch.org, id: batch.id, last: None, ended: false };
    sse::response(futures_util::stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<Bytes, Infallible>(event), stream))
    }))
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            let app = self.app.clone();
            // Listening before looking: what changes in between is heard.
            let changed = app.activity.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (batch, counts) = self.look().await.ok().flatten()?;
            self.ended = batch.settled_at.is_some();
            if self.last.as_ref() != Some(&(batch.clone(), counts)) {
                let name = if self.ended { "batch_settled" } else { "batch_progress" };
                let mut data = show(&batch, counts, app.clock.now(self.org));
                self.last = Some((batch, counts));
                if let Value::Object(members) = &mut data {
                    // miosa-python 2.19 hands out the data alone.
                    members.insert("event".into(), name.into());
                    members.insert("type".into(), name.into());
                }
                return Some(sse::event(name, &data));
            }
            tokio::select! {
                () = changed => {}
                () = app.stopping.cancelled() => return None,
            }
        }
        None
    }

    async fn look(&self) -> ApiResult<Option<(Batch, Counts)>> {
        let (org, id) = (self.org, self.id);
        self.app
            .store
            .read(move |view| {
                let Some(batch) = view.get::<Batch>(org, id)? else { return Ok(None) };
                let counts = Counts::of(view, &batch)?;
                Ok::<_, ApiError>(Some((batch, counts)))
            })
            .await
    }
}
