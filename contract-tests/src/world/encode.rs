//! Bodies that are no JSON.

use bytes::Bytes;
use serde_json::Value;

/// The boundary of a form.
const BOUNDARY: &str = "contract-4f1e8a";

/// The body as it is sent, of the text that a request's table has.
pub(super) fn body(content_type: &'static str, text: String) -> (String, Bytes) {
    match content_type {
        "multipart/form-data" => {
            (format!("{content_type}; boundary={BOUNDARY}"), form(&text).into())
        }
        "application/x-tar" => (content_type.to_owned(), tar("unpacked.txt", b"hello\n").into()),
        _ => (content_type.to_owned(), text.into()),
    }
}

/// A form with a part for each member; `file` is a file.
fn form(text: &str) -> String {
    let members: Value = serde_json::from_str(text).unwrap_or_default();
    let mut form = String::new();
    for (name, value) in members.as_object().into_iter().flatten() {
        let file = if name == "file" { "; filename=\"contract.txt\"" } else { "" };
        form += &format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{}\r\n",
            value.as_str().unwrap_or_default()
        );
    }
    form + &format!("--{BOUNDARY}--\r\n")
}

/// An archive with one file, in the oldest format that there is.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in header.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken with blanks in its own place.
    put(148, b"        ");
    put(156, b"0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (slot, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *slot = byte;
    }
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
