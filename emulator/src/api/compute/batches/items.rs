//! `GET /sandboxes/batches/{id}/items`: its sandboxes in the order of their numbers, a hundred unless asked otherwise.

use axum::extract::State;
use serde_json::Value;

use super::record::Batch;
use super::request::MOST;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::show::{Reader, show};
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Pages, Scoped};
use crate::store::{Filter, Paging};

/// How many, when nothing is said (miosa-python 2.19).
const SIZE: u32 = 100;

/// The handler.
pub async fn list(
    State(app): State<App>,
    reader: Reader,
    mut pages: Pages,
    batch: Scoped<Batch>,
) -> ApiResult<Answer> {
    let all = Paging::Number { page: 1, size: MOST };
    let filter = Filter { org: batch.org, parent: Some(batch.id), ..Filter::default() };
    let read =
        app.store.read(move |view| view.page::<Sandbox>(&filter, all).map_err(ApiError::from));
    let mut sandboxes = read.await?.items;
    let index = |sandbox: &Sandbox| sandbox.batch.map_or(0, |item| item.index);
    sandboxes.sort_by_key(index);
    if !pages.asked {
        (pages.asked, pages.paging) = (true, Paging::Number { page: 1, size: SIZE });
    }
    let shown = sandboxes.iter().map(|sandbox| {
        let mut shown = show(&app, sandbox, &reader);
        if let Value::Object(members) = &mut shown {
            members.insert("batch_item_index".into(), index(sandbox).into());
        }
        shown
    });
    Ok(Answer::portion(pages.portion(shown.collect()), "items"))
}
