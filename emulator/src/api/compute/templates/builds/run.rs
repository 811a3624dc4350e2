//! A build acted out: a machine from what the spec starts from, its steps in order, the trial, the seal. Whatever happens,
//! the machine is gone at the end, and the row says what came of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::journal::Journal;
use super::record::{Build, Failure, State};
use super::{certify, clear, step, thin_out};
use crate::api::compute::sandboxes::power;
use crate::api::compute::templates::base::{self, Meant};
use crate::api::compute::templates::origin::build_environment;
use crate::api::compute::templates::{Status, Template, event, versions};
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::machines::{MachineError, MachineSpec};

/// Bounds of builds, in process time.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many run at once.
    pub at_once: usize,
    /// Of one step.
    pub step: Duration,
    /// Of the trial.
    pub ready: Duration,
    /// Of all of it.
    pub whole: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            at_once: 2,
            step: Duration::from_secs(15 * 60),
            ready: Duration::from_secs(60),
            whole: Duration::from_secs(60 * 60),
        }
    }
}

/// Why a build does not go on.
#[derive(Debug)]
pub enum Stop {
    /// It has failed.
    Failed(Failure),
    /// There are no machines: nothing is wrong with the template.
    Unavailable(String),
    /// The emulator stops.
    Cancelled,
    /// Its row is gone.
    Gone,
    /// The emulator itself failed; the text is for the log.
    Broken(String),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Broken(error.log.unwrap_or(error.message))
    }
}

/// What a build has brought.
struct Done {
    certification: Value,
    size_bytes: u64,
}

/// Acts a build out that was taken from the queue.
pub async fn run(app: &App, build: Build) {
    let began = Instant::now();
    let image = app.ids.next();
    let mut journal = Journal::of(app, &build);
    let whole = app.config.builds.whole;
    let done = tokio::select! {
        done = tokio::time::timeout(whole, attempt(app, &build, image, &mut journal)) => {
            done.unwrap_or_else(|_| {
                let text = format!("the build took longer than {} s", whole.as_secs());
                Err(Failure::new("BUILD_TIMEOUT", text).into())
            })
        }
        () = app.stopping.cancelled() => Err(Stop::Cancelled),
    };
    power::reap(app, build.id).await;
    let ready = done.is_ok();
    let ended = finish(app, &build, image, done, journal, began.elapsed()).await;
    let gone = match ended {
        Ok(gone) => gone,
        Err(error) => {
            // The next start marks it.
            tracing::error!(build = %build.id, "its end could not be written: {:?}", error.log);
            Vec::new()
        }
    };
    if !ready && app.machines.host().is_some() {
        // A seal that was cut off may have come to its end.
        clear(app, &[image]).await;
    }
    clear(app, &gone).await;
    app.builds.grown.notify_waiters();
    app.emitted.notify_waiters();
}

async fn attempt(
    app: &App,
    build: &Build,
    image: Uuid,
    journal: &mut Journal,
) -> Result<Done, Stop> {
    let (spec, bounds) = (&build.spec, app.config.builds);
    journal.say("building", json!({ "state": State::Building, "from": spec.from }));
    journal.flush().await?;
    let machine = MachineSpec {
        id: build.id,
        operation: build.id,
        base: start_from(app, build).await?,
        shape: spec.shape(),
        env: build_environment(spec),
        hostname: format!("build-{}", build.number),
    };
    app.machines.create(&machine).await.map_err(|error| unmade(&spec.from, error))?;
    let agent = app.machines.agent(build.id).map_err(step::lost)?;
    let of = spec.steps.len();
    for (number, it) in (1..).zip(&spec.steps) {
        step::run(&agent, journal, (number, of), &it.run, bounds.step).await?;
    }
    advance(app, build, State::Certifying, journal).await?;
    let certification = certify::certify(&agent, journal, spec, bounds.ready).await?;
    journal.say("certified", json!({ "certification": certification }));
    advance(app, build, State::Snapshotting, journal).await?;
    let sealed = app.machines.snapshot(build.id, image).await.map_err(|error| {
        Failure::new("SNAPSHOT_FAILED", format!("the files could not be sealed: {error}"))
    })?;
    Ok(Done { certification, size_bytes: sealed.size_bytes })
}

/// What the files start from, as it is now.
async fn start_from(app: &App, build: &Build) -> Result<crate::machines::Base, Stop> {
    let (place, from) = ((build.org, Some(build.workspace_id)), build.spec.from.clone());
    let meant: ApiResult<Meant> = app
        .store
        .read(move |view| match base::of(view, place, &from)? {
            // What only others of the organization see was allowed when the build was asked for.
            Meant::Image(_) => base::of(view, (place.0, None), &from),
            meant => Ok(meant),
        })
        .await;
    meant?.base().ok_or_else(|| {
        let text = format!("template {} has no build that is ready", build.spec.from);
        Failure::new("BASE_UNAVAILABLE", text).into()
    })
}

fn unmade(from: &str, error: MachineError) -> Stop {
    match error {
        MachineError::Unavailable(reason) => Stop::Unavailable(reason),
        MachineError::TemplateMissing { reason, .. } => {
            Failure::new("BASE_UNAVAILABLE", format!("{from} cannot be started from: {reason}"))
                .into()
        }
        MachineError::NotFound(_) => {
            let text = format!("the image of template {from} is not on this host of machines");
            Failure::new("BASE_UNAVAILABLE", text).into()
        }
        other => Failure::new("BUILD_MACHINE_FAILED", format!("no machine could be made: {other}"))
            .into(),
    }
}

/// Comes to the next state; what was said before is written with it.
async fn advance(
    app: &App,
    build: &Build,
    state: State,
    journal: &mut Journal,
) -> Result<(), Stop> {
    journal.say(state.as_str(), json!({ "state": state }));
    let lot = journal.take();
    let (org, id, now) = (build.org, build.id, app.clock.now(build.org));
    let there = app
        .store
        .write(move |tx| -> ApiResult<bool> {
            let Some(_) = tx.modify::<Build>(org, id, |build| build.pass(state, now))? else {
                return Ok(false);
            };
            tx.append_log(org, id, lot.first, &lot.entries)?;
            Ok(true)
        })
        .await?;
    app.builds.grown.notify_waiters();
    if there { Ok(()) } else { Err(Stop::Gone) }
}

/// Writes what came of it; answers the images that are to be cleared.
async fn finish(
    app: &App,
    build: &Build,
    image: Uuid,
    done: Result<Done, Stop>,
    mut journal: Journal,
    took: Duration,
) -> ApiResult<Vec<Uuid>> {
    let (org, id, now) = (build.org, build.id, app.clock.now(build.org));
    let mut draft_stays = false;
    let outcome = match done {
        Ok(done) => Ok(done),
        Err(Stop::Failed(failure)) => Err((State::Failed, failure)),
        Err(Stop::Unavailable(reason)) => {
            draft_stays = true;
            let text = format!("there are no machines to build on: {reason}");
            Err((State::Failed, Failure::new("BUILDS_TEMPORARILY_UNAVAILABLE", text)))
        }
        Err(Stop::Cancelled) => {
            draft_stays = true;
            let text = "the emulator was stopped while the build ran; ask for it anew";
            Err((State::Cancelled, Failure::new("BUILD_INTERRUPTED", text)))
        }
        Err(Stop::Broken(log)) => {
            tracing::error!(build = %id, "{log}");
            let text = "the emulator failed on this build; its log has the reason";
            Err((State::Failed, Failure::new("INTERNAL", text)))
        }
        Err(Stop::Gone) => return Ok(Vec::new()),
    };
    let (state, more) = match &outcome {
        Ok(_) => {
            (State::Ready, json!({ "image_id": Template::image_id(&build.slug, build.number) }))
        }
        Err((state, error)) => {
            (*state, json!({ "error_code": error.code, "error_message": error.message }))
        }
    };
    let mut last = json!({ "state": state });
    if let (Value::Object(last), Value::Object(more)) = (&mut last, more) {
        last.extend(more);
    }
    journal.say(state.as_str(), last);
    let lot = journal.take();
    let app_ = app.clone();
    app.store
        .write(move |tx| -> ApiResult<Vec<Uuid>> {
            let both =
                (tx.get::<Build>(org, id)?, tx.get::<Template>(org, build_template(tx, org, id)?)?);
            let (Some(mut build), Some(template)) = both else { return Ok(vec![image]) };
            build.pass(state, now);
            build.duration_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            let template = match outcome {
                Ok(done) => {
                    build.image = Some(image);
                    build.size_bytes = Some(done.size_bytes);
                    build.certification = Some(done.certification);
                    versions::make_live(tx, template, &build, now)?
                }
                Err((_, failure)) => {
                    build.error = Some(failure);
                    after_failure(template, draft_stays, now)
                }
            };
            tx.update(&build)?;
            tx.update(&template)?;
            tx.append_log(org, id, lot.first, &lot.entries)?;
            event::build(tx, &app_, &build)?;
            thin_out(tx, &template)
        })
        .await
}

/// A template that has never been ready has failed with its build, unless the build could not even be tried.
fn after_failure(template: Template, draft_stays: bool, now: crate::clock::Timestamp) -> Template {
    if template.live.is_some() || draft_stays {
        return template;
    }
    Template { status: Status::Failed, updated_at: now, ..template }
}

fn build_template(tx: &crate::store::Tx<'_>, org: Uuid, id: Uuid) -> ApiResult<Uuid> {
    Ok(tx.get::<Build>(org, id)?.map(|build| build.template_id).unwrap_or_default())
}
