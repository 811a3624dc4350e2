//! What is written is read.

use super::names::{content, path};
use super::spellings::{Reader, Writer, most_of};
use crate::fault::Fault;
use crate::room::Room;
use crate::session::Session;

pub(super) fn round(session: &Session) -> Result<(), Fault> {
    let room = Room::prepare(session)?;
    let drawn = (path(), content(), most_of(&Writer::ALL), most_of(&Reader::ALL));
    session.forall(drawn, async |case, (path, bytes, writers, readers)| {
        let inside = room.enter(&case).await?;
        for (n, writer) in writers.iter().enumerate() {
            let path = inside.path(&format!("{n}/{path}"));
            writer.write(&inside, &path, &bytes).await?;
            if let Some(reader) = readers.get(n % readers.len().max(1)) {
                reader.wants(&inside, &path, &bytes).await?;
            }
            // A file that is there is replaced, never appended to or left longer than it is now.
            if n == 0 && bytes.len() < 100 {
                writer.write(&inside, &path, b"new").await?;
                Reader::FilesDownload.wants(&inside, &path, b"new").await?;
            }
        }
        Ok(())
    })
}
