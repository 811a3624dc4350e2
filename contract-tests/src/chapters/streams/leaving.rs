//! Readers that leave early.

use super::lines::open;
use crate::fault::Fault;
use crate::room::sockets::{self, BOUND, Dialect};
use crate::room::way::{Ask, Way, most_of};
use crate::room::{Inside, Room, shell};
use crate::session::Session;

const WAYS: [Way; 7] = [
    Way::Stream,
    Way::Ticket,
    Way::Process,
    Way::Socket(Dialect::Frames),
    Way::Socket(Dialect::Json),
    Way::Socket(Dialect::Spawn),
    Way::Socket(Dialect::Bare),
];

pub(super) fn check(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    session.forall((0usize..6, most_of(&WAYS)), async |case, (messages, ways)| {
        let inside = room.enter(&case).await?;
        inside.make_folder().await?;
        for (n, way) in ways.into_iter().enumerate() {
            let pid = inside.path(&format!("pid-{n}"));
            let line = format!(
                "echo $$ > {}; while :; do echo tick; sleep 0.02; done",
                shell::quoted(&pid)
            );
            leave(&inside, way, &line, messages).await?;
            goes(&inside, way, &pid).await?;
        }
        Ok(())
    })
}

/// Opens it, hears some of it, and goes.
async fn leave(inside: &Inside, way: Way, line: &str, messages: usize) -> Result<(), Fault> {
    // One message at least, so that the command has begun.
    let messages = messages + 1;
    if let Way::Socket(dialect) = way {
        let mut socket = sockets::open(inside, dialect, &Ask::line(line)).await?;
        for _ in 0..messages {
            if socket.next(BOUND).await?.is_none() {
                let at = Some(socket.close());
                let expected = format!("{way:?}: another message");
                return Err(Fault::Broken { expected, got: "the end".to_owned(), at });
            }
        }
        socket.close();
        return Ok(());
    }
    let mut stream = open(inside, way, line).await?;
    for _ in 0..messages {
        if stream.next(BOUND).await?.is_none() {
            let at = Some(stream.close());
            let expected = format!("{way:?}: another event");
            return Err(Fault::Broken { expected, got: "the end".to_owned(), at });
        }
    }
    stream.close();
    Ok(())
}

/// The process is gone, unless it was started to go on by itself. And the sandbox still works, or this could not tell.
async fn goes(inside: &Inside, way: Way, pid: &str) -> Result<(), Fault> {
    let pid = shell::quoted(pid);
    if way == Way::Process {
        let said = inside.run(Way::Exec, &Ask::line(format!("kill -0 $(cat {pid})"))).await?;
        said.holds(
            said.exit == Some(0),
            "a process that goes on without its reader",
            "it is gone",
        )?;
        return inside.shell(&format!("kill -9 $(cat {pid})")).await.map(drop);
    }
    let look = format!(
        "i=0; while kill -0 $(cat {pid}) 2>/dev/null && [ $i -lt 200 ]; do sleep 0.04; i=$((i+1)); done; [ $i -lt 200 ]"
    );
    let said = inside.run(Way::Exec, &Ask::line(look)).await?;
    let what = format!("{way:?}: a command that ends when its reader has gone");
    said.holds(said.exit == Some(0), what, "eight seconds later it still runs")
}
