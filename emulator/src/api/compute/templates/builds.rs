//! Builds of a template: queued, run one after another by [`queue`], each acted out by [`run`].
//!
//! A build's machine has the build's id, and no sandbox's row: what a crash leaves of it is an orphan and goes at the
//! next start. Its image has an id of its own and is nobody's snapshot: only here is it named.

pub mod certify;
pub mod journal;
pub mod log;
pub mod queue;
pub mod record;
pub mod routes;
pub mod run;
pub mod step;

use std::collections::HashSet;

use uuid::Uuid;

pub use record::{Build, State};

use super::Template;
use crate::app::App;
use crate::http::ApiResult;
use crate::store::{Filter, Paging, Tx, View};

/// How many builds of a template are remembered; the oldest go, with their logs.
const REMEMBERED: usize = 100;

/// How many images of a template are kept to return to, the live one among them.
const IMAGES: usize = 5;

/// A template's builds, newest first.
///
/// # Errors
/// When the store fails.
pub fn of(view: &View<'_>, template: &Template) -> ApiResult<Vec<Build>> {
    let filter = Filter { org: template.org, parent: Some(template.id), ..Filter::default() };
    // More are never remembered but for a moment.
    let all = Paging::Cursor { before: None, size: 200 };
    Ok(view.page::<Build>(&filter, all)?.items)
}

/// How many of a template's builds have not ended.
///
/// # Errors
/// When the store fails.
pub fn active(view: &View<'_>, template: &Template) -> ApiResult<u64> {
    let filter = Filter {
        org: template.org,
        parent: Some(template.id),
        not_states: State::ENDED.iter().map(|state| state.as_str()).collect(),
        ..Filter::default()
    };
    Ok(view.count::<Build>(&filter)?)
}

/// Removes a template's builds with their logs; answers their images, to be cleared when this is committed.
///
/// # Errors
/// When the store fails.
pub fn remove_all(tx: &Tx<'_>, template: &Template) -> ApiResult<Vec<Uuid>> {
    let mut images = Vec::new();
    for build in of(tx, template)? {
        images.extend(build.image);
        forget(tx, &build)?;
    }
    Ok(images)
}

fn forget(tx: &Tx<'_>, build: &Build) -> ApiResult<()> {
    tx.remove::<Build>(build.org, build.id)?;
    tx.remove_log(build.id)?;
    Ok(())
}

/// Lets go of the oldest builds and images of a template; answers the images, to be cleared when this is committed.
fn thin_out(tx: &Tx<'_>, template: &Template) -> ApiResult<Vec<Uuid>> {
    let live = template.live.map(|live| live.build);
    let (mut images, mut gone) = (0, Vec::new());
    for (at, build) in of(tx, template)?.into_iter().enumerate() {
        if live == Some(build.id) || !build.state.ended() {
            continue;
        }
        let excess = at >= REMEMBERED;
        if let Some(image) = build.image {
            images += 1;
            // One place is the live one's.
            if images >= IMAGES || excess {
                gone.push(image);
                tx.update(&Build { image: None, ..build.clone() })?;
            }
        }
        if excess {
            forget(tx, &build)?;
        }
    }
    Ok(gone)
}

/// Removes images that no build names any more.
pub async fn clear(app: &App, images: &[Uuid]) {
    for image in images {
        if let Err(error) = app.machines.remove_snapshot(*image).await {
            tracing::warn!("the image {image} of a build stays until the next start: {error}");
        }
    }
}

/// The images that builds of any organization have: files that no row of a snapshot names, and that must stay.
///
/// # Errors
/// When the store fails.
pub fn images(view: &View<'_>) -> Result<HashSet<Uuid>, crate::store::StoreError> {
    Ok(view.all::<Build>()?.into_iter().filter_map(|build| build.image).collect())
}

/// The machines of builds that are under way.
///
/// # Errors
/// When the store fails.
pub fn machines(view: &View<'_>) -> Result<HashSet<Uuid>, crate::store::StoreError> {
    let all = view.all::<Build>()?.into_iter();
    Ok(all.filter(|build| build.state.runs()).map(|build| build.id).collect())
}

/// What an organization's builds have on the host of machines: machines, and images.
///
/// # Errors
/// When the store fails.
pub fn belongings(view: &View<'_>, org: Uuid) -> ApiResult<(Vec<Uuid>, Vec<Uuid>)> {
    let (mut machines, mut images) = (Vec::new(), Vec::new());
    for build in view.all::<Build>()?.into_iter().filter(|build| build.org == org) {
        images.extend(build.image);
        if build.state.runs() {
            machines.push(build.id);
        }
    }
    Ok((machines, images))
}
