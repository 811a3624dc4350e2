//! `run`: checks a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::Utc;
use clap::Args;

use super::{rules, say, seeds};
use crate::chapters;
use crate::report::progress::Progress;
use crate::report::redact::redact;
use crate::report::{Report, files, terminal};
use crate::rule::{Chapter, Rule};
use crate::run::Plan;
use crate::target::spawn::Spawned;
use crate::target::{Address, Limits, Profile, Target};

/// Flags of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Where the server is: a URL, or `emulator` to start one
    #[arg(long, env = "MIOSA_CONTRACT_TARGET", value_name = "URL|emulator")]
    target: String,

    /// An API key; an emulator with open keys needs none
    #[arg(long, env = "MIOSA_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,

    /// A key of another organization, for the rules that need two
    #[arg(long, env = "MIOSA_SECOND_KEY", hide_env_values = true, value_name = "KEY")]
    second_key: Option<String>,

    /// What kind of server it is
    #[arg(long, value_enum, default_value = "emulator", value_name = "PROFILE")]
    profile: Profile,

    /// Only these rules
    #[arg(long, value_delimiter = ',', value_parser = rule, value_name = "RULE")]
    rule: Vec<&'static Rule>,

    /// Only these chapters
    #[arg(long, value_delimiter = ',', value_parser = rules::chapter, value_name = "CHAPTER")]
    chapter: Vec<Chapter>,

    /// Also the rules that are our choice, on a live server
    #[arg(long)]
    chosen: bool,

    /// Draw the same values again; if not said, others in every run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How many values each rule draws; if not said, as each rule says
    #[arg(long, value_name = "N")]
    cases: Option<u32>,

    /// How many rules at once; if not said, 6, and 1 on a live server
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,

    /// End with the first broken rule
    #[arg(long)]
    fail_fast: bool,

    /// How many requests a live server gets at most
    #[arg(long, default_value_t = 600, value_name = "N")]
    budget: u64,

    /// How many requests a minute a live server gets
    #[arg(long, default_value_t = 200, value_name = "N")]
    per_minute: u32,

    /// Where reports and seeds are written
    #[arg(long, default_value = "miosa-contract", value_name = "DIR")]
    out: PathBuf,

    /// With --target emulator: the program; if not said, the one beside this one
    #[arg(long, value_name = "FILE")]
    emulator: Option<PathBuf>,

    /// With --target emulator: one more argument for it, for instance --machines=none
    #[arg(long, allow_hyphen_values = true, value_name = "ARG")]
    emulator_arg: Vec<String>,
}

fn rule(text: &str) -> Result<&'static Rule, String> {
    chapters::find(text).ok_or_else(|| "no such rule; `miosa-contract rules` lists them".to_owned())
}

impl Run {
    pub(super) fn run(self) -> Result<u8, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        let spawned = if self.target == "emulator" {
            let started = Spawned::start(self.emulator.as_deref(), &self.emulator_arg);
            Some(runtime.block_on(started).map_err(|error| error.to_string())?)
        } else {
            None
        };
        let done = self.against(spawned.as_ref(), &runtime);
        if let Some(spawned) = spawned {
            runtime.block_on(spawned.stop());
        }
        done
    }

    fn against(
        &self,
        spawned: Option<&Spawned>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<u8, String> {
        let address = match spawned {
            Some(spawned) => spawned.address.clone(),
            None => Address::parse(&self.target).map_err(|error| error.to_string())?,
        };
        let live = self.profile == Profile::Live;
        let limits = Limits {
            budget: if live { self.budget } else { u64::MAX },
            per_minute: live.then_some(self.per_minute),
            chosen: self.chosen,
        };
        let keys = self.key.clone().map(|key| (key, self.second_key.clone()));
        if live && keys.is_none() {
            return Err("a live server needs a key: --key or MIOSA_API_KEY".to_owned());
        }
        let opened = Target::open(address, self.profile, keys, limits);
        let target = runtime.block_on(opened).map_err(|error| error.to_string())?;
        let report = self.check(&Arc::new(target), runtime)?;
        Ok(report.exit_code())
    }

    fn check(
        &self,
        target: &Arc<Target>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Report, String> {
        std::fs::create_dir_all(&self.out)
            .map_err(|error| format!("{}: {error}", self.out.display()))?;
        let kept = self.out.join("seeds.json");
        let saved = seeds::read(&kept)?;
        let plan = self.plan(saved.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let interrupted = Arc::new(AtomicBool::new(false));
        let listener = runtime.spawn({
            let (target, stop, interrupted) = (target.clone(), stop.clone(), interrupted.clone());
            async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    interrupted.store(true, Ordering::Relaxed);
                    stop.store(true, Ordering::Relaxed);
                    target.interrupt();
                }
            }
        });
        let (started, since) = (Utc::now(), Instant::now());
        let progress = Progress::new(plan.rules.len());
        let entries = crate::run(target, &plan, runtime.handle(), &progress, &stop);
        progress.done();
        let left_behind = runtime.block_on(target.clean());
        listener.abort();
        seeds::write(&kept, &seeds::after(saved, &entries))?;
        let report = Report {
            target: target.address.to_string(),
            origin: target.address.origin(),
            profile: self.profile,
            run: target.run.clone(),
            seed: plan.seed,
            started,
            seconds: since.elapsed().as_secs_f64(),
            requests: target.requests(),
            interrupted: interrupted.load(Ordering::Relaxed),
            left_behind,
            entries,
        };
        let secrets = target.secrets();
        files::write(&report, &self.out, &secrets)?;
        say(&redact(&terminal::text(&report), &secrets))?;
        say(&format!("{}", self.out.join("report.html").display()))?;
        Ok(report)
    }

    fn plan(&self, saved: seeds::Seeds) -> Plan {
        let named = |rule: &&'static Rule| self.rule.iter().any(|named| named.id == rule.id);
        let rules: Vec<_> = chapters::all()
            .into_iter()
            .filter(|rule| {
                let all = self.rule.is_empty() && self.chapter.is_empty();
                all || named(rule) || self.chapter.contains(&rule.chapter)
            })
            .collect();
        // A seed that people can type.
        let drawn = || u64::from(uuid::Uuid::new_v4().as_fields().0);
        Plan {
            rules,
            seed: self.seed.unwrap_or_else(drawn),
            cases: self.cases,
            jobs: self.jobs.unwrap_or(if self.profile == Profile::Live { 1 } else { 6 }),
            fail_fast: self.fail_fast,
            saved,
        }
    }
}
