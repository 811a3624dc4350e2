//! What is kept of an export, and what clients read of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::archive::format::Format;
use crate::clock::Timestamp;
use crate::http::paths::BASE;
use crate::http::{ApiError, ApiResult};
use crate::store::{Keys, Resource};

/// An export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The sandbox's workspace.
    pub workspace_id: Uuid,
    /// Whose files.
    pub sandbox_id: Uuid,
    /// The client's own.
    pub label: Option<String>,
    /// What the download is called.
    pub filename: Option<String>,
    /// What was set aside.
    pub files: Vec<Exported>,
    /// When.
    pub created_at: Timestamp,
}

/// One path of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Absolute and clean.
    pub path: String,
    /// How large the file was; `None` of a directory.
    pub size_bytes: Option<u64>,
}

impl Exported {
    /// Whether it is what a directory holds.
    pub fn is_directory(&self) -> bool {
        self.size_bytes.is_none()
    }

    /// The name that its download has.
    fn filename(&self) -> String {
        let name = self.path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("root");
        match self.size_bytes {
            Some(_) => name.to_owned(),
            None => format!("{name}.{}", Format::TarGz.extension()),
        }
    }
}

impl Export {
    /// Where all of it can be had as one archive, below `/api/v1`.
    pub fn archive_path(&self) -> String {
        match self.files.as_slice() {
            [one] => {
                let query = [("path", one.path.as_str()), ("format", Format::TarGz.extension())];
                format!("/sandboxes/{}/files/archive?{}", self.sandbox_id, encoded(&query))
            }
            several => {
                let mut query: Vec<_> =
                    several.iter().map(|file| ("paths[]", file.path.as_str())).collect();
                query.extend(self.filename.as_deref().map(|name| ("filename", name)));
                self.download_path(&query)
            }
        }
    }

    fn download_path(&self, query: &[(&str, &str)]) -> String {
        format!("/sandboxes/{}/exports/download?{}", self.sandbox_id, encoded(query))
    }
}

fn encoded(query: &[(&str, &str)]) -> String {
    // Texts cannot fail to be encoded.
    serde_urlencoded::to_string(query).unwrap_or_default()
}

/// The name of a download: the last part of what was asked for.
///
/// # Errors
/// 422 for one that names nothing.
pub fn filename(text: &str) -> ApiResult<String> {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let fits = !matches!(name, "" | "." | "..") && name.len() <= 255;
    if fits && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    Err(ApiError::field("filename", "must name a file, in at most 255 bytes"))
}

/// What clients read (miosa-python 2.19; guide/files-and-exec). URLs are relative to the server (miosa-cli).
pub fn show(export: &Export) -> Value {
    let alone = export.files.len() == 1;
    let files: Vec<Value> = export
        .files
        .iter()
        .map(|file| {
            let name = export.filename.clone().filter(|_| alone);
            let name = name.unwrap_or_else(|| file.filename());
            let query = [("path", file.path.as_str()), ("filename", name.as_str())];
            json!({
                "path": file.path,
                "filename": name,
                "type": if file.is_directory() { "directory" } else { "file" },
                "size_bytes": file.size_bytes,
                "download_url": format!("{BASE}{}", export.download_path(&query)),
            })
        })
        .collect();
    json!({
        "id": export.id,
        "sandbox_id": export.sandbox_id,
        "label": export.label,
        "filename": export.filename,
        "status": "ready",
        "files": files,
        "archive_download_url": format!("{BASE}{}", export.archive_path()),
        "created_at": export.created_at,
    })
}

impl Resource for Export {
    const KIND: &'static str = "export";
    const PLURAL: &'static str = "exports";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            parent: Some(self.sandbox_id),
            state: "ready",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}
