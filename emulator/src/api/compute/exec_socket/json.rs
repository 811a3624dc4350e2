//! JSON text both ways (miosa-python 2.19, the asynchronous client).

use axum::extract::ws::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use miosa_agent::protocol::TerminalSize;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::characters::Characters;
use super::dialect::{Event, Order};
use crate::http::socket::{Closing, Heard};
use crate::machines::agent::Output;

/// A message of the client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Stdin { data: String },
    StdinClose,
    Resize(TerminalSize),
    Signal { signal: String },
}

pub(super) fn text(value: &Value) -> Message {
    Message::Text(value.to_string().into())
}

/// The message that tells how a command ended, in the words of every client.
pub(super) fn exit(code: i32) -> Message {
    text(&json!({ "type": "exit", "code": code, "exit": code, "exit_code": code }))
}

pub(super) fn tell(event: Event, stdout: &mut Characters, stderr: &mut Characters) -> Vec<Message> {
    match event {
        Event::Output(Output::Stdout(bytes)) => piece("stdout", stdout, &bytes),
        Event::Output(Output::Stderr(bytes)) => piece("stderr", stderr, &bytes),
        Event::Output(Output::Exit(ended)) => {
            let mut told = rest("stdout", stdout);
            told.append(&mut rest("stderr", stderr));
            told.extend([exit(ended.exit_code), Closing::NORMAL.message()]);
            told
        }
        Event::Port { .. } => Vec::new(),
    }
}

fn piece(name: &str, characters: &mut Characters, bytes: &Bytes) -> Vec<Message> {
    stretch(name, &characters.feed(bytes))
}

/// A character that was never finished.
fn rest(name: &str, characters: &mut Characters) -> Vec<Message> {
    stretch(name, &characters.end())
}

/// A stretch of whole characters; what is none is replaced, and then given whole in base64 beside.
fn stretch(name: &str, bytes: &[u8]) -> Vec<Message> {
    let told = match std::str::from_utf8(bytes) {
        Ok("") => return Vec::new(),
        Ok(data) => json!({ "type": name, "data": data }),
        Err(_) => json!({
            "type": name,
            "data": String::from_utf8_lossy(bytes),
            "data_base64": STANDARD.encode(bytes),
        }),
    };
    vec![text(&told)]
}

pub(super) fn hear(heard: Heard) -> Result<Option<Order>, Closing> {
    match heard {
        Heard::Text(text) => order(&text).map(Some),
        Heard::Binary(bytes) => Ok(Some(Order::Input(bytes))),
    }
}

/// What a JSON message orders.
pub(super) fn order(text: &str) -> Result<Order, Closing> {
    const UNKNOWN: Closing = Closing {
        code: 1007,
        reason: "expected JSON of type stdin, stdin_close, resize or signal",
    };
    let said: Said = serde_json::from_str(text).map_err(|_| UNKNOWN)?;
    Ok(match said {
        Said::Stdin { data } => Order::Input(data.into()),
        Said::StdinClose => Order::End,
        Said::Resize(size) => Order::Resize(size),
        Said::Signal { signal } => {
            let full = if signal.starts_with("SIG") { signal } else { format!("SIG{signal}") };
            let unknown = |_| Closing { code: 1007, reason: "no such signal" };
            Order::Signal(full.parse::<Signal>().map_err(unknown)? as i32)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_others_refused() {
        for (text, expected) in [
            (r#"{"type":"stdin","data":"é"}"#, Order::Input("é".into())),
            (r#"{"type":"stdin_close"}"#, Order::End),
            (
                r#"{"type":"resize","rows":3,"cols":4}"#,
                Order::Resize(TerminalSize { rows: 3, cols: 4 }),
            ),
            (r#"{"type":"signal","signal":"SIGKILL"}"#, Order::Signal(9)),
            (r#"{"type":"signal","signal":"INT"}"#, Order::Signal(2)),
        ] {
            assert_eq!(order(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "{}",
            "no",
            r#"{"type":"signal","signal":"SIGNO"}"#,
            r#"{"type":"resize","rows":-1,"cols":4}"#,
        ] {
            assert_eq!(order(text).unwrap_err().code, 1007, "{text}");
        }
    }

    #[test]
    fn a_character_that_was_cut_comes_whole_and_bytes_that_are_none_come_beside() {
        let (mut out, mut err) = (Characters::default(), Characters::default());
        let mut say = |bytes: &'static [u8]| {
            let told =
                tell(Event::Output(Output::Stdout(Bytes::from_static(bytes))), &mut out, &mut err);
            told.into_iter()
                .map(|message| message.into_text().unwrap().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(say(b"a\xc3"), [r#"{"type":"stdout","data":"a"}"#]);
        assert_eq!(say(b"\xa9"), [r#"{"type":"stdout","data":"é"}"#]);
        assert_eq!(
            say(b"\xff"),
            ["{\"type\":\"stdout\",\"data\":\"\u{fffd}\",\"data_base64\":\"/w==\"}"]
        );
        assert!(say(b"\xe2\x82").is_empty());
    }
}
