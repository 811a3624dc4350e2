//! The dialect of `exec/spawn` (miosa-go 2.0): output in binary messages whose first byte is the stream, the rest in JSON
//! text; input in binary messages as it is.

use axum::extract::ws::Message;
use serde_json::json;

use super::dialect::{Event, Order};
use super::{frames, json as text};
use crate::http::socket::{Closing, Heard};
use crate::machines::agent::Output;

pub(super) fn tell(event: Event) -> Vec<Message> {
    match event {
        Event::Output(Output::Exit(exit)) => {
            vec![text::exit(exit.exit_code), Closing::NORMAL.message()]
        }
        Event::Output(piece) => frames::output(&piece).into_iter().collect(),
        Event::Port { number, open } => {
            let action = if open { "opened" } else { "closed" };
            vec![text::text(&json!({ "type": "port", "port": number, "action": action }))]
        }
    }
}

pub(super) fn hear(heard: Heard) -> Result<Option<Order>, Closing> {
    text::hear(heard)
}
