//! Talking with a command on a WebSocket.

use proptest::prelude::*;

use crate::fault::Fault;
use crate::room::said::Said;
use crate::room::sockets::{self, BOUND, Dialect};
use crate::room::way::Ask;
use crate::room::{Inside, Room};
use crate::session::Session;

/// All dialects.
const ALL: [Dialect; 4] = [Dialect::Frames, Dialect::Json, Dialect::Spawn, Dialect::Bare];

pub(super) fn echoed(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let sizes = prop_oneof![
        3 => 1usize..20,
        1 => prop::sample::select(vec![4095usize, 4096, 4097, 65_535, 65_536, 65_537, 150_000]),
    ];
    let letters = prop::sample::select(vec!["a", "é", "\n", "{", "🦀", "x"]);
    let pieces = prop::collection::vec((letters, sizes), 1..5);
    let dialects = prop::collection::vec(prop::bool::weighted(0.9), ALL.len());
    session.forall((pieces, 0u8..2, dialects), async |case, (pieces, code, taken)| {
        let inside = room.enter(&case).await?;
        let typed: Vec<Vec<u8>> =
            pieces.iter().map(|(letter, times)| letter.repeat(*times).into_bytes()).collect();
        for (dialect, taken) in ALL.into_iter().zip(taken) {
            if taken {
                one(&inside, dialect, &typed, code).await?;
            }
        }
        Ok(())
    })
}

async fn one(inside: &Inside, dialect: Dialect, typed: &[Vec<u8>], code: u8) -> Result<(), Fault> {
    let all = typed.concat();
    // Where the end of input can be told, `cat` waits for it; else the command knows how much comes, and says each piece
    // again before it takes the next.
    let reads = match dialect.ends() {
        Some(_) => "cat".to_owned(),
        None => {
            let heads = typed.iter().map(|piece| format!("head -c {}", piece.len()));
            heads.collect::<Vec<_>>().join("; ")
        }
    };
    let ask = Ask::line(format!("printf ready; {reads}; printf done >&2; exit {code}"));
    let mut socket = sockets::open(inside, dialect, &ask).await?;
    if dialect == Dialect::Frames {
        let echoed = socket.header("sec-websocket-protocol").map(str::to_owned);
        if echoed.as_deref() != Some("miosa-exec-v1") {
            let at = Some(socket.close());
            let expected = "the subprotocol miosa-exec-v1".to_owned();
            return Err(Fault::Broken { expected, got: format!("{echoed:?}"), at });
        }
    }
    // It speaks before it is spoken to.
    let mut said = Said::default();
    while said.stdout != b"ready" {
        match socket.next(BOUND).await {
            Ok(Some(message)) if !message.is_close() => sockets::hear(&mut said, dialect, &message),
            _ => {
                said.at = socket.close();
                return said.wrote(&format!("{dialect:?}"), b"ready", &said.stdout);
            }
        }
    }
    // Read while it is written: a command that says all again stops reading when nobody listens.
    let rest = converse(socket, dialect, typed).await?;
    let expected = if dialect == Dialect::Bare { [&all[..], b"done"].concat() } else { all };
    rest.wrote(&format!("{dialect:?}: what was typed"), &expected, &rest.stdout)?;
    if dialect != Dialect::Bare {
        rest.wrote(&format!("{dialect:?}: stderr"), b"done", &rest.stderr)?;
    }
    rest.ended(&format!("{dialect:?}"), code.into())
}

async fn converse(
    mut socket: crate::case::socket::Socket,
    dialect: Dialect,
    typed: &[Vec<u8>],
) -> Result<Said, Fault> {
    let mut said = Said::default();
    let mut heard = 0;
    for piece in typed {
        socket.say(dialect.types(piece)).await;
        heard += piece.len();
        while said.stdout.len() < heard {
            match socket.next(BOUND).await {
                Ok(Some(message)) if !message.is_close() => {
                    sockets::hear(&mut said, dialect, &message);
                }
                _ => {
                    let got = format!("{} bytes", said.stdout.len());
                    said.at = socket.close();
                    return Err(said.broken(format!("{dialect:?}: {heard} bytes back"), got));
                }
            }
        }
    }
    if let Some(end) = dialect.ends() {
        socket.say(end).await;
    }
    let rest = sockets::rest(socket, dialect).await?;
    Ok(Said {
        stdout: [said.stdout, rest.stdout].concat(),
        stderr: [said.stderr, rest.stderr].concat(),
        ..rest
    })
}
