//! Files of a sandbox. Clients of different ages ask in different words (`fs/…`, `files/…`); all of it is one tree.
//!
//! | file | what |
//! |---|---|
//! | `path` | which paths are for files |
//! | `entry` | a file in the words of every client |
//! | `write` | one file, or many |
//! | `upload` | a form with a file |
//! | `read` | bytes and text |
//! | `bytes`, `range` | bytes as an answer, or a part of them |
//! | `archive` | whole directories in and out |
//! | `exports` | what was set aside for download |
//! | `artifacts` | what a sandbox has made |
//! | `look` | stat, list, tree |
//! | `watch` | changes, as they happen |
//! | `change` | make, move, copy, remove |

pub mod archive;
pub mod artifacts;
pub mod bytes;
pub mod change;
pub mod entry;
pub mod exports;
pub mod look;
pub mod path;
pub mod range;
pub mod read;
pub mod upload;
pub mod watch;
pub mod write;

use crate::http::Route;

/// The largest file that a request may write or read as text (`api-reference/files`: 10 MB), decoded.
pub const MAX_FILE: usize = 10 * 1024 * 1024;

/// Every route of the family.
pub fn routes() -> Vec<Route> {
    [
        write::routes(),
        upload::routes(),
        read::routes(),
        look::routes(),
        watch::routes(),
        change::routes(),
        archive::routes(),
        exports::routes(),
        artifacts::routes(),
    ]
    .into_iter()
    .flatten()
    .map(|route| route.family("files"))
    .collect()
}
