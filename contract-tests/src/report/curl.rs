//! A finding as a shell script: curl, and jq for what answers bring.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::replay::{Piece, Replay, Step};
use crate::rule::Rule;
use crate::target::Profile;

/// The script. Credentials are taken out by whoever writes it.
pub fn script(rule: &Rule, replay: &Replay<'_>, profile: Profile) -> String {
    let mut out = format!(
        "#!/usr/bin/env bash\n# {}  {}\n# expected: {}\n# got:      {}\n# Needs curl and jq.\nset -uo pipefail\nmsk=msk\n\
         origin=\"${{MIOSA_ORIGIN:-{}}}\"\n",
        rule.id,
        rule.sentence,
        one_line(&replay.finding.expected),
        one_line(&replay.finding.got),
        replay.origin
    );
    for (n, variable) in replay.given.iter().enumerate() {
        out += &match (profile, variable.starts_with("MINTED")) {
            // Any such key is an organization of its own, and empty.
            (Profile::Emulator, false) => {
                // In two parts: nothing that looks like a key leaves in a report.
                format!(": \"${{{variable}:=${{msk}}_test_replay$(date +%s%N)n{n}}}\"\n")
            }
            _ => format!(": \"${{{variable}:?set it to the key of this case}}\"\n"),
        };
    }
    out += "answers=\"$(mktemp -d)\"\ntrap 'rm -rf \"$answers\"' EXIT\n";
    for (place, step) in replay.steps.iter().enumerate() {
        let followed = replay.steps.get(place + 1).is_some_and(|next| next.at_once);
        out += &one(replay, step, step.at_once || followed);
        if step.at_once && !followed {
            out += "wait\n";
        }
        for capture in &step.captures {
            out += &format!(
                "{}=\"$(jq -r '{}' < \"$answers/{}\")\"\n",
                capture.variable,
                jq(&capture.pointer),
                step.number
            );
        }
    }
    let last = replay.steps.last().map_or(0, |step| step.number);
    out += &format!(
        "echo\necho {}\necho \"got now:  $(cat \"$answers/{last}.status\")\"\nhead -c 2000 \"$answers/{last}\" || true\necho\n",
        quoted(&format!("expected: {}", one_line(&replay.finding.expected)))
    );
    out
}

/// One request; its answer goes to `$answers/N`, its status to `$answers/N.status`.
fn one(replay: &Replay<'_>, step: &Step<'_>, at_once: bool) -> String {
    let exchange = step.exchange;
    let number = step.number;
    let was =
        exchange.answer.as_ref().map_or("nothing".to_owned(), |answer| answer.status.to_string());
    let mut out = format!("\n# {number}. answered {was} then");
    if let Some(peculiar) = &exchange.peculiar {
        out += &format!("; {peculiar}");
    }
    out.push('\n');
    if exchange.peculiar.is_some() {
        return out + &raw(replay, step);
    }
    let text = std::str::from_utf8(&exchange.body).ok();
    let mut command = String::new();
    if text.is_none() {
        command += &format!("printf %s {} | base64 -d | ", STANDARD.encode(&exchange.body));
    }
    command += &format!(
        "curl -sS -X {} \"$origin\"{}",
        exchange.method,
        shell(replay, step, replay.path(step))
    );
    if let Some(credential) = &exchange.credential {
        command += &format!(" \\\n  -H \"Authorization: Bearer ${credential}\"");
    }
    for (name, value) in &exchange.headers {
        command += &format!(" \\\n  -H {}", shell(replay, step, &format!("{name}: {value}")));
    }
    match text {
        Some("") => {}
        Some(text) => command += &format!(" \\\n  --data-binary {}", shell(replay, step, text)),
        None => command += " \\\n  --data-binary @-",
    }
    command += &format!(
        " \\\n  -o \"$answers/{number}\" -w '%{{http_code}}\\n' | tee \"$answers/{number}.status\""
    );
    out + &command + if at_once { " &\n" } else { "\n" }
}

/// A request that curl cannot send, byte by byte.
fn raw(replay: &Replay<'_>, step: &Step<'_>) -> String {
    let exchange = step.exchange;
    let line = format!("{} {} HTTP/1.1\r\n", exchange.method, replay.path(step));
    let mut headers = String::new();
    for (name, value) in &exchange.headers {
        headers += &format!("{name}: {value}\r\n");
    }
    if !exchange.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        headers += &format!("Content-Length: {}\r\n", exchange.body.len());
    }
    headers += "Connection: close\r\n\r\n";
    let (number, credential) = (step.number, exchange.credential.as_deref());
    let authorization = credential.map_or(String::new(), |variable| {
        format!(" printf 'Authorization: Bearer %s\\r\\n' \"${variable}\";")
    });
    format!(
        "host=\"${{origin#*://}}\"; exec 3<>\"/dev/tcp/${{host%%:*}}/${{host##*:}}\"\n\
         {{ printf %s {} | base64 -d; printf 'Host: %s\\r\\n' \"$host\";{authorization} printf %s {} | base64 -d; \
         printf %s {} | base64 -d; }} >&3\n\
         timeout 10 cat <&3 > \"$answers/{number}\"; exec 3>&-\n\
         head -n 1 \"$answers/{number}\" | tee \"$answers/{number}.status\"\n",
        STANDARD.encode(line),
        STANDARD.encode(headers),
        STANDARD.encode(&exchange.body)
    )
}

/// A word of the shell, with variables in it.
fn shell(replay: &Replay<'_>, step: &Step<'_>, text: &str) -> String {
    replay
        .pieces(step, text)
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => quoted(text),
            Piece::Variable(name) => format!("\"${name}\""),
        })
        .collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `/data/0/id` as `.data[0].id`.
fn jq(pointer: &str) -> String {
    pointer
        .split('/')
        .skip(1)
        .map(|part| match part.parse::<usize>() {
            Ok(n) => format!("[{n}]"),
            Err(_) => format!("[\"{part}\"]"),
        })
        .fold(".".to_owned(), |path, part| path + &part)
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::replay::tests::finding;
    use super::*;
    use crate::chapters;

    #[test]
    fn values_are_read_from_answers_and_quoted_for_the_shell() {
        let finding = finding();
        let replay = Replay::new(&finding, "http://127.0.0.1:1");
        let text = script(chapters::all()[0], &replay, Profile::Live);
        assert!(text.contains(r#"v1="$(jq -r '.["data"]["id"]' < "$answers/1")""#), "{text}");
        assert!(text.contains(r#"'/api/v1/workspaces/'"$v1"'?x=1'"#), "{text}");
        assert!(text.contains(r#"'{"name":"it'\''s mine"}'"#), "{text}");
        assert!(text.contains(r#": "${MIOSA_API_KEY:?"#), "{text}");
    }

    #[test]
    fn what_curl_cannot_send_is_sent_byte_by_byte() {
        use std::io::{Read as _, Write as _};
        use std::os::unix::fs::PermissionsExt as _;

        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", server.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut wire, _) = server.accept().unwrap();
            let mut heard = Vec::new();
            let mut part = [0; 4096];
            while !heard.ends_with(b"half") {
                let read = wire.read(&mut part).unwrap();
                assert_ne!(read, 0, "it hung up: {:?}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(&part[..read]);
            }
            wire.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            String::from_utf8(heard).unwrap()
        });
        let mut finding = finding();
        finding.at = 0;
        let first = &mut finding.exchanges[0];
        first.body = "half".into();
        first.headers.push(("Content-Length".to_owned(), "40".to_owned()));
        first.peculiar = Some("breaks off".to_owned());
        let text =
            script(chapters::all()[0], &Replay::new(&finding, "http://127.0.0.1:1"), Profile::Live);
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = std::process::Command::new("bash")
            .arg(&file)
            .envs([("MIOSA_ORIGIN", origin.as_str()), ("MIOSA_API_KEY", "msk_x")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(said.contains("got now:  HTTP/1.1 400"), "{said} {run:?}");
        let heard = heard.join().unwrap();
        let host = origin.strip_prefix("http://").unwrap();
        let begins = format!(
            "POST /api/v1/workspaces HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer msk_x\r\n"
        );
        assert!(heard.starts_with(&begins), "{heard}");
        assert_eq!(heard.matches("Content-Length: 40\r\n").count(), 1, "{heard}");
        assert!(heard.ends_with("\r\n\r\nhalf"), "{heard}");
    }
}
