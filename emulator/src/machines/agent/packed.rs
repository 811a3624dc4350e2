//! Files in and out of a machine as one stream, without an archive's format.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use miosa_agent::packed::{Packed, Unpacked};
use miosa_agent::protocol::frame;

use super::content::{PIECE_TIME, query};
use super::running::{Frames, parse};
use super::{Agent, Body, MachineError, bounded, json, unreachable, whole};

/// How long unpacking may take: the largest archive on a slow disk.
const UNPACK_TIME: Duration = Duration::from_secs(600);

/// What a [`PackedStream`] brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next entry.
    Entry(Packed),
    /// Bytes of that entry.
    Bytes(Bytes),
}

/// A file, or what a directory holds, as it comes.
pub struct PackedStream {
    frames: Frames,
    ended: bool,
}

impl PackedStream {
    /// The next piece; `None` at the end. What breaks off on the way is an error, never a short stream.
    pub async fn next(&mut self) -> Result<Option<Piece>, MachineError> {
        if self.ended {
            return Ok(None);
        }
        match bounded("packing files", PIECE_TIME, self.frames.next()).await? {
            Some((frame::ENTRY, entry)) => {
                let entry = Packed::decode(&entry).ok_or_else(|| unreachable("no entry"))?;
                Ok(Some(Piece::Entry(entry)))
            }
            Some((frame::DATA, bytes)) => Ok(Some(Piece::Bytes(bytes))),
            Some((frame::END, _)) => {
                self.ended = true;
                Ok(None)
            }
            Some((frame::FAILED, failure)) => Err(MachineError::Agent(parse(&failure)?)),
            _ => Err(unreachable("the packed files broke off")),
        }
    }
}

pub(super) async fn pack(agent: &Agent, path: &str) -> Result<PackedStream, MachineError> {
    let target = format!("/v1/pack?{}", query(&[("path", path)])?);
    let answer = agent.request(Method::GET, &target, whole(Bytes::new())).await?;
    let frames = Frames::of(answer);
    Ok(PackedStream { frames, ended: false })
}

pub(super) async fn unpack(
    agent: &Agent,
    path: &str,
    frames: Body,
) -> Result<Unpacked, MachineError> {
    let target = format!("/v1/unpack?{}", query(&[("path", path)])?);
    bounded("unpacking files", UNPACK_TIME, async {
        json(agent.request(Method::PUT, &target, frames).await?).await
    })
    .await
}
