//! How many requests a run may send, and how fast.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::fault::Fault;

/// A budget, and a distance between requests.
pub(super) struct Pace {
    budget: u64,
    spent: AtomicU64,
    apart: Option<Duration>,
    next: Mutex<Instant>,
    closed: AtomicBool,
}

impl Pace {
    pub(super) fn new(budget: u64, per_minute: Option<u32>) -> Self {
        let apart = per_minute.map(|n| Duration::from_secs(60) / n.max(1));
        Self {
            budget,
            spent: AtomicU64::new(0),
            apart,
            next: Mutex::new(Instant::now()),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed).min(self.budget)
    }

    /// Lets no more requests pass.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) async fn turn(&self) -> Result<(), Fault> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Fault::unable("interrupted"));
        }
        if self.spent.fetch_add(1, Ordering::Relaxed) >= self.budget {
            return Err(Fault::unable(format!(
                "the budget of {} requests is spent; raise it with --budget",
                self.budget
            )));
        }
        let Some(apart) = self.apart else { return Ok(()) };
        let mine = {
            let mut next = self.next.lock().await;
            let mine = (*next).max(Instant::now());
            *next = mine + apart;
            mine
        };
        tokio::time::sleep_until(mine).await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(Fault::unable("interrupted"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_distance_and_end_with_the_budget() {
        let pace = Pace::new(3, Some(60));
        let start = Instant::now();
        for _ in 0..3 {
            assert!(pace.turn().await.is_ok());
        }
        assert_eq!(start.elapsed().as_secs(), 2);
        assert!(pace.turn().await.is_err());
        assert_eq!(pace.spent(), 3);
    }
}
