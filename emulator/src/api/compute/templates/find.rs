//! Templates, found: the list and one of them, built-in or the caller's own.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::readiness::{self, Kept};
use super::{Template, show};
use crate::api::compute::sandboxes::create::template::named;
use crate::app::App;
use crate::http::scoped::{PathValues, load, visible};
use crate::http::{Answer, ApiError, ApiResult, Caller, Pages, Params, codes};
use crate::machines::templates::{BUILT_IN, DEFAULT_TEMPLATE, find as built_in};
use crate::store::{Filter, Paging};

/// How many templates an organization may have: lists of them are read whole.
pub const MOST: u32 = 200;

/// Those of the caller's organization that the caller may see, newest first.
///
/// # Errors
/// When the store fails.
pub async fn own_templates(app: &App, caller: &Caller) -> ApiResult<Vec<Template>> {
    let filter = Filter { org: caller.org, ..Filter::default() };
    let all = Paging::Cursor { before: None, size: MOST };
    let caller = caller.clone();
    app.store
        .read(move |view| {
            let items = view.page::<Template>(&filter, all)?.items;
            Ok(items.into_iter().filter(|template| visible(template, &caller)).collect())
        })
        .await
}

/// One of the caller's own, to be changed.
///
/// # Errors
/// 403 for a built-in one, which belongs to nobody; 404 when there is none.
pub async fn own(app: &App, caller: &Caller, name: &str) -> ApiResult<Template> {
    if let Some(template) = built_in(name) {
        return Err(ApiError::new(
            codes::FORBIDDEN,
            format!("{} is a built-in template; only your own can be changed.", template.id),
        ));
    }
    let (caller, name) = (caller.clone(), name.to_owned());
    app.store.read(move |view| load::<Template>(view, &caller, &name, None)).await
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    include_aliases: Option<String>,
}

/// `GET /sandbox-templates`: built-in ones, then one's own; with `include_aliases` each alias as an entry of its own.
/// Whole unless a part is asked for: no client asks for a second page.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    pages: Pages,
    Params(query): Params<ListQuery>,
) -> ApiResult<Answer> {
    let aliases = match query.include_aliases.as_deref() {
        Some("true" | "True" | "1") => true,
        None | Some("false" | "False" | "0") => false,
        Some(_) => return Err(ApiError::parameter("include_aliases", "must be true or false")),
    };
    let mut items = Vec::new();
    for template in BUILT_IN {
        let record = show::built_in(template, readiness::built_in(&app, template).await);
        items.push(record.clone());
        for alias in template.aliases.iter().filter(|_| aliases) {
            let mut entry = record.clone();
            if let Value::Object(fields) = &mut entry {
                fields.insert("id".into(), (*alias).into());
                fields.insert("slug".into(), (*alias).into());
                fields.insert("alias_of".into(), template.id.into());
                fields.insert("default".into(), false.into());
            }
            items.push(entry);
        }
    }
    let own = own_templates(&app, &caller).await?;
    if !own.is_empty() {
        let kept = Kept::look(&app).await;
        items.extend(own.iter().map(|template| show::own(template, kept.readiness(template))));
    }
    let part = pages.portion(items);
    let (total, page, size) = (part.total, part.page, part.size);
    let meta = json!({
        "total": total, "page": page, "per_page": size, "has_next_page": part.next_cursor.is_some(),
    });
    // `default_template_id` stands beside the list (`api-reference/sandbox-templates`).
    let answer = Answer::ok(&part.items)?
        .beside("default_template_id", json!(DEFAULT_TEMPLATE))
        .beside("page", json!({ "page": page, "page_size": size, "total": total }))
        .beside("meta", meta)
        .beside("templates", json!(part.items))
        .beside("total", json!(total))
        .beside("next_cursor", json!(part.next_cursor));
    Ok(answer)
}

/// `GET /sandbox-templates/{id}`: by id, slug or alias.
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    path: PathValues,
) -> ApiResult<Answer> {
    let name = path.at(0);
    let unknown = match named(name) {
        Ok(template) => {
            let readiness = readiness::built_in(&app, template).await;
            return Answer::ok(&show::built_in(template, readiness));
        }
        Err(unknown) => unknown,
    };
    match own(&app, &caller, name).await {
        Ok(template) => {
            let kept = Kept::look(&app).await;
            Answer::ok(&show::own(&template, kept.readiness(&template)))
        }
        Err(error) if error.code.status == 404 => Err(unknown),
        Err(error) => Err(error),
    }
}
