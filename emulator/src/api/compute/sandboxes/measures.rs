//! What running sandboxes use, measured over time: the agent counts, a bounded number of samples is kept in memory.
//!
//! A start of the emulator begins anew: what nobody measured is not there, and never filled in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use miosa_agent::protocol::Usage;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::app::App;
use crate::machines::Agent;

/// Between two samples of one sandbox.
pub const EVERY: Duration = Duration::from_secs(10);
/// How many are kept: an hour.
pub const KEPT: usize = 360;
/// How long an agent may take to count.
const COUNT: Duration = Duration::from_secs(2);
/// How many are asked at once.
const AT_ONCE: usize = 8;
/// A sample younger than this is the present.
const FRESH: Duration = Duration::from_secs(1);

/// What a sandbox used at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When, on the monotonic clock.
    pub at: Instant,
    /// What its agent counted.
    pub usage: Usage,
}

impl Sample {
    /// CPU since an earlier sample, 100 for one CPU that was busy throughout. `None` across a restart of the processes.
    pub fn cpu_percent_since(&self, earlier: &Self) -> Option<f64> {
        let busy = self.usage.cpu_ms.checked_sub(earlier.usage.cpu_ms)?;
        let elapsed = self.at.saturating_duration_since(earlier.at).as_secs_f64() * 1000.0;
        (elapsed > 0.0).then(|| (busy as f64 / elapsed * 1000.0).round() / 10.0)
    }
}

/// The samples of every sandbox.
#[derive(Debug, Default)]
pub struct Measures(Mutex<HashMap<Uuid, VecDeque<Sample>>>);

impl Measures {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, VecDeque<Sample>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The samples of a sandbox that are no older than `window`, oldest first.
    pub fn within(&self, id: Uuid, window: Duration) -> Vec<Sample> {
        let all = self.all();
        let samples = all.get(&id).into_iter().flatten();
        samples.filter(|sample| sample.at.elapsed() <= window).cloned().collect()
    }

    fn add(&self, id: Uuid, sample: Sample) {
        let mut all = self.all();
        let samples = all.entry(id).or_default();
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Forgets a sandbox that is gone.
    pub fn forget(&self, id: Uuid) {
        self.all().remove(&id);
    }
}

/// Samples now, unless that was done a moment ago.
pub async fn sample(app: &App, id: Uuid) {
    let fresh = |samples: &VecDeque<Sample>| samples.back().is_some_and(|s| s.at.elapsed() < FRESH);
    if app.measures.all().get(&id).is_some_and(fresh) {
        return;
    }
    if let Ok(agent) = app.machines.agent(id) {
        measure(app, id, agent).await;
    }
}

async fn measure(app: &App, id: Uuid, agent: Arc<Agent>) {
    if let Ok(Ok(usage)) = tokio::time::timeout(COUNT, agent.usage()).await {
        app.measures.add(id, Sample { at: Instant::now(), usage });
    }
}

/// Samples every sandbox that runs, until the emulator stops.
pub async fn watch(app: App) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        // One that stands still cannot count, and does not change.
        let running =
            app.machines.agents().into_iter().filter(|(id, _)| !app.activity.is_shut(*id));
        let measuring = running.map(|(id, agent)| measure(&app, id, agent));
        futures_util::stream::iter(measuring).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, cpu_ms: u64) -> Sample {
        let usage = Usage {
            cpu_ms,
            memory_bytes: 0,
            network_rx_bytes: None,
            network_tx_bytes: None,
            processes: 0,
        };
        Sample { at, usage }
    }

    #[test]
    fn cpu_is_what_was_used_between_two_samples_and_nothing_across_a_restart() {
        let at = Instant::now();
        let (first, second) = (sample(at, 500), sample(at + Duration::from_secs(10), 5500));
        assert_eq!(second.cpu_percent_since(&first), Some(50.0));
        assert_eq!(first.cpu_percent_since(&second), None);
        assert_eq!(sample(at, 500).cpu_percent_since(&first), None);
    }

    #[test]
    fn only_so_many_samples_are_kept() {
        let (measures, id) = (Measures::default(), Uuid::nil());
        for n in 0..KEPT + 5 {
            measures.add(id, sample(Instant::now(), n as u64));
        }
        let kept = measures.within(id, Duration::from_secs(3600));
        assert_eq!((kept.len(), kept[0].usage.cpu_ms), (KEPT, 5));
        measures.forget(id);
        assert!(measures.within(id, EVERY).is_empty());
    }
}
