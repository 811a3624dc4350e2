//! What a build spec's `from` means: a built-in template before one of the organization's own, and both before an image.

use uuid::Uuid;

use super::Template;
use crate::http::ApiResult;
use crate::machines::Base;
use crate::machines::templates::{self, BuiltIn};
use crate::store::View;

/// What is meant.
#[derive(Debug)]
pub enum Meant {
    /// A built-in template.
    BuiltIn(&'static BuiltIn),
    /// A template of the organization.
    Own(Box<Template>),
    /// Something that only an engine can know.
    Image(String),
}

impl Meant {
    /// What a machine starts from; `None` for a template that has no build that is ready.
    pub fn base(&self) -> Option<Base> {
        match self {
            Self::BuiltIn(template) => Some(Base::Template(template.id.to_owned())),
            Self::Own(template) => template.live.as_ref().map(|live| Base::Snapshot(live.image)),
            Self::Image(image) => Some(Base::Image(image.clone())),
        }
    }
}

/// What `from` means in an organization, for who is bound to this workspace or to none.
///
/// # Errors
/// When the store fails.
pub fn of(view: &View<'_>, (org, bound): (Uuid, Option<Uuid>), from: &str) -> ApiResult<Meant> {
    if let Some(template) = templates::find(from) {
        return Ok(Meant::BuiltIn(template));
    }
    let own = match Uuid::parse_str(from) {
        Ok(id) => view.get::<Template>(org, id)?,
        Err(_) => view.by_slug::<Template>(org, from)?,
    };
    let visible = |template: &Template| bound.is_none_or(|bound| template.workspace_id == bound);
    Ok(match own.filter(visible) {
        Some(template) => Meant::Own(Box::new(template)),
        None => Meant::Image(from.to_owned()),
    })
}
