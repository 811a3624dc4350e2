//! `POST /sandbox-templates` and `POST /sandbox-templates/validate`.
//!
//! What is wrong with a template is told by field, in a map, all at once; what is wrong with its build spec in a list
//! (miosa-cli: `errors` beside `error`).

use axum::extract::State;
use http::HeaderMap;
use http::header::USER_AGENT;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::event::{self, Happening};
use super::find::MOST;
use super::readiness::Kept;
use super::spec::check::{self, Fault};
use super::spec::{Spec, host};
use super::{Status, Template, show};
use crate::api::compute::sandboxes::refused_fields::refuse_unbuilt;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, codes, validation};
use crate::machines::templates;
use crate::store::{Filter, StoreError};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Create {
    name: Option<String>,
    slug: Option<String>,
    description: Option<String>,
    metadata: Option<Map<String, Value>>,
    build_spec: Option<Value>,
    /// An older form of a build spec (miosa-cli).
    dockerfile: Option<Value>,
}

/// What of a template is wrong, by field.
#[derive(Default)]
struct Mistakes(Map<String, Value>);

impl Mistakes {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.insert(field.to_owned(), json!([message.into()]));
    }

    fn refusal(self) -> ApiResult<()> {
        if self.0.is_empty() { Ok(()) } else { Err(invalid(&self.0)) }
    }
}

fn invalid(mistakes: &Map<String, Value>) -> ApiError {
    let details: Vec<Value> = mistakes
        .iter()
        .map(|(field, messages)| json!({ "field": field, "message": messages.get(0) }))
        .collect();
    ApiError::new(codes::VALIDATION_FAILED, "sandbox template is invalid")
        .details(details.into())
        .errors(json!(mistakes))
}

fn taken() -> ApiError {
    let mut mistakes = Mistakes::default();
    mistakes.add("slug", "a template with this name already exists");
    invalid(&mistakes.0)
}

/// 422 `INVALID_BUILDSPEC` with everything that is wrong.
pub fn refused(faults: &[Fault]) -> ApiError {
    ApiError::new(codes::INVALID_BUILDSPEC, "BuildSpec is invalid")
        .details(json!(faults))
        .errors(json!(faults))
}

/// A spec that can be built here, as far as that is known.
///
/// # Errors
/// 422 `INVALID_BUILDSPEC`.
pub async fn checked(app: &App, caller: &Caller, said: &Value) -> ApiResult<Spec> {
    let spec = check::read(said).map_err(|faults| refused(&faults))?;
    let faults = host::faults(app, caller, &spec).await?;
    if faults.is_empty() { Ok(spec) } else { Err(refused(&faults)) }
}

impl Create {
    /// Name, slug, description and metadata, checked.
    fn words(&self) -> ApiResult<(String, String)> {
        let mut mistakes = Mistakes::default();
        let name = self.name.as_deref().map(str::trim).unwrap_or_default();
        if name.is_empty() {
            mistakes.add("name", "can't be blank");
        } else if name.chars().count() > 255 {
            mistakes.add("name", "should be at most 255 character(s)");
        } else if name.chars().any(char::is_control) {
            mistakes.add("name", "must not contain control characters");
        }
        let said = self.slug.as_deref().filter(|slug| !slug.is_empty());
        let slug = said.map_or_else(|| validation::slug_of(name, "template"), str::to_owned);
        if validation::slug("slug", &slug).is_err() || Uuid::parse_str(&slug).is_ok() {
            mistakes.add(
                "slug",
                "must be 1 to 63 lower-case letters, digits and inner dashes, and no id",
            );
        }
        let words = self.description.as_deref().unwrap_or_default();
        if words.chars().count() > 1000 {
            mistakes.add("description", "should be at most 1000 character(s)");
        }
        if self.build_spec.is_none() {
            mistakes.add("build_spec", "can't be blank");
        }
        mistakes.refusal()?;
        if templates::find(&slug).is_some() {
            return Err(taken());
        }
        Ok((name.to_owned(), slug))
    }
}

/// `POST /sandbox-templates`.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    refuse_unbuilt(&[("dockerfile", &body.dockerfile)])?;
    let (name, slug) = body.words()?;
    let spec = checked(&app, &caller, &body.build_spec.unwrap_or_default()).await?;
    let now = app.clock.now(caller.org);
    let template = Template {
        id: app.ids.next(),
        org: caller.org,
        workspace_id: caller.workspace,
        name,
        slug,
        description: body.description,
        metadata: body.metadata.unwrap_or_default(),
        status: Status::Draft,
        spec,
        live: None,
        latest: None,
        builds: 0,
        created_at: now,
        updated_at: now,
    };
    let kept = Kept::look(&app).await;
    let app_ = app.clone();
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let all = Filter { org: template.org, ..Filter::default() };
            if tx.count::<Template>(&all)? >= u64::from(MOST) {
                let text = format!("An organization has at most {MOST} templates; remove one.");
                return Err(ApiError::new(codes::RESOURCE_STATE, text));
            }
            match tx.insert(&template) {
                Err(StoreError::Taken(index)) if index == "template_slug" => return Err(taken()),
                inserted => inserted?,
            }
            event::emit(tx, &app_, &template, Happening::Created)?;
            let shown = show::own(&template, kept.readiness(&template));
            let location = format!("/sandbox-templates/{}", template.id);
            exchange.commit(tx, &Answer::created(&shown, location)?)
        })
        .await?;
    app.emitted.notify_waiters();
    Ok(answer)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Validate {
    build_spec: Option<Value>,
}

/// `POST /sandbox-templates/validate`: 200 whether it is valid or not. With a valid one comes its whole form.
pub(super) async fn validate(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Input(body): Input<Validate>,
) -> ApiResult<Answer> {
    let said = body.build_spec.unwrap_or_default();
    let (spec, faults) = match check::read(&said) {
        Ok(spec) => {
            let faults = host::faults(&app, &caller, &spec).await?;
            (json!(spec), faults)
        }
        Err(faults) => (said, faults),
    };
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let errors = if agent.starts_with("miosa-go") {
        // It decodes a list of strings and nothing else.
        let text = |fault: &Fault| format!("{}: {}", fault.field, fault.message);
        json!(faults.iter().map(text).collect::<Vec<_>>())
    } else {
        json!(faults)
    };
    Answer::ok(&json!({ "valid": faults.is_empty(), "build_spec": spec, "errors": errors }))
}
