//! A run: rules side by side, each in a thread of its own, on one runtime for all requests.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::runtime::Handle;

use crate::fault::{Fault, Finding};
use crate::rule::{Need, Rule};
use crate::session::Session;
use crate::target::Target;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rules.
    pub rules: Vec<&'static Rule>,
    /// What everything is drawn from.
    pub seed: u64,
    /// How many cases each, where not as the rule says.
    pub cases: Option<u32>,
    /// How many rules at once.
    pub jobs: usize,
    /// Whether the first broken rule ends the run.
    pub fail_fast: bool,
    /// Seeds that broke a rule in earlier runs, by its id: they run first.
    pub saved: BTreeMap<String, Vec<u64>>,
}

/// How a rule ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    /// It holds.
    Kept,
    /// It does not.
    Broken {
        /// What was found.
        finding: Box<Finding>,
    },
    /// It could not be checked.
    Unable {
        /// Why.
        why: String,
    },
    /// It has nothing to say about this target, or the run ended before.
    Skipped {
        /// Why.
        why: String,
    },
}

/// A rule with its outcome.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The rule.
    pub rule: &'static Rule,
    /// How it ended.
    pub outcome: Outcome,
    /// The seed that it ended with.
    pub seed: u64,
    /// How many cases ran.
    pub cases: u32,
    /// How many requests were sent.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Is told how a run goes on. Called from many threads.
pub trait Watch: Sync {
    /// A rule begins.
    fn begins(&self, rule: &'static Rule);
    /// A rule has ended.
    fn ended(&self, entry: &Entry);
}

/// Runs the plan. What comes out is in the order of the plan.
pub fn run(
    target: &Arc<Target>,
    plan: &Plan,
    handle: &Handle,
    watch: &dyn Watch,
    stop: &AtomicBool,
) -> Vec<Entry> {
    let queue = Mutex::new(ordered(&plan.rules));
    let entries = Mutex::new(BTreeMap::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while let Some((place, rule)) = next() {
                    let entry = if stop.load(Ordering::Relaxed) {
                        skipped(rule, plan.seed, "the run ended before")
                    } else if let Some(why) = target.excuse(rule) {
                        skipped(rule, plan.seed, &why)
                    } else {
                        watch.begins(rule);
                        check(target, plan, handle, rule)
                    };
                    watch.ended(&entry);
                    if plan.fail_fast && matches!(entry.outcome, Outcome::Broken { .. }) {
                        stop.store(true, Ordering::Relaxed);
                    }
                    entries.lock().unwrap_or_else(PoisonError::into_inner).insert(place, entry);
                }
            });
        }
    });
    entries.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Rules with machines first: they take longest, and the run should not end waiting for one of them.
fn ordered(rules: &[&'static Rule]) -> VecDeque<(usize, &'static Rule)> {
    let mut rules: Vec<_> = rules.iter().copied().enumerate().collect();
    rules.sort_by_key(|(_, rule)| !rule.needs.contains(&Need::Machines));
    rules.into()
}

fn skipped(rule: &'static Rule, seed: u64, why: &str) -> Entry {
    let outcome = Outcome::Skipped { why: why.to_owned() };
    Entry { rule, outcome, seed, cases: 0, requests: 0, seconds: 0.0 }
}

/// Checks a rule: with the seeds that broke it before, then with this run's.
fn check(target: &Arc<Target>, plan: &Plan, handle: &Handle, rule: &'static Rule) -> Entry {
    let since = Instant::now();
    let saved = plan.saved.get(rule.id).into_iter().flatten().copied();
    let (mut cases, mut requests) = (0, 0);
    let (mut outcome, mut seed) = (Outcome::Kept, plan.seed);
    for with in saved.filter(|saved| *saved != plan.seed).chain([plan.seed]) {
        let session = Session::new(target.clone(), rule, handle.clone(), with, plan.cases);
        seed = with;
        outcome = outcome_of(&session);
        cases += session.drawn();
        requests += session.sent();
        if !matches!(outcome, Outcome::Kept) {
            break;
        }
    }
    Entry { rule, outcome, seed, cases, requests, seconds: since.elapsed().as_secs_f64() }
}

fn outcome_of(session: &Session) -> Outcome {
    let ended = catch_unwind(AssertUnwindSafe(|| (session.rule.check)(session)));
    match ended {
        Ok(Ok(())) => Outcome::Kept,
        Ok(Err(Fault::Skip(why))) => Outcome::Skipped { why },
        Ok(Err(Fault::Unable(why))) => Outcome::Unable { why },
        Ok(Err(Fault::Broken { expected, got, .. })) => match session.finding() {
            Some(finding) => Outcome::Broken { finding },
            // Broken outside of any case.
            None => Outcome::Broken {
                finding: Box::new(Finding {
                    expected,
                    got,
                    input: String::new(),
                    at: 0,
                    exchanges: Vec::new(),
                    secrets: Vec::new(),
                }),
            },
        },
        Err(panic) => {
            let why = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked");
            Outcome::Unable { why: format!("the rule itself failed: {why}") }
        }
    }
}
