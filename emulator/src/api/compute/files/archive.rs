//! Archives: whole directories in and out, as tar, tar.gz or zip.
//!
//! The machine knows no formats: its agent gives and takes entries one by one, and what is written here becomes an
//! archive while it passes. An archive that comes in lies in a file first and is read twice: once to see that every
//! entry may be, that it is whole and no bomb, once to unpack it. So one that is refused has changed nothing.
//!
//! | file | what |
//! |---|---|
//! | `format` | which format is meant |
//! | `rules` | which entries may be |
//! | `limits` | how large an archive may become |
//! | `read_tar`, `read_zip` | entries of an archive |
//! | `write` | an archive from entries |
//! | `tar_head` | the head of an entry in a tar |
//! | `download` | out |
//! | `upload` | in |

pub mod download;
pub mod format;
mod limits;
mod read_tar;
mod read_zip;
mod rules;
mod tar_head;
pub mod upload;
mod write;

use crate::http::{ApiError, Route, codes};

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sandboxes/{id}/files/archive", download::download).scope("sandboxes:read"),
        Route::post("/sandboxes/{id}/files/archive", upload::upload)
            .scope("sandboxes:write")
            .repeatable()
            .spooled()
            .body_limit(limits::MAX_PACKED),
    ]
}

/// What is no archive, or not a whole one.
fn invalid(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(codes::INVALID_ARCHIVE, format!("The archive cannot be unpacked: {why}."))
}
