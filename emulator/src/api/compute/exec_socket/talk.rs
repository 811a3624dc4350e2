//! The conversation: what the command says goes out as fast as the client takes it, what the client sends goes in as fast as
//! the command takes it.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dialect::{Dialect, Event, Order, Teller};
use super::ports;
use crate::api::compute::exec::witness::Witness;
use crate::defects::defect;
use crate::http::socket::{Closing, Heard, Listener, converse};
use crate::machines::Agent;
use crate::machines::agent::{Input, Output, Running};

/// This many messages wait for a command that does not read: while there is room, the client's end is seen at once.
const AHEAD: usize = 4;

/// A command and who talks with it.
pub(super) struct Talk {
    pub(super) running: Running,
    pub(super) witness: Witness,
    pub(super) agent: Arc<Agent>,
    pub(super) dialect: Dialect,
    /// The ports that listened before it started, when changes are to be told.
    pub(super) listening: Option<BTreeSet<u16>>,
    pub(super) stopping: CancellationToken,
}

impl Talk {
    /// Talks to the end of the command or of the socket, whichever comes first; both are over then.
    pub(super) async fn over(self, socket: WebSocket) {
        let Self { running, witness, agent, dialect, listening, stopping } = self;
        let (orders, ordered) = mpsc::channel(AHEAD);
        let ear = Ear { dialect, pid: running.pid, agent: agent.clone(), orders };
        let feeding = feed(running.input(), ordered);
        let ports = match listening {
            Some(known) => ports::changes(agent, known).map(Some).boxed(),
            None => stream::pending().boxed(),
        };
        let said = said(outputs(running, witness), ports, Teller::new(dialect));
        tokio::select! {
            () = converse(socket, said, ear, &stopping) => {}
            never = feeding => match never {},
        }
    }
}

/// What the command says; `None` when its agent is lost. Dropping it kills the command.
fn outputs(running: Running, witness: Witness) -> impl Stream<Item = Option<Event>> + Send {
    stream::unfold((running, witness), |(mut running, mut witness)| async move {
        let output = running.next().await?.ok();
        if let Some(output) = &output {
            witness.see(output);
        }
        Some((output.map(Event::Output), (running, witness)))
    })
}

/// The messages, to the one that closes.
fn said(
    outputs: impl Stream<Item = Option<Event>> + Send,
    ports: BoxStream<'static, Option<Event>>,
    teller: Teller,
) -> impl Stream<Item = Message> + Send {
    let events = Box::pin(stream::select(outputs, ports));
    let state = (events, teller, VecDeque::new(), false);
    stream::unfold(state, |(mut events, mut teller, mut waiting, mut ended)| async move {
        loop {
            if let Some(message) = waiting.pop_front() {
                return Some((message, (events, teller, waiting, ended)));
            }
            if ended {
                return None;
            }
            let event = events.next().await??;
            ended = matches!(event, Event::Output(Output::Exit(_)));
            if defect!(SocketWithoutExit) && ended {
                waiting.push_back(Closing::NORMAL.message());
                continue;
            }
            waiting.extend(teller.tell(event));
        }
    })
}

/// Gives the command what was ordered. A command that has ended takes nothing; its exit is on its way.
async fn feed(input: Input, mut ordered: mpsc::Receiver<Order>) -> Infallible {
    while let Some(order) = ordered.recv().await {
        let _ = match order {
            Order::Input(bytes) => input.write(bytes).await,
            Order::End => input.end().await,
            Order::Resize(size) => input.resize(size).await,
            Order::Signal(_) => Ok(()),
        };
    }
    std::future::pending().await
}

struct Ear {
    dialect: Dialect,
    pid: i32,
    agent: Arc<Agent>,
    orders: mpsc::Sender<Order>,
}

impl Listener for Ear {
    async fn hear(&mut self, heard: Heard) -> Result<(), Closing> {
        match self.dialect.hear(heard)? {
            None => {}
            // Past the input that waits: a command that reads nothing must still be stopped.
            Some(Order::Signal(signal)) => drop(self.agent.signal(self.pid, signal).await),
            Some(order) => drop(self.orders.send(order).await),
        }
        Ok(())
    }
}
