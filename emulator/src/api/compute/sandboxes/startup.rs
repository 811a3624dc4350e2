//! What a sandbox does by itself once its machine runs: it clones a repository, runs its setup file once, starts its
//! entrypoint, and finds out when it is ready.
//!
//! All of it is asked for by the create and goes on behind it, in a task of the emulator's. Its progress is in the row,
//! so that it is told truthfully after any end: what was cut off has failed, what had not begun runs at the next start.

pub mod entrypoint;
pub mod probe;
pub mod progress;
pub mod repository;
pub mod setup_file;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::probe::Probe;
use self::progress::{Progress, Stand};
use self::repository::Repository;
use self::setup_file::SetupFile;
use super::Sandbox;
use super::activity::hold;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult};

/// What the create asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Startup {
    /// Cloned once.
    pub repository: Option<Repository>,
    /// Run once.
    pub setup_file: Option<SetupFile>,
    /// Started whenever the machine starts.
    pub entrypoint: Option<String>,
    /// Whether that was done since the machine last started.
    pub entrypoint_started: bool,
    /// Says when the sandbox is ready; without one it is when commands can run.
    pub probe: Option<Probe>,
    /// Whether the probe has yet to pass since the machine last started.
    pub probing: bool,
    /// What the probe last met with, while it does not pass.
    pub probe_error: Option<String>,
}

impl Startup {
    /// Its processes are new: the entrypoint is not among them, readiness has to be found out again.
    pub fn anew(&mut self) {
        self.entrypoint_started = false;
        self.probing = self.probe.is_some();
        self.probe_error = None;
    }

    /// What a copy of the sandbox does: what was done once is in the files already.
    #[must_use]
    pub fn of_a_copy(self) -> Self {
        Self { entrypoint: self.entrypoint, probe: self.probe, ..Self::default() }
    }

    /// What was under way is over: nobody works on it any more.
    pub fn cut_off(&mut self, why: &str, now: Timestamp) -> bool {
        let repository = self.repository.as_mut().map(|repository| &mut repository.progress);
        let setup_file = self.setup_file.as_mut().map(|setup| &mut setup.progress);
        let mut any = false;
        for progress in repository.into_iter().chain(setup_file) {
            if progress.stand == Stand::Running {
                progress.end(Err(why.to_owned()), now);
                any = true;
            }
        }
        any
    }

    /// The whole of the setup, as one: the first that failed, else the first that is not done.
    pub fn setup(&self) -> Option<Progress> {
        let repository = self.repository.as_ref().map(|repository| &repository.progress);
        let setup_file = self.setup_file.as_ref().map(|setup| &setup.progress);
        Progress::together([repository, setup_file].into_iter().flatten())
    }

    /// Whether there is something to do or to find out.
    pub fn is_unfinished(&self) -> bool {
        let setting_up = self.setup().is_some_and(|setup| !setup.stand.is_final());
        let starting = self.entrypoint.is_some() && !self.entrypoint_started;
        setting_up || starting || self.probing
    }
}

/// Lets a sandbox that runs do what it does by itself, as far as that is not done. Twice is no harm: each step is claimed
/// in the row.
pub fn begin(app: &App, org: Uuid, id: Uuid) {
    let app = app.clone();
    app.clone().tasks.spawn(async move {
        let done = tokio::select! {
            done = work(&app, org, id) => done,
            () = app.stopping.cancelled() => return,
        };
        if let Err(error) = done {
            tracing::warn!(sandbox = %id, "its startup: {} {:?}", error.message, error.log);
        }
    });
}

/// What was under way when another emulator on this data ended has failed.
///
/// # Errors
/// When the store fails.
pub async fn cut_off_all(app: &App, rows: &[Sandbox], why: &'static str) -> ApiResult<()> {
    let under_way = |startup: &Startup| startup.clone().cut_off(why, Timestamp(0));
    for row in rows.iter().filter(|row| under_way(&row.startup)) {
        let key = (row.org, row.id);
        note(app, key, move |startup, now| startup.cut_off(why, now)).await?;
    }
    Ok(())
}

/// Goes on where another emulator on this data left off.
///
/// # Errors
/// When the store fails.
pub async fn go_on(app: &App) -> ApiResult<()> {
    let rows = app.store.read(|view| view.all::<Sandbox>().map_err(ApiError::from)).await?;
    for sandbox in rows.iter().filter(|row| row.runs() && row.startup.is_unfinished()) {
        begin(app, sandbox.org, sandbox.id);
    }
    Ok(())
}

async fn work(app: &App, org: Uuid, id: Uuid) -> ApiResult<()> {
    let found = app.store.read(move |view| view.get::<Sandbox>(org, id).map_err(ApiError::from));
    let Some(sandbox) = found.await? else { return Ok(()) };
    if !sandbox.startup.is_unfinished() {
        return Ok(());
    }
    let (probed, worked) = tokio::join!(probe::watch(app, org, id), set_up(app, &sandbox));
    probed.and(worked)
}

/// In this order: a setup file may need the repository, an entrypoint both. A step that failed does not keep the next
/// one from trying.
async fn set_up(app: &App, sandbox: &Sandbox) -> ApiResult<()> {
    let agent = app.machines.agent(sandbox.id)?;
    let _active = hold(app, sandbox);
    repository::run(app, sandbox, &agent).await?;
    setup_file::run(app, sandbox, &agent).await?;
    entrypoint::run(app, sandbox, &agent).await
}

/// Changes what is kept of a sandbox's startup, and lets everybody know. `None` when the sandbox is gone.
async fn note<T: Send + 'static>(
    app: &App,
    (org, id): (Uuid, Uuid),
    change: impl FnOnce(&mut Startup, Timestamp) -> T + Send + 'static,
) -> ApiResult<Option<T>> {
    let now = app.clock.now(org);
    let noted = app
        .store
        .write(move |tx| -> ApiResult<Option<T>> {
            let Some(mut sandbox) = tx.get::<Sandbox>(org, id)? else { return Ok(None) };
            let answer = change(&mut sandbox.startup, now);
            sandbox.updated_at = now;
            tx.update(&sandbox)?;
            Ok(Some(answer))
        })
        .await?;
    super::transition::tell(app);
    Ok(noted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(outcome: Result<(), &str>) -> Progress {
        let mut progress = Progress::default();
        progress.begin(Timestamp(1));
        progress.end(outcome.map_err(str::to_owned), Timestamp(2));
        progress
    }

    #[test]
    fn what_was_cut_off_has_failed_and_what_had_not_begun_has_not() {
        let mut startup = Startup {
            setup_file: Some(SetupFile::new("true".into()).unwrap()),
            ..Startup::default()
        };
        assert!(!startup.cut_off("stopped", Timestamp(9)));
        assert_eq!(startup.setup().unwrap().stand, Stand::Pending);
        startup.setup_file.as_mut().unwrap().progress.begin(Timestamp(5));
        assert!(startup.cut_off("stopped", Timestamp(9)));
        let setup = startup.setup().unwrap();
        assert_eq!((setup.stand, setup.error.as_deref()), (Stand::Failed, Some("stopped")));
        assert_eq!(setup.finished_at, Some(Timestamp(9)));
    }

    #[test]
    fn two_steps_are_done_when_both_are_and_failed_when_one_has() {
        let together = |a: &Progress, b: &Progress| Progress::together([a, b].into_iter()).unwrap();
        let (good, bad, not_yet) = (done(Ok(())), done(Err("no")), Progress::default());
        assert_eq!(together(&good, &good).stand, Stand::Done);
        assert_eq!(together(&good, &not_yet).stand, Stand::Running);
        assert_eq!(together(&not_yet, &not_yet).stand, Stand::Pending);
        assert_eq!(together(&bad, &good).error.as_deref(), Some("no"));
        assert_eq!(Progress::together(std::iter::empty()), None);
    }

    #[test]
    fn a_copy_is_not_set_up_again() {
        let startup = Startup {
            setup_file: Some(SetupFile::new("true".into()).unwrap()),
            entrypoint: Some("serve".into()),
            ..Startup::default()
        };
        let copy = startup.of_a_copy();
        assert_eq!((copy.setup_file, copy.entrypoint.as_deref()), (None, Some("serve")));
    }
}
