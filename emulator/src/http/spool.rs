//! A body that is too large for memory: it goes into a file without a name, gone with the last who holds it.
//!
//! Nothing is done before all of it is there, so what breaks off on its way has changed nothing.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::body::{announces_more, broken, late, refuse};
use super::codes;
use super::error::{ApiError, ApiResult};
use crate::app::App;

/// A large body may take so many times longer than one that is read into memory.
const LONGER: u32 = 10;

/// A body in a file.
#[derive(Debug, Clone)]
pub struct Spooled {
    file: Arc<File>,
    /// Its length.
    pub bytes: u64,
}

impl Spooled {
    /// The file. Its place is shared by all who read it.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// The body, and a digest of it.
///
/// # Errors
/// 413 when it is larger than `limit` bytes, 408 when it does not arrive in time, 400 when it breaks off, 507 when the
/// disk is full.
pub(super) async fn read(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> ApiResult<(Spooled, Vec<u8>)> {
    if announces_more(headers, limit) {
        return Err(refuse(app, body, limit));
    }
    let within: Duration = app.config.patience.body * LONGER;
    let file = tempfile::tempfile_in(&app.config.data).map_err(|error| disk(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    match tokio::time::timeout(within, collect(&mut body, &mut file, limit)).await {
        Err(_) => Err(late(within)),
        Ok(Ok(Some((bytes, digest)))) => {
            let file = Arc::new(file.into_std().await);
            Ok((Spooled { file, bytes }, digest))
        }
        Ok(Ok(None)) => Err(refuse(app, body, limit)),
        Ok(Err(error)) => Err(error),
    }
}

async fn collect(
    body: &mut Body,
    file: &mut tokio::fs::File,
    limit: usize,
) -> ApiResult<Option<(u64, Vec<u8>)>> {
    let (mut length, mut digest) = (0, Sha256::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        length += data.len() as u64;
        if length > limit as u64 {
            return Ok(None);
        }
        digest.update(&data);
        file.write_all(&data).await.map_err(|error| disk(&error))?;
    }
    file.flush().await.map_err(|error| disk(&error))?;
    Ok(Some((length, digest.finalize().to_vec())))
}

fn disk(error: &std::io::Error) -> ApiError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return ApiError::new(codes::NO_SPACE, "The emulator's disk is full.");
    }
    ApiError::internal(format!("a body could not be spooled: {error}"))
}

impl<S: Sync> FromRequestParts<S> for Spooled {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let spooled = parts.extensions.get::<Self>().cloned();
        spooled.ok_or_else(|| ApiError::internal("a route does not spool its body"))
    }
}
