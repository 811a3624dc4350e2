//! How commands end: their code, their timeout, and beside one another.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proptest::prelude::*;

use crate::fault::Fault;
use crate::room::way::{Ask, Way, most_of};
use crate::room::{Inside, Room, shell};
use crate::session::Session;

pub(super) fn code(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let codes = prop_oneof![
        Just(0u8),
        Just(1),
        prop::sample::select(vec![2, 126, 127, 128, 129, 137, 254, 255]),
        any::<u8>()
    ];
    session.forall((codes, most_of(&Way::ALL)), async |case, (code, ways)| {
        let inside = room.enter(&case).await?;
        for way in ways {
            let said = inside.run(way, &Ask::line(format!("exit {code}"))).await?;
            said.ended(&format!("{way:?}"), code.into())?;
            said.holds(!said.timed_out, format!("{way:?}: no timeout"), "timed_out is true")?;
        }
        Ok(())
    })
}

/// Nobody waits longer for what should have ended after a second.
const LATE: Duration = Duration::from_secs(12);

/// Those that take a timeout and say that it was over.
const TIMED: [Way; 6] =
    [Way::Exec, Way::Commands, Way::Stream, Way::Ticket, Way::Python, Way::Process];

pub(super) fn timeout(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let waits = prop_oneof![
        Just("sleep 45"),
        Just("trap '' TERM INT HUP; sleep 45; sleep 45"),
        Just("sleep 45 & sleep 45; wait"),
        Just("while :; do sleep 0.05; done"),
    ];
    session.forall((waits, most_of(&TIMED)), async |case, (waits, ways)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        let asked = ways.iter().enumerate().map(|(n, way)| timed(&inside, n, *way, waits));
        join_all(asked).await.into_iter().collect()
    })
}

async fn timed(inside: &Inside, n: usize, way: Way, waits: &str) -> Result<(), Fault> {
    let mark = inside.path(&format!("pid-{n}"));
    let line = format!("echo $$ > {}; echo begun; {waits}", shell::quoted(&mark));
    let since = Instant::now();
    let ask = Ask { timeout: Some(1), ..Ask::line(line) };
    let said = inside.run(way, &ask).await?;
    let took = since.elapsed();
    let named = format!("{way:?} with a timeout of 1 s");
    said.holds(
        said.timed_out,
        format!("{named}: timed_out"),
        format!("exit code {:?}", said.exit),
    )?;
    said.ended(&named, -1)?;
    said.wrote(&named, b"begun\n", &said.stdout)?;
    said.holds(
        took > Duration::from_millis(900) && took < LATE,
        format!("{named}: an answer after about a second"),
        format!("one after {} ms", took.as_millis()),
    )?;
    let look = format!(
        "n=0; while kill -0 $(cat {}) 2>/dev/null && [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done; [ $n -lt 100 ]",
        shell::quoted(&mark)
    );
    let looked = inside.run(Way::Exec, &Ask::line(look)).await?;
    looked.holds(
        looked.exit == Some(0),
        format!("{named}: its process is gone"),
        "five seconds later it still runs",
    )
}

pub(super) fn side_by_side(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((2usize..4, most_of(&Way::ALL)), async |case, (all, ways)| {
        let inside = room.enter(&case).await?;
        // Of one way at a time: a server that lets commands wait may do so in one family only.
        for (round, way) in ways.into_iter().enumerate() {
            let folder = shell::quoted(&inside.path(&format!("round-{round}")));
            let runs = (0..all).map(async |n| {
                // Some seconds, for a computer that is busy with other things.
                let line = format!(
                    "mkdir -p {folder}; cd {folder}; : > begun-{n}; i=0; while [ $(ls | wc -l) -lt {all} ]; do sleep 0.03; i=$((i+1)); [ $i -gt 150 ] && exit 9; done; echo I am {n}; exit {n}"
                );
                let said = inside.run(way, &Ask::line(line)).await?;
                said.holds(
                    said.exit != Some(9),
                    format!("{way:?}: a command that runs beside {} others", all - 1),
                    "one that waited in vain for the others to begin",
                )?;
                said.wrote(&format!("{way:?}"), format!("I am {n}\n").as_bytes(), &said.stdout)?;
                said.ended(&format!("{way:?}"), n as i64)
            });
            join_all(runs).await.into_iter().collect::<Result<(), Fault>>()?;
        }
        Ok(())
    })
}
