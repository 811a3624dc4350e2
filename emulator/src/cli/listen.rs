//! Addresses as people write them: `127.0.0.1:4010`, `localhost:4010`, `:4010`, `4010`, `[::1]:4010`.

use std::net::SocketAddr;

/// Address and port to listen on. A port alone is on loopback: reaching further is to be said.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    clean(text).parse().map_err(|_| {
        "expected ADDR:PORT, for example 127.0.0.1:4010, localhost:4010 or 0.0.0.0:4010".to_owned()
    })
}

/// Where a client connects to reach who listens there: any address means this computer. Names stay names.
pub(super) fn host(text: &str) -> String {
    let text = clean(text);
    match text.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => text,
    }
}

fn clean(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("http://").unwrap_or(text);
    let text = text.split('/').next().unwrap_or(text);
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return format!("127.0.0.1:{text}");
    }
    match text.rsplit_once(':') {
        Some(("" | "localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, heard, reached) in [
            ("127.0.0.1:4010", "127.0.0.1:4010", "127.0.0.1:4010"),
            ("localhost:0", "127.0.0.1:0", "127.0.0.1:0"),
            (":4010", "127.0.0.1:4010", "127.0.0.1:4010"),
            ("4010", "127.0.0.1:4010", "127.0.0.1:4010"),
            ("0.0.0.0:80", "0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::]:80", "[::1]:80"),
            ("[::1]:80", "[::1]:80", "[::1]:80"),
            ("http://127.0.0.1:4010/api/v1", "127.0.0.1:4010", "127.0.0.1:4010"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), heard, "{text}");
            assert_eq!(host(text), reached, "{text}");
        }
        assert_eq!(host("miosa:4010"), "miosa:4010");
        for text in ["", "nonsense", "127.0.0.1", "127.0.0.1:99999", "miosa:4010"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
