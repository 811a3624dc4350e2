//! How a run goes on: a bar with the rules at work on a terminal, plain lines elsewhere.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::rule::Rule;
use crate::run::{Entry, Outcome, Watch};

/// Tells on standard error.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    at_work: Mutex<BTreeSet<&'static str>>,
}

impl Progress {
    /// For this many rules.
    pub fn new(rules: usize) -> Self {
        let plain = !std::io::stderr().is_terminal() || std::env::var_os("CI").is_some();
        let bar = ProgressBar::new(rules as u64);
        if plain {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        } else if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}") {
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, plain, at_work: Mutex::default() }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<&'static str>)) {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut at_work);
        self.bar.set_message(at_work.iter().copied().collect::<Vec<_>>().join(" "));
    }
}

impl Watch for Progress {
    fn begins(&self, rule: &'static Rule) {
        self.change(|at_work| {
            at_work.insert(rule.id);
        });
    }

    fn ended(&self, entry: &Entry) {
        self.change(|at_work| {
            at_work.remove(entry.rule.id);
        });
        self.bar.inc(1);
        let (word, why) = match &entry.outcome {
            Outcome::Kept => ("kept", String::new()),
            Outcome::Broken { finding } => ("BROKEN", format!(": {}", finding.got)),
            Outcome::Unable { why } => ("unable", format!(": {why}")),
            Outcome::Skipped { .. } => return,
        };
        let line = format!("{word:<7} {} {:.1} s{why}", entry.rule.id, entry.seconds);
        let line: String = line.chars().take(200).collect();
        let line = super::redact::redact(&line, &[]);
        if self.plain {
            eprintln!("{line}");
        } else if word != "kept" {
            self.bar.println(line);
        }
    }
}
