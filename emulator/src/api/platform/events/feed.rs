//! A feed of events as a stream: what is there, then what comes.
//!
//! A page is read when the client has taken the one before, so a slow client holds a page and nothing more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use super::frames;
use super::resume::Resume;
use crate::app::App;
use crate::defects::defect;
use crate::http::{ApiError, ApiResult, sse};
use crate::store::outbox::Recorded;
use crate::store::{StoreError, View};

pub use crate::store::feed::Feed;

/// How many events are read at once.
const PAGE: u32 = 100;
/// How often a quiet stream looks whether its resource is still there.
const LOOK: Duration = Duration::from_secs(15);

/// A stream to be opened.
pub struct Plan {
    /// Of what.
    pub feed: Feed,
    /// How many of the newest events a client gets that says nothing of where to begin.
    pub backlog: u32,
    /// How an event is written.
    pub show: fn(&Recorded) -> Bytes,
    /// Whether nothing can come after an event.
    pub last: fn(&Recorded) -> bool,
    /// Whether more can come at all.
    pub lives: fn(&View<'_>, &Feed) -> Result<bool, StoreError>,
}

/// Opens a stream: it ends after its last event, when its resource is gone, and when the emulator stops.
///
/// # Errors
/// When the store fails.
pub async fn open(app: &App, mut plan: Plan, resume: Resume) -> ApiResult<Response> {
    // What a client has seen happen must be there when it looks.
    app.recorder.flush(app).await;
    if !resume.types.is_empty() {
        plan.feed.types = resume.types;
    }
    let (feed, backlog) = (plan.feed.clone(), resume.backlog.unwrap_or(plan.backlog));
    let place = app
        .store
        .read(move |view| match resume.seen {
            Some(seen) => {
                let place = view.feed_place(feed.org, seen)?;
                if defect!(ResumeRepeats) {
                    return Ok(place - 1);
                }
                if defect!(ResumeSkips) {
                    let next = view.feed(&feed, place, 1)?.events.pop();
                    return Ok(next.map_or(place, |next| next.event.seq));
                }
                Ok(place)
            }
            None => view.feed_start(&feed, backlog),
        })
        .await
        .map_err(ApiError::from)?;
    let connected = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b": connected\n\n"))]);
    let following = Following {
        app: app.clone(),
        plan,
        place,
        page: VecDeque::new(),
        resumed: resume.seen.is_some(),
        ended: false,
    };
    let stopping = app.stopping.clone().cancelled_owned();
    Ok(sse::response(connected.chain(following.events()).take_until(stopping)))
}

struct Following {
    app: App,
    plan: Plan,
    /// Everything up to here was read.
    place: i64,
    page: VecDeque<Recorded>,
    /// Whether what is gone between the place and the next event is missed by the client.
    resumed: bool,
    ended: bool,
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut following| async move {
            let frame = following.next().await?;
            Some((Ok(frame), following))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(event) = self.page.pop_front() {
                self.ended = (self.plan.last)(&event);
                return Some((self.plan.show)(&event));
            }
            // Listening before looking: what is emitted in between is heard.
            let bell = self.app.store.emitted();
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let (feed, place, lives) = (self.plan.feed.clone(), self.place, self.plan.lives);
            let read = self.app.store.read(move |view| {
                Ok::<_, StoreError>((view.feed(&feed, place, PAGE)?, lives(view, &feed)?))
            });
            let (part, lives) = match read.await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!("a stream of events ends: {error}");
                    return None;
                }
            };
            let missed = part.torn && self.resumed;
            self.resumed = true;
            self.place = part.end;
            self.page = part.events.into();
            if missed {
                return Some(frames::lost());
            }
            if !self.page.is_empty() {
                continue;
            }
            if !lives {
                return None;
            }
            let _ = tokio::time::timeout(LOOK, rung).await;
        }
    }
}
