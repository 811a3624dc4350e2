//! Bytes of an export: of any paths, whether an export names them or not.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use miosa_agent::protocol::FailureCode;

use super::super::archive::download::{Root, answer};
use super::super::archive::format::Format;
use super::super::bytes::{disposition, whole_or_range};
use super::super::path::{SafePath, WORKSPACE};
use super::{MAX_PATHS, checked, filename, look};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::{ApiError, ApiResult, Pairs, Scoped};
use crate::machines::MachineError;

#[derive(Debug, Default)]
struct Query {
    paths: Vec<SafePath>,
    filename: Option<String>,
}

impl Query {
    fn read(pairs: Vec<(String, String)>) -> ApiResult<Self> {
        let mut query = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "path" | "paths[]" | "paths" => query.paths.push(SafePath::parse(&value)?),
                "filename" if !value.is_empty() => {
                    let name = filename(&value);
                    let wrong = |error: ApiError| ApiError::parameter("filename", error.message);
                    query.filename = Some(name.map_err(wrong)?);
                }
                _ => {}
            }
        }
        query.paths = checked(query.paths)
            .ok_or_else(|| ApiError::parameter("path", format!("name 1 to {MAX_PATHS} paths")))?;
        Ok(query)
    }
}

/// `GET /sandboxes/{id}/exports/download`.
pub async fn download(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Pairs(pairs): Pairs,
) -> ApiResult<Response> {
    let query = Query::read(pairs)?;
    let agent = awake(&app, &sandbox).await?;
    let active = hold(&app, &sandbox);
    if let [path] = query.paths.as_slice() {
        match agent.read(path.as_str()).await {
            Ok((entry, stream)) => {
                let mut response = whole_or_range(&headers, &entry, stream, active);
                let name = query.filename.as_deref().unwrap_or(path.name());
                disposition(response.headers_mut(), name);
                return Ok(response);
            }
            Err(MachineError::Agent(failure)) if failure.code == FailureCode::IsDirectory => {}
            Err(error) => return Err(error.into()),
        }
    }
    let named = query.filename.as_deref().and_then(Format::of_file);
    let format = named.unwrap_or(Format::TarGz);
    let name = query.filename.unwrap_or_else(|| default_name(&query.paths));
    let name = if named.is_some() { name } else { format!("{name}.{}", format.extension()) };
    let mut found = Vec::new();
    for path in query.paths {
        let directory = look(&agent, &path).await?.is_directory();
        found.push((path, directory));
    }
    answer(&agent, roots(found), format, &name, active).await
}

fn default_name(paths: &[SafePath]) -> String {
    match paths {
        [path] if !path.name().is_empty() => path.name().to_owned(),
        _ => "export".to_owned(),
    }
}

/// Where each path (and whether it is a directory) stands in the archive: what a single directory holds at its root; of
/// several each with its own path, from the workspace when all lie in it, else from the root.
fn roots(found: Vec<(SafePath, bool)>) -> Vec<Root> {
    if found.len() == 1 {
        let alone = |(path, directory)| Root { path, below: String::new(), directory };
        return found.into_iter().map(alone).collect();
    }
    let inside = found.iter().all(|(path, _)| path.is_below(WORKSPACE));
    let base = if inside { WORKSPACE } else { "" };
    let root = |(path, directory): (SafePath, bool)| {
        let own = path.as_str().strip_prefix(base).unwrap_or(path.as_str());
        let own = own.trim_start_matches('/');
        let above = own.rsplit_once('/').map_or("", |(above, _)| above);
        // A file brings its name with it.
        let below = if directory { own } else { above }.to_owned();
        Root { path, below, directory }
    };
    found.into_iter().map(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        // A path that ends in a slash is a directory.
        let found = |path: &&str| (SafePath::parse(path).unwrap(), path.ends_with('/'));
        roots(paths.iter().map(found).collect()).into_iter().map(|root| root.below).collect()
    }

    #[test]
    fn paths_stand_in_the_archive_as_they_lie_in_the_workspace() {
        assert_eq!(names(&["out/"]), [""]);
        assert_eq!(names(&["out/", "a/b/", "a/c", "d"]), ["out", "a/b", "a", ""]);
        assert_eq!(names(&["out/", "/tmp/out/"]), ["workspace/out", "tmp/out"]);
    }
}
