//! Files that are written, read or removed otherwise than was asked.

use bytes::Bytes;
use miosa_agent::protocol::{Command, Exec, FileOp, Listing};
use serde_json::Value;

use crate::http::ApiResult;
use crate::machines::Agent;
use crate::machines::agent::Output;

/// The part of a form as it came, its boundaries included.
pub fn with_boundary(bytes: &[u8]) -> Bytes {
    let head = b"--boundary\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    [head, bytes, b"\r\n--boundary--\r\n"].concat().into()
}

/// The text with a line end.
pub fn with_line_end(bytes: Bytes) -> Bytes {
    if bytes.ends_with(b"\n") { bytes } else { [&*bytes, b"\n"].concat().into() }
}

/// Removes everything beside a path whose name begins with its name.
///
/// # Errors
/// What the agent says.
pub async fn remove_prefixed(agent: &Agent, path: &str) -> ApiResult<()> {
    let (directory, name) = path.rsplit_once('/').unwrap_or_default();
    let directory = if directory.is_empty() { "/" } else { directory };
    let list = FileOp::List { path: directory.to_owned(), depth: 1 };
    let listing: Listing = agent.file_op(&list).await?;
    for entry in listing.entries {
        if entry.name != name && !name.is_empty() && entry.name.starts_with(name) {
            let _: Value =
                agent.file_op(&FileOp::Remove { path: entry.path, recursive: true }).await?;
        }
    }
    Ok(())
}

/// What a path holds, whatever it is: read by a command, which nobody holds back.
///
/// # Errors
/// What the agent says.
pub async fn read_unchecked(agent: &Agent, path: &str) -> ApiResult<String> {
    let exec = Exec {
        command: Command::Argv(vec!["cat".to_owned(), path.to_owned()]),
        cwd: None,
        env: std::collections::BTreeMap::new(),
        timeout_ms: Some(5000),
        stdin: false,
        tty: None,
        detached: false,
    };
    let (mut running, mut content) = (agent.exec(exec).await?, Vec::new());
    while let Some(output) = running.next().await {
        if let Output::Stdout(bytes) = output? {
            content.extend_from_slice(&bytes);
        }
    }
    Ok(String::from_utf8_lossy(&content).into_owned())
}
