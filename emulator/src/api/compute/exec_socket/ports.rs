//! Ports of the machine that begin and end to listen while a command runs.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use miosa_agent::protocol::Ports;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::dialect::{Dialect, Event};
use crate::machines::Agent;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The ports that listen now; `None` when the dialect does not tell them.
pub(super) async fn listening(agent: &Agent, dialect: Dialect) -> Option<BTreeSet<u16>> {
    if !dialect.tells_ports() {
        return None;
    }
    // An agent that does not answer is noticed by the command's own stream.
    agent.ports().await.ok().map(numbers)
}

fn numbers(found: Ports) -> BTreeSet<u16> {
    found.ports.into_iter().map(|port| port.port).collect()
}

/// The changes since those listened; never ends.
pub(super) fn changes(agent: Arc<Agent>, known: BTreeSet<u16>) -> impl Stream<Item = Event> + Send {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { agent, looks, known, changed: VecDeque::new() };
    stream::unfold(watch, |mut watch| async move { Some((watch.next().await, watch)) })
}

struct Watch {
    agent: Arc<Agent>,
    looks: Interval,
    known: BTreeSet<u16>,
    changed: VecDeque<Event>,
}

impl Watch {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(change) = self.changed.pop_front() {
                return change;
            }
            self.looks.tick().await;
            let Ok(found) = self.agent.ports().await else { continue };
            let now = numbers(found);
            let opened =
                now.difference(&self.known).map(|&number| Event::Port { number, open: true });
            let closed =
                self.known.difference(&now).map(|&number| Event::Port { number, open: false });
            self.changed.extend(opened.chain(closed));
            self.known = now;
        }
    }
}
