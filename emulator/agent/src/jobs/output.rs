//! What a job said, as frames: what is kept, and with `follow` what comes until it ends.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use miosa_agent::codec::encode;
use miosa_agent::protocol::frame;
use miosa_agent::protocol::jobs::JobState;
use tokio::sync::watch;

use super::Job;
use super::log::Part;
use crate::exec::message;

struct Reader {
    job: Arc<Job>,
    changes: watch::Receiver<u64>,
    from: u64,
    follow: bool,
    over: bool,
}

/// The frames. A reader that falls behind the log is told what it missed; it holds nobody up.
pub fn frames(
    job: Arc<Job>,
    from: u64,
    follow: bool,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let changes = job.changed.subscribe();
    // Beyond the end there is nothing to wait for: from there on is from now on.
    let from = from.min(job.log().range().1);
    let reader = Reader { job, changes, from, follow, over: false };
    futures_util::stream::unfold(reader, |mut reader| async move {
        if reader.over {
            return None;
        }
        Some((Ok(reader.next().await), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Bytes {
        loop {
            self.changes.mark_unchanged();
            // The state first: what a job said is kept before it counts as ended.
            let ended = self.job.status().state == JobState::Ended;
            let part = self.job.log().read(self.from);
            if let Some((part, next)) = part {
                self.from = next;
                return match part {
                    Part::Lost(bytes) => encode(frame::LOST, &bytes.to_be_bytes()),
                    Part::Bytes(kind, bytes) => encode(kind, &bytes),
                };
            }
            if ended || !self.follow || self.changes.changed().await.is_err() {
                self.over = true;
                return message(frame::JOB, &self.job.info());
            }
        }
    }
}
