//! The emulator keeps every rule: an emulator in this process, each chapter a test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod emulator;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use emulator::Emulator;
use miosa_contract::rule::{Chapter, Rule};
use miosa_contract::run::{Entry, Outcome, Plan, Watch};
use miosa_contract::target::{Address, Limits, Profile, Target};
use miosa_contract::{chapters, report};

/// Rules that plain processes cannot keep: they share the files and processes of this computer.
const NEED_WALLS: &[&str] = &["ISO-008"];

struct Silent;

impl Watch for Silent {
    fn begins(&self, _: &'static Rule) {}
    fn ended(&self, _: &Entry) {}
}

fn keeps(chapter: Chapter) {
    let walls = emulator::program().is_some();
    let rules: Vec<&'static Rule> = chapters::all()
        .into_iter()
        .filter(|rule| rule.chapter == chapter && (walls || !NEED_WALLS.contains(&rule.id)))
        .collect();
    assert!(!rules.is_empty(), "{chapter:?} has no rules");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let emulator = runtime.block_on(Emulator::with_machines());
    let limits = Limits { budget: u64::MAX, per_minute: None, chosen: true };
    let address = Address::parse(&emulator.url()).unwrap();
    let opened = Target::open(address, Profile::Emulator, None, limits);
    let target = Arc::new(runtime.block_on(opened).unwrap());
    let seed = u64::from(uuid::Uuid::new_v4().as_fields().0);
    let plan = Plan { rules, seed, cases: None, jobs: 3, fail_fast: false, saved: BTreeMap::new() };
    let handle = runtime.handle().clone();
    let entries = miosa_contract::run(&target, &plan, &handle, &Silent, &AtomicBool::new(false));
    runtime.block_on(emulator.stop());
    for entry in &entries {
        match &entry.outcome {
            Outcome::Kept => {}
            Outcome::Broken { finding } => {
                panic!("{} with seed {seed}\n{}", entry.rule.id, report::terminal::finding(finding))
            }
            Outcome::Unable { why } | Outcome::Skipped { why } => {
                panic!("{} did not run with seed {seed}: {why}", entry.rule.id)
            }
        }
    }
}

macro_rules! chapters {
    ($($name:ident: $chapter:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            keeps(Chapter::$chapter);
        })+

        #[test]
        fn every_chapter_is_run() {
            let run = [$(Chapter::$chapter),+];
            assert!(Chapter::ALL.iter().all(|chapter| run.contains(chapter)));
        }
    };
}

chapters! {
    envelopes: Envelopes,
    errors: Errors,
    status_codes: StatusCodes,
    request_format: RequestFormat,
    authentication: Authentication,
    scopes: Scopes,
    ownership: Ownership,
    isolation: Isolation,
    pagination: Pagination,
    idempotency: Idempotency,
    rate_limits: RateLimits,
    ids_and_times: IdsAndTimes,
    life_cycles: LifeCycles,
    files: Files,
    exec: Exec,
    streams: Streams,
}
