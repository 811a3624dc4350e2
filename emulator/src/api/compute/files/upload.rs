//! A form with a file (`api-reference/files`): `file`, and `path` where it goes. Its parts come in any order.

use axum::extract::State;
use axum::extract::multipart::{Multipart, MultipartRejection};
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::path::SafePath;
use super::write::{check_size, done, put};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::defects::defect;
use crate::http::{Answer, ApiError, ApiResult, Route, Scoped, codes};

/// Room for a file that is too large, so that it is refused by its own code.
const LIMIT: usize = 32 * 1024 * 1024;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/files/upload", upload)
            .scope("sandboxes:write")
            .repeatable()
            .body_limit(LIMIT),
    ]
}

#[derive(Debug, Default)]
struct Form {
    file: Option<(String, Bytes)>,
    path: Option<String>,
}

async fn upload(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    form: Result<Multipart, MultipartRejection>,
) -> ApiResult<Answer> {
    let form = form.map_err(|error| {
        ApiError::new(codes::MISSING_FILE, format!("Send a multipart form with a file: {error}"))
    })?;
    let form = read(form).await?;
    let Some((filename, bytes)) = form.file else {
        return Err(ApiError::new(codes::MISSING_FILE, "The form has no part named `file`."));
    };
    check_size(bytes.len())?;
    let path = destination(form.path.as_deref(), &filename)?;
    let bytes = defect!(UploadWithBoundary, crate::defects::files::with_boundary(&bytes), bytes);
    let bytes = defect!(BytesAsText, String::from_utf8_lossy(&bytes).into_owned().into(), bytes);
    let agent = awake(&app, &sandbox).await?;
    let size = bytes.len();
    put(&agent, &path, None, bytes).await?;
    let file =
        json!({ "path": path.as_str(), "filename": path.name(), "size_bytes": size, "size": size });
    Ok(done(
        StatusCode::CREATED,
        json!({ "file": file, "path": path.as_str(), "size_bytes": size }),
    ))
}

async fn read(mut parts: Multipart) -> ApiResult<Form> {
    let broken = |error: axum::extract::multipart::MultipartError| {
        ApiError::new(codes::BAD_REQUEST, format!("The form could not be read: {error}"))
    };
    let mut form = Form::default();
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        match part.name() {
            Some("file") => {
                let filename = part.file_name().unwrap_or_default().to_owned();
                form.file = Some((filename, part.bytes().await.map_err(broken)?));
            }
            Some("path") => form.path = Some(part.text().await.map_err(broken)?),
            // `create_dirs` (miosa-elixir 1.1) asks for what is done anyway; others say nothing to us.
            _ => {}
        }
    }
    Ok(form)
}

/// Where the file goes: a path that ends in a slash, and no path at all, get the file's own name.
fn destination(path: Option<&str>, filename: &str) -> ApiResult<SafePath> {
    let path = path.filter(|path| !path.is_empty()).unwrap_or("/workspace/");
    if !path.ends_with('/') {
        return SafePath::parse(path);
    }
    // Some browsers send the path on their own disk.
    let name = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    if matches!(name, "" | "." | "..") {
        return Err(ApiError::new(
            codes::INVALID_PATH,
            "path: names a directory, and the file has no name of its own.",
        ));
    }
    SafePath::parse(&format!("{path}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gets_the_files_own_name() {
        for (path, filename, expected) in [
            (None, "a.txt", "/workspace/a.txt"),
            (Some(""), "a.txt", "/workspace/a.txt"),
            (Some("/tmp/"), "a.txt", "/tmp/a.txt"),
            (Some("/tmp/b.txt"), "a.txt", "/tmp/b.txt"),
            (Some("src/"), "C:\\dir\\a.txt", "/workspace/src/a.txt"),
            (Some("/tmp/"), "../../etc/passwd", "/tmp/passwd"),
        ] {
            assert_eq!(destination(path, filename).unwrap().as_str(), expected);
        }
        for filename in ["", "..", "a/", "."] {
            assert_eq!(destination(None, filename).unwrap_err().code, codes::INVALID_PATH);
        }
        assert_eq!(destination(Some("/proc/"), "x").unwrap_err().code, codes::FORBIDDEN_PATH);
    }
}
