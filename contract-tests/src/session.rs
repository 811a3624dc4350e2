//! A rule being checked: draws values, hands each to the property with a case of its own, and shrinks what breaks.

mod each;

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use crate::case::Case;
use crate::fault::{Fault, Finding};
use crate::rule::Rule;
use crate::target::Target;

/// No rule runs longer: what is not found by then counts as not tested.
const MOST: Duration = Duration::from_secs(240);

/// How long the shortest form is looked for.
const SHRINK_MILLIS: u32 = 15_000;

/// What one rule works with.
pub struct Session {
    /// The server.
    pub target: Arc<Target>,
    /// The rule.
    pub rule: &'static Rule,
    handle: Handle,
    seed: u64,
    cases: u32,
    drawn: AtomicU32,
    sent: Arc<AtomicU64>,
    rounds: AtomicU32,
    started: Instant,
    broken: RefCell<Option<Box<Finding>>>,
}

impl Session {
    /// A session; `cases` overrides what the rule says.
    pub fn new(
        target: Arc<Target>,
        rule: &'static Rule,
        handle: Handle,
        seed: u64,
        cases: Option<u32>,
    ) -> Self {
        let cases = target.cases(cases.unwrap_or(rule.cases)).max(1);
        Self {
            target,
            rule,
            handle,
            seed,
            cases,
            drawn: AtomicU32::new(0),
            sent: Arc::default(),
            rounds: AtomicU32::new(0),
            started: Instant::now(),
            broken: RefCell::new(None),
        }
    }

    /// How many cases ran.
    pub fn drawn(&self) -> u32 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// How many requests were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn case(&self) -> Case {
        Case::counted(self.target.clone(), self.sent.clone())
    }

    /// What broke the rule, in its shortest form.
    pub fn finding(&self) -> Option<Box<Finding>> {
        self.broken.borrow_mut().take()
    }

    /// Checks the property on drawn values.
    ///
    /// # Errors
    /// How the property ended: the shortest form that was found of what breaks it.
    pub fn forall<S, F>(&self, strategy: S, property: F) -> Result<(), Fault>
    where
        S: Strategy,
        S::Value: Debug,
        F: AsyncFn(Case, S::Value) -> Result<(), Fault>,
    {
        let config = Config {
            cases: self.cases,
            failure_persistence: None,
            max_shrink_iters: 512,
            max_shrink_time: SHRINK_MILLIS,
            ..Config::default()
        };
        // A rule that asks several times must not draw the same each time.
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &self.entropy(round));
        let mut runner = TestRunner::new_with_rng(config, rng);
        let ended: RefCell<Option<Fault>> = RefCell::new(None);
        let result = runner.run(&strategy, |value| {
            // A fault that is none of the server's ends the rule at once.
            if matches!(*ended.borrow(), Some(Fault::Unable(_) | Fault::Skip(_))) {
                return Ok(());
            }
            if self.started.elapsed() > MOST {
                let why = format!("not done after {} s", MOST.as_secs());
                ended.replace(Some(Fault::Unable(why)));
                return Ok(());
            }
            self.drawn.fetch_add(1, Ordering::Relaxed);
            let input = format!("{value:?}");
            let case = self.case();
            match self.handle.block_on(property(case.clone(), value)) {
                Ok(()) => Ok(()),
                Err(fault @ Fault::Broken { .. }) => {
                    self.keep(&fault, input, &case);
                    ended.replace(Some(fault));
                    Err(TestCaseError::fail("broken"))
                }
                Err(other) => {
                    // Once something broke, a case that cannot be tried is only a shorter form that is none.
                    if ended.borrow().is_none() {
                        ended.replace(Some(other));
                    }
                    Ok(())
                }
            }
        });
        match (ended.into_inner(), result) {
            (Some(fault), _) => Err(fault),
            (None, Ok(()) | Err(TestError::Fail(..))) => Ok(()),
            (None, Err(TestError::Abort(why))) => Err(Fault::unable(why.to_string())),
        }
    }

    /// Checks a property once, where nothing is to be drawn.
    ///
    /// # Errors
    /// How the property ended.
    pub fn once<F>(&self, property: F) -> Result<(), Fault>
    where
        F: AsyncFn(Case) -> Result<(), Fault>,
    {
        self.drawn.fetch_add(1, Ordering::Relaxed);
        let case = self.case();
        let ended = self.handle.block_on(property(case.clone()));
        if let Err(fault) = &ended {
            self.keep(fault, String::new(), &case);
        }
        ended
    }

    /// Runs what prepares the cases, outside of them: an organization that all cases read, for instance.
    pub fn prepare<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: AsyncFn(Case) -> Result<T, Fault>,
    {
        self.handle.block_on(work(self.case()))
    }

    /// Counts what was looked at without a request of its own.
    pub fn looked(&self) {
        self.drawn.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a broken rule with the exchanges of a case, for the report.
    pub(crate) fn keep(&self, fault: &Fault, input: String, case: &Case) {
        if let Fault::Broken { expected, got, at } = fault {
            let (exchanges, secrets) = (case.exchanges(), case.secrets());
            let at = at.unwrap_or_else(|| exchanges.len().saturating_sub(1));
            let (expected, got) = (expected.clone(), got.clone());
            let finding = Finding { expected, got, input, at, exchanges, secrets };
            self.broken.replace(Some(Box::new(finding)));
        }
    }

    /// The seed of this rule: the same whichever other rules run.
    fn entropy(&self, round: u32) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(round.to_be_bytes());
        digest.update(self.seed.to_be_bytes());
        digest.update(self.rule.id.as_bytes());
        digest.finalize().into()
    }
}
