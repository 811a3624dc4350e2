//! The languages that have an interpreter, and how it is started.

use miosa_agent::protocol::Command;

/// What may be asked for.
pub const KNOWN: &str = "must be python or javascript";

/// Moves requests and answers away from where cells read and write.
const PYTHON: &str = r#"exec python3 -u -c "$1" 3>&1 4<&0 </dev/null >/dev/null 2>&1"#;

/// What children of a cell write goes to files without a name, since this interpreter cannot make pipes for them.
const JAVASCRIPT: &str = r#"out=$(mktemp) && err=$(mktemp) || exit 126
exec 3>&1 4<&0 </dev/null 1>>"$out" 2>>"$err"
rm -f "$out" "$err"
exec node -e "$1""#;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `python3`.
    Python,
    /// `node`.
    JavaScript,
}

impl Language {
    /// The language that a client means.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "python" | "python3" | "py" => Some(Self::Python),
            "javascript" | "js" | "node" => Some(Self::JavaScript),
            _ => None,
        }
    }

    /// Its name on the wire (miosa-python 2.19).
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }

    /// The program that a sandbox must have.
    pub fn program(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::JavaScript => "node",
        }
    }

    /// How its interpreter is started.
    pub fn command(self) -> Command {
        let (shell, driver) = match self {
            Self::Python => (PYTHON, include_str!("driver.py")),
            Self::JavaScript => (JAVASCRIPT, include_str!("driver.js")),
        };
        Command::Argv(["sh", "-c", shell, "sh", driver].map(str::to_owned).to_vec())
    }
}
