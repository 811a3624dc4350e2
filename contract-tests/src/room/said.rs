//! What a command said, and how it ended, whichever way it was run.

use bytes::Bytes;
use serde_json::Value;

use super::unbase64;
use crate::case::{Case, Reply};
use crate::fault::Fault;

/// What a command said.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// What it wrote to its output; of a way that does not tell the two apart, all of it.
    pub stdout: Vec<u8>,
    /// What it wrote to its errors.
    pub stderr: Vec<u8>,
    /// Its exit code.
    pub exit: Option<i64>,
    /// Whether the way that was taken has no way to tell the exit code: a close code that RFC 6455 reserves.
    pub untold: bool,
    /// Whether its time was up.
    pub timed_out: bool,
    /// Which exchange shows it.
    pub at: usize,
}

impl Said {
    /// From the answer of a command that has ended.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is another.
    pub fn answered(reply: Reply) -> Result<Self, Fault> {
        let reply = reply.expect(200)?;
        let data = reply.data()?;
        Ok(Self {
            stdout: bytes(&data, "stdout"),
            stderr: bytes(&data, "stderr"),
            exit: data["exit_code"].as_i64(),
            timed_out: data["timed_out"] == true,
            at: reply.at,
            untold: false,
        })
    }

    /// The rule is broken, as this shows.
    pub fn broken(&self, expected: impl Into<String>, got: impl Into<String>) -> Fault {
        Fault::Broken { expected: expected.into(), got: got.into(), at: Some(self.at) }
    }

    /// Nothing when the condition holds, else a broken rule.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub fn holds(
        &self,
        condition: bool,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Result<(), Fault> {
        if condition { Ok(()) } else { Err(self.broken(expected, got)) }
    }

    /// What was written to the one stream or the other is this.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub fn wrote(&self, what: &str, expected: &[u8], got: &[u8]) -> Result<(), Fault> {
        self.holds(
            expected == got,
            format!("{what}: {}", shown(expected)),
            format!("{} ({})", shown(got), difference(expected, got)),
        )
    }

    /// It ended with this code.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub fn ended(&self, how: &str, code: i64) -> Result<(), Fault> {
        let got = self.exit.map_or("none".to_owned(), |code| code.to_string());
        let untold = self.untold && !matches!(code, 0 | 1 | 3 | 7..=13);
        self.holds(untold || self.exit == Some(code), format!("{how}: exit code {code}"), got)
    }
}

/// Text of an answer as bytes; what is no text stands in base64 beside it.
pub fn bytes(data: &Value, name: &str) -> Vec<u8> {
    let whole = data[format!("{name}_base64")].as_str().and_then(unbase64);
    whole.unwrap_or_else(|| data[name].as_str().unwrap_or_default().as_bytes().to_vec())
}

/// Bytes for a person.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let text = String::from_utf8_lossy(bytes.get(..MOST.min(bytes.len())).unwrap_or_default());
    let more = if bytes.len() > MOST { "…" } else { "" };
    format!("{} bytes {text:?}{more}", bytes.len())
}

/// Where two differ.
pub fn difference(expected: &[u8], got: &[u8]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    format!("they differ from byte {same} on")
}

/// The place of the newest exchange.
pub fn newest(case: &Case) -> usize {
    case.exchanges().len().saturating_sub(1)
}

/// The same bytes as an answer's.
///
/// # Errors
/// [`Fault::Broken`].
pub fn same(reply: &Reply, what: &str, expected: &[u8], got: &Bytes) -> Result<(), Fault> {
    reply.holds(
        expected == &got[..],
        format!("{what}: {}", shown(expected)),
        format!("{} ({})", shown(got), difference(expected, got)),
    )
}
