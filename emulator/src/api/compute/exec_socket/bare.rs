//! The dialect of `exec/ws` (miosa-elixir 1.1): what is typed and what is written go as they are, and the close code tells
//! the exit code.

use axum::extract::ws::Message;
use miosa_agent::protocol::TerminalSize;
use serde::Deserialize;

use super::dialect::{Event, Order};
use crate::http::socket::{Closing, Heard};
use crate::machines::agent::Output;

pub(super) fn tell(event: Event) -> Vec<Message> {
    match event {
        Event::Output(Output::Stdout(bytes) | Output::Stderr(bytes)) => {
            vec![Message::Binary(bytes)]
        }
        Event::Output(Output::Exit(exit)) => {
            let code = u16::try_from(exit.exit_code.clamp(0, 999)).unwrap_or_default();
            vec![Closing { code: 1000 + code, reason: "" }.message()]
        }
        Event::Port { .. } => Vec::new(),
    }
}

/// Anything but a resize is typed.
pub(super) fn hear(heard: Heard) -> Order {
    match &heard {
        Heard::Text(text) if resize(text).is_some() => {
            resize(text).map_or(Order::Input(heard.into_bytes()), Order::Resize)
        }
        _ => Order::Input(heard.into_bytes()),
    }
}

/// The one message that is not typed: `{"type":"resize","cols":80,"rows":24}`.
pub(in crate::api::compute) fn resize(text: &str) -> Option<TerminalSize> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Resize {
        r#type: String,
        rows: u16,
        cols: u16,
    }
    let asked: Resize = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()?;
    (asked.r#type == "resize").then_some(TerminalSize { rows: asked.rows, cols: asked.cols })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_resize_is_not_typed() {
        let size = TerminalSize { rows: 24, cols: 80 };
        assert_eq!(
            hear(Heard::Text(r#"{"type":"resize","cols":80,"rows":24}"#.into())),
            Order::Resize(size)
        );
        for typed in
            ["ls\n", "{}", r#"{"type":"resize"}"#, r#"{"type":"resize","rows":1,"cols":2,"x":3}"#]
        {
            assert_eq!(hear(Heard::Text(typed.into())), Order::Input(typed.into()), "{typed}");
        }
    }
}
