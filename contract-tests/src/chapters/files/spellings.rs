//! Every way to write a file and to read it: clients of different ages use different ones, and all are one tree.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Reply;
use crate::fault::Fault;
use crate::room::{Inside, base64, encode, said};

/// A way to write a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// `POST /fs/write`, base64.
    FsWrite,
    /// `POST /fs/write`, the text itself; base64 of what is none.
    FsWriteText,
    /// `POST /fs/write-many`.
    FsWriteMany,
    /// `POST /files`.
    Files,
    /// `POST /files/write-many`.
    FilesWriteMany,
    /// `POST /files/batch`.
    FilesBatch,
    /// `POST /files/upload`, the path before the file.
    UploadTo,
    /// `POST /files/upload`, the path after the file.
    UploadLast,
}

impl Writer {
    pub(super) const ALL: [Self; 8] = [
        Self::FsWrite,
        Self::FsWriteText,
        Self::FsWriteMany,
        Self::Files,
        Self::FilesWriteMany,
        Self::FilesBatch,
        Self::UploadTo,
        Self::UploadLast,
    ];

    /// Sends the file.
    pub(super) async fn send(
        self,
        inside: &Inside,
        path: &str,
        bytes: &[u8],
    ) -> Result<Reply, Fault> {
        let encoded = || json!({ "path": path, "content_base64": base64(bytes) });
        let older = || json!({ "path": path, "content": base64(bytes) });
        let sending = match (self, std::str::from_utf8(bytes)) {
            (Self::FsWriteText, Ok(text)) => {
                inside.post("/fs/write", json!({ "path": path, "content": text }))
            }
            (Self::FsWrite | Self::FsWriteText, _) => inside.post("/fs/write", encoded()),
            (Self::FsWriteMany, _) => {
                inside.post("/fs/write-many", json!({ "files": [encoded()] }))
            }
            (Self::Files, _) => inside.post("/files", older()),
            (Self::FilesWriteMany, _) => {
                inside.post("/files/write-many", json!({ "files": [encoded()] }))
            }
            (Self::FilesBatch, _) => inside.post("/files/batch", json!({ "files": [older()] })),
            (Self::UploadTo | Self::UploadLast, _) => {
                let body = form(Some(path), "a.bin", bytes, self == Self::UploadTo);
                inside
                    .client
                    .request(http::Method::POST, inside.at("/files/upload"))
                    .bytes(&format!("multipart/form-data; boundary={BOUNDARY}"), body)
            }
        };
        sending.send().await
    }

    /// Writes the file.
    pub(super) async fn write(
        self,
        inside: &Inside,
        path: &str,
        bytes: &[u8],
    ) -> Result<Reply, Fault> {
        let reply = self.send(inside, path, bytes).await?;
        if !matches!(self, Self::FsWriteMany | Self::FilesWriteMany | Self::FilesBatch) {
            return reply.expect(201);
        }
        let reply = reply.expect(200)?;
        let failed = reply.data()?["failed"].clone();
        let none = failed.as_array().is_none_or(Vec::is_empty);
        reply.holds(none, format!("{self:?} writes {path:?}"), failed.to_string())?;
        Ok(reply)
    }
}

const BOUNDARY: &str = "contract-7f3a19c2e5d84b60";

/// A form with a file.
pub(super) fn form(path: Option<&str>, filename: &str, bytes: &[u8], path_first: bool) -> Bytes {
    let file = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let file = [file.as_bytes(), bytes, b"\r\n"].concat();
    let path = path.map_or(String::new(), |path| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n{path}\r\n")
    });
    let end = format!("--{BOUNDARY}--\r\n");
    let parts = if path_first {
        [path.as_bytes(), &file, end.as_bytes()]
    } else {
        [&file, path.as_bytes(), end.as_bytes()]
    };
    parts.concat().into()
}

/// The type of such a form.
pub(super) fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// A way to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// `GET /fs/download`.
    FsDownload,
    /// `GET /files/download`.
    FilesDownload,
    /// `GET /files/{path}`.
    ByPath,
    /// `GET /exports/download`.
    Export,
    /// `GET /fs/read`.
    FsRead,
    /// `GET /files/read`.
    FilesRead,
}

impl Reader {
    pub(super) const ALL: [Self; 6] = [
        Self::FsDownload,
        Self::FilesDownload,
        Self::ByPath,
        Self::Export,
        Self::FsRead,
        Self::FilesRead,
    ];

    /// Those that answer bytes as they are.
    pub(super) const BYTES: [Self; 4] =
        [Self::FsDownload, Self::FilesDownload, Self::ByPath, Self::Export];

    /// The request.
    pub(super) fn request(self, inside: &Inside, path: &str) -> crate::case::Sending {
        match self {
            Self::FsDownload => inside.get_path("/fs/download", path),
            Self::FilesDownload => inside.get_path("/files/download", path),
            Self::Export => inside.get_path("/exports/download", path),
            Self::FsRead => inside.get_path("/fs/read", path),
            Self::FilesRead => inside.get_path("/files/read", path),
            Self::ByPath => {
                let parts: Vec<String> =
                    path.trim_start_matches('/').split('/').map(encode).collect();
                inside.get(&format!("/files/{}", parts.join("/")))
            }
        }
    }

    /// The bytes of an answer with 200.
    pub(super) fn bytes(self, reply: &Reply) -> Result<Bytes, Fault> {
        if Self::BYTES.contains(&self) {
            return Ok(reply.body.clone());
        }
        let data = reply.data()?;
        reply.holds(data["content"].is_string(), "text in data.content", reply.summary())?;
        Ok(said::bytes(&data, "content").into())
    }

    /// Reads the file and wants these bytes.
    pub(super) async fn wants(
        self,
        inside: &Inside,
        path: &str,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let reply = self.request(inside, path).send().await?.expect(200)?;
        said::same(&reply, &format!("{self:?} of {path:?}"), bytes, &self.bytes(&reply)?)
    }
}

/// Nearly all of these; a failure shrinks to those that show it.
pub(super) fn most_of<T: std::fmt::Debug + Copy + 'static>(
    all: &'static [T],
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(prop::bool::weighted(0.9), all.len()).prop_map(|taken| {
        all.iter().zip(taken).filter_map(|(one, taken)| taken.then_some(*one)).collect()
    })
}

/// The entries of a directory, by their paths, some levels deep.
pub(super) fn entries(reply: &Reply) -> Result<Vec<Value>, Fault> {
    let data = reply.data()?;
    match data["entries"].as_array().or_else(|| data["files"].as_array()) {
        Some(entries) => Ok(entries.clone()),
        None => Err(reply.broken("a list in data.entries", reply.summary())),
    }
}
