//! `miosa-exec-v1` (miosa-typescript, miosa-go 2.0): binary messages whose first byte says what they are.

use axum::extract::ws::Message;
use bytes::{BufMut as _, Bytes, BytesMut};
use miosa_agent::protocol::TerminalSize;
use serde_json::json;

use super::dialect::{Event, Order};
use crate::http::socket::{Closing, Heard};
use crate::machines::agent::Output;

const STDIN: u8 = 0x00;
const STDOUT: u8 = 0x01;
const STDERR: u8 = 0x02;
const EXIT: u8 = 0x03;
const STDIN_END: u8 = 0x04;
const RESIZE: u8 = 0x05;
const PORT_OPENED: u8 = 0x10;
const PORT_CLOSED: u8 = 0x11;

/// One message: a byte and what it announces.
pub(super) fn frame(kind: u8, payload: &[u8]) -> Message {
    let mut frame = BytesMut::with_capacity(1 + payload.len());
    frame.put_u8(kind);
    frame.put_slice(payload);
    Message::Binary(frame.freeze())
}

/// A piece of output; both streams have the same bytes in every framed dialect.
pub(super) fn output(output: &Output) -> Option<Message> {
    match output {
        Output::Stdout(bytes) => Some(frame(STDOUT, bytes)),
        Output::Stderr(bytes) => Some(frame(STDERR, bytes)),
        Output::Exit(_) => None,
    }
}

pub(super) fn tell(event: Event) -> Vec<Message> {
    match event {
        Event::Output(Output::Exit(exit)) => {
            vec![frame(EXIT, &exit.exit_code.to_be_bytes()), Closing::NORMAL.message()]
        }
        Event::Output(piece) => output(&piece).into_iter().collect(),
        Event::Port { number, open } => {
            let kind = if open { PORT_OPENED } else { PORT_CLOSED };
            vec![frame(kind, json!({ "port": number }).to_string().as_bytes())]
        }
    }
}

/// Kinds that nobody knows are left aside: a newer client may have more to say.
pub(super) fn hear(heard: Heard) -> Result<Option<Order>, Closing> {
    let Heard::Binary(mut message) = heard else {
        return Err(Closing { code: 1003, reason: "miosa-exec-v1 has binary frames only" });
    };
    if message.is_empty() {
        return Ok(None);
    }
    let kind = message.split_to(1);
    Ok(match kind.first().copied().unwrap_or_default() {
        STDIN => Some(Order::Input(message)),
        STDIN_END => Some(Order::End),
        RESIZE => Some(Order::Resize(size(&message)?)),
        _ => None,
    })
}

fn size(payload: &Bytes) -> Result<TerminalSize, Closing> {
    match *payload.as_ref() {
        [a, b, c, d] => {
            Ok(TerminalSize { rows: u16::from_be_bytes([a, b]), cols: u16::from_be_bytes([c, d]) })
        }
        _ => Err(Closing { code: 1002, reason: "a resize frame has four bytes: rows and columns" }),
    }
}

#[cfg(test)]
mod tests {
    use miosa_agent::protocol::Exit;

    use super::*;

    fn heard(bytes: &'static [u8]) -> Result<Option<Order>, Closing> {
        hear(Heard::Binary(Bytes::from_static(bytes)))
    }

    #[test]
    fn each_frame_says_what_it_is() {
        let size = TerminalSize { rows: 40, cols: 300 };
        assert_eq!(heard(b"\x00a\xff").unwrap(), Some(Order::Input(Bytes::from_static(b"a\xff"))));
        assert_eq!(heard(b"\x00").unwrap(), Some(Order::Input(Bytes::new())));
        assert_eq!(heard(b"\x04").unwrap(), Some(Order::End));
        assert_eq!(heard(b"\x05\x00\x28\x01\x2c").unwrap(), Some(Order::Resize(size)));
        assert_eq!(heard(b"\x77later").unwrap(), None);
        assert_eq!(heard(b"").unwrap(), None);
        assert_eq!(heard(b"\x05\x00").unwrap_err().code, 1002);
        assert_eq!(hear(Heard::Text("x".into())).unwrap_err().code, 1003);
    }

    #[test]
    fn an_exit_is_four_bytes_and_the_end() {
        let exit = Exit { exit_code: -1, signal: None, timed_out: false, duration_ms: 1 };
        let told = tell(Event::Output(Output::Exit(exit)));
        assert_eq!(told[0], Message::Binary(Bytes::from_static(b"\x03\xff\xff\xff\xff")));
        assert!(matches!(&told[1], Message::Close(Some(close)) if close.code == 1000));
        let told = tell(Event::Port { number: 3000, open: true });
        assert_eq!(told, [Message::Binary(Bytes::from_static(b"\x10{\"port\":3000}"))]);
    }
}
