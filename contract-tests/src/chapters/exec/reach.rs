//! What is given to a command.

use proptest::prelude::*;
use serde_json::json;

use crate::fault::Fault;
use crate::room::said::Said;
use crate::room::way::{Ask, Way, most_of};
use crate::room::{Room, shell};
use crate::session::Session;

/// Text that quoting, encoding or splitting might spoil. Without NUL, which no argument can hold.
pub(super) fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        " ", "  ", "'", "\"", "\\", "$HOME", "`id`", "$(id)", "\n", "\t", "&", ";", "|", ">", "*",
        "~", "%41", "%", "+", "=", ",", "#", "!", "-n", "{}", "é", "€", "🦀", "\u{202e}", "a", "b",
    ]);
    prop::collection::vec(odd, 0..6).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = String> {
    "MC_[A-Z_][A-Za-z0-9_]{0,12}"
}

pub(super) fn everything(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let folder = text().prop_map(|text| format!("d{text}"));
    let drawn = (folder, name(), text(), text(), text(), most_of(&Way::ALL));
    session.forall(drawn, async |case, (folder, name, value, input, word, ways)| {
        let inside = room.enter(&case).await?;
        let folder = inside.path(&folder);
        inside.post("/files/mkdir", json!({ "path": folder })).send().await?.needs(201)?;
        // The input's end cannot be told on each way, so the command knows how much there is.
        let line = format!(
            "printf '[%s]' \"$PWD\" \"${name}\" {}; head -c {}",
            shell::quoted(&word),
            input.len()
        );
        let expected = format!("[{folder}][{value}][{word}]{input}");
        let ask = Ask {
            env: vec![(name, value.clone())],
            cwd: Some(folder.clone()),
            stdin: (!input.is_empty()).then(|| input.clone()),
            ..Ask::line(line)
        };
        for way in ways {
            let said = inside.run(way, &ask).await?;
            let named = format!("{way:?}: directory, variable, word and input");
            said.wrote(&named, expected.as_bytes(), &said.stdout)?;
        }
        // A program with its arguments, no shell between (`develop/files-and-exec`).
        let argv = json!({ "cmd": "printf", "args": ["[%s]", word, value] });
        let said = Said::answered(inside.post("/exec", argv).send().await?)?;
        said.wrote("exec with args", format!("[{word}][{value}]").as_bytes(), &said.stdout)
    })
}
