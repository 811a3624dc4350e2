//! What a command said and how it ended, in the words of every client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::session::Session;
use crate::defects::defect;
use crate::http::{ApiError, ApiResult};
use crate::machines::agent::Output;

/// The beginning of each stream is kept up to here; the rest is read and thrown away.
pub const MAX_OUTPUT: usize = 8 * 1024 * 1024;

/// What a command said and how it ended.
#[derive(Debug, Default)]
pub struct Outcome {
    stdout: Kept,
    stderr: Kept,
    /// Both in the order they came in.
    output: Vec<u8>,
    exit_code: i32,
    timed_out: bool,
    duration_ms: u64,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Kept {
    /// Keeps what still has room, and answers it.
    fn keep<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let room = MAX_OUTPUT.saturating_sub(self.bytes.len()).min(bytes.len());
        let (kept, rest) = bytes.split_at(room);
        self.bytes.extend_from_slice(kept);
        self.truncated |= !rest.is_empty();
        kept
    }
}

impl Outcome {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// 502 when the agent went away in the middle.
    pub async fn collect(mut session: Session) -> ApiResult<Self> {
        let mut outcome = Self::default();
        while let Some(output) = session.next().await? {
            if outcome.take(output) {
                return Ok(outcome);
            }
        }
        Err(ApiError::internal("a command's stream ended without its exit"))
    }

    /// Takes in a piece; whether it was the last.
    fn take(&mut self, output: Output) -> bool {
        match output {
            Output::Stdout(bytes) => self.output.extend_from_slice(self.stdout.keep(&bytes)),
            Output::Stderr(_) if defect!(StderrLost) => {}
            Output::Stderr(bytes) if defect!(StderrMixed) => {
                self.output.extend_from_slice(self.stdout.keep(&bytes));
            }
            Output::Stderr(bytes) => self.output.extend_from_slice(self.stderr.keep(&bytes)),
            Output::Exit(exit) => {
                self.exit_code = if exit.timed_out { -1 } else { exit.exit_code };
                self.timed_out = exit.timed_out;
                if defect!(ExitCodeCut) {
                    self.exit_code = self.exit_code.min(1);
                }
                if defect!(TimeoutUntold) && exit.timed_out {
                    (self.exit_code, self.timed_out) = (0, false);
                }
                self.duration_ms = exit.duration_ms;
                return true;
            }
        }
        false
    }

    /// As clients read it. What is not UTF-8 is replaced, and then given whole in base64 beside.
    pub fn show(&self, id: Uuid) -> Value {
        let mut shown = Map::new();
        let mut add = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        for (name, kept) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let text = String::from_utf8_lossy(&kept.bytes);
            let text =
                defect!(OutputCut, text.chars().take(16_384).collect::<String>().into(), text);
            let text = defect!(OutputTrimmed, text.trim().to_owned().into(), text);
            // The cut itself may have split a character: that is no reason to send everything twice.
            if std::str::from_utf8(&kept.bytes)
                .is_err_and(|error| !(kept.truncated && error.error_len().is_none()))
            {
                add(&format!("{name}_base64"), STANDARD.encode(&kept.bytes).into());
            }
            add(name, text.into());
            add(&format!("{name}_truncated"), kept.truncated.into());
        }
        add("output", String::from_utf8_lossy(&self.output).into());
        add("exit_code", self.exit_code.into());
        add("success", (self.exit_code == 0).into());
        add("timed_out", self.timed_out.into());
        add("duration_ms", self.duration_ms.into());
        add("exec_id", json!(id));
        Value::Object(shown)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use miosa_agent::protocol::Exit;

    use super::*;

    fn exit(exit_code: i32, timed_out: bool) -> Output {
        Output::Exit(Exit { exit_code, signal: None, timed_out, duration_ms: 5 })
    }

    fn shown(pieces: Vec<Output>) -> Value {
        let mut outcome = Outcome::default();
        let last = pieces.into_iter().map(|piece| outcome.take(piece)).last();
        assert_eq!(last, Some(true));
        outcome.show(Uuid::nil())
    }

    #[test]
    fn output_is_both_streams_in_the_order_they_came() {
        let shown = shown(vec![
            Output::Stdout(Bytes::from_static(b"a\n")),
            Output::Stderr(Bytes::from_static(b"b\n")),
            Output::Stdout(Bytes::from_static(b"c\n")),
            exit(3, false),
        ]);
        assert_eq!(shown["output"], "a\nb\nc\n");
        assert_eq!((&shown["stdout"], &shown["stderr"]), (&json!("a\nc\n"), &json!("b\n")));
        assert_eq!((&shown["exit_code"], &shown["success"]), (&json!(3), &json!(false)));
        assert_eq!(shown.get("stdout_base64"), None);
    }

    #[test]
    fn a_timeout_is_a_flag_and_minus_one() {
        let shown = shown(vec![exit(137, true)]);
        assert_eq!((&shown["exit_code"], &shown["timed_out"]), (&json!(-1), &json!(true)));
    }

    #[test]
    fn bytes_that_are_no_text_come_whole_beside_it() {
        let shown = shown(vec![Output::Stdout(Bytes::from_static(b"a\xff")), exit(0, false)]);
        assert_eq!(shown["stdout"], "a\u{fffd}");
        assert_eq!(shown["stdout_base64"], STANDARD.encode(b"a\xff"));
    }

    #[test]
    fn too_much_is_cut_and_said() {
        let much = Bytes::from("é".repeat(MAX_OUTPUT));
        let shown = shown(vec![
            Output::Stdout(Bytes::from_static(b"x")),
            Output::Stdout(much),
            exit(0, false),
        ]);
        assert_eq!(shown["stdout_truncated"], true);
        assert_eq!(shown["stderr_truncated"], false);
        assert_eq!(shown.get("stdout_base64"), None);
        assert!(shown["stdout"].as_str().unwrap().len() <= MAX_OUTPUT + 3);
    }
}
