//! What commands say.

use proptest::prelude::*;

use crate::fault::Fault;
use crate::room::sockets::Dialect;
use crate::room::way::{Ask, Way, most_of};
use crate::room::{Room, shell};
use crate::session::Session;

/// A piece of output: to which stream, of which letter, how often.
fn pieces() -> impl Strategy<Value = Vec<(bool, char, usize)>> {
    let sizes = prop_oneof![
        4 => 1usize..40,
        2 => prop::sample::select(vec![4095usize, 4096, 4097]),
        2 => prop::sample::select(vec![65_535usize, 65_536, 65_537, 100_000]),
    ];
    let letters = prop::sample::select(vec!['a', 'b', 'Z', '7']);
    prop::collection::vec((any::<bool>(), letters, sizes), 1..5)
}

pub(super) fn apart(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((pieces(), most_of(&Way::ALL)), async |case, (pieces, ways)| {
        let inside = room.enter(&case).await?;
        let (mut out, mut err, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for (to_stderr, letter, times) in pieces {
            let bytes = vec![letter as u8; times];
            lines.push(shell::says(&bytes, to_stderr));
            if to_stderr { &mut err } else { &mut out }.extend_from_slice(&bytes);
        }
        let line = lines.join("; ");
        for way in ways {
            let said = inside.run(way, &Ask::line(line.clone())).await?;
            said.ended(&format!("{way:?}"), 0)?;
            if way.tells_apart() {
                said.wrote(&format!("{way:?}: stdout"), &out, &said.stdout)?;
                said.wrote(&format!("{way:?}: stderr"), &err, &said.stderr)?;
            } else {
                let got = said.stdout.len();
                let all = out.len() + err.len();
                said.holds(got == all, format!("{way:?}: {all} bytes"), format!("{got} bytes"))?;
            }
        }
        Ok(())
    })
}

/// Bytes that some layer might not like.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::sample::select(vec![
        &b"\0"[..],
        b"\xff",
        b"\xc3",
        b"\xa9",
        b"\x1b[31m",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"data: x",
        b"event: exit",
        "\u{2028}".as_bytes(),
        "\u{85}".as_bytes(),
        "é€🦀".as_bytes(),
        "\u{feff}".as_bytes(),
        b"\\n\"'",
        b"[DONE]",
    ]);
    let any = prop::collection::vec(any::<u8>(), 0..20);
    let piece = prop_oneof![3 => odd.prop_map(<[u8]>::to_vec), 1 => any];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

/// Those that promise the bytes themselves.
const EXACT: [Way; 6] = [
    Way::Exec,
    Way::Commands,
    Way::Python,
    Way::Socket(Dialect::Frames),
    Way::Socket(Dialect::Spawn),
    Way::Socket(Dialect::Bare),
];

pub(super) fn any_bytes(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((bytes(), most_of(&EXACT)), async |case, (bytes, ways)| {
        let inside = room.enter(&case).await?;
        let path = inside.path("said");
        inside.put(&path, &bytes).await?;
        for way in ways {
            let said = inside.run(way, &Ask::line(format!("cat {path}"))).await?;
            said.wrote(&format!("{way:?}"), &bytes, &said.stdout)?;
        }
        // Whole text needs no second form, and what is none shows its text all the same.
        let reply = inside
            .post("/exec", serde_json::json!({ "command": format!("cat {path}") }))
            .send()
            .await?
            .expect(200)?;
        let (data, text) = (reply.data()?, String::from_utf8_lossy(&bytes).into_owned());
        reply.holds(
            data["stdout"] == text.as_str(),
            format!("stdout {text:?}"),
            format!("{}", data["stdout"]),
        )
    })
}
