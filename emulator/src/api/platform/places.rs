//! Workspaces and projects are found and made by the same rules: by id, slug, external id or name.
//!
//! An id or slug that is there wins; what the other selectors say must agree with it. A slug or external id that is not
//! there makes a new one (`platform/attribution`: existing or auto-created).

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::error::ApiError;
use crate::http::validation::{self, slug_of};
use crate::http::{ApiResult, codes};
use crate::store::{Column, Resource, View};

/// A workspace or a project.
pub(super) trait Place: Resource {
    /// The code for one that is not there.
    const MISSING: codes::Code;
    fn id(&self) -> Uuid;
    fn slug(&self) -> &str;
    fn external(&self) -> Option<&str>;
    fn set_external(&mut self, external: &str, now: Timestamp);
    /// What is told to who wants the slug or name that this one has.
    fn taken(&self) -> ApiError;
}

/// What a request says that a place shall be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) slug: Option<&'a str>,
    pub(super) description: Option<&'a str>,
    pub(super) external: Option<&'a str>,
}

impl Called<'_> {
    /// Whether a place can be called this.
    ///
    /// # Errors
    /// 422 naming the first field that cannot be.
    pub(super) fn validate<P: Place>(self) -> ApiResult<()> {
        if let Some(name) = self.name {
            validation::text("name", name, 1, 255)?;
            if name.trim().is_empty() {
                return Err(ApiError::field("name", "must not be blank"));
            }
        }
        if let Some(slug) = self.slug {
            validation::slug("slug", slug)?;
        }
        if let Some(description) = self.description {
            validation::text("description", description, 0, 4096)?;
        }
        if let Some(external) = self.external {
            validation::text(&format!("external_{}_id", P::KIND), external, 1, 255)?;
        }
        Ok(())
    }
}

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within {
    pub(super) org: Uuid,
    /// For projects: the workspace. Names are unique in it.
    pub(super) workspace: Option<Uuid>,
}

impl Within {
    pub(super) fn find<P: Place>(
        self,
        view: &View<'_>,
        column: Column,
        value: &str,
    ) -> ApiResult<Option<P>> {
        Ok(match (self.workspace, column) {
            (Some(workspace), _) => view.in_workspace(workspace, column, value)?,
            (None, Column::Name) => view.by_name(self.org, value)?,
            (None, Column::Slug) => view.by_slug(self.org, value)?,
            (None, Column::External) => view.by_external(self.org, value)?,
        })
    }

    /// The one with this id (or this slug, where a client puts one there). A project is found by its id in any
    /// workspace: that it is in another one than asked for is told apart from its absence.
    fn by_id<P: Place>(self, view: &View<'_>, named: &str) -> ApiResult<Option<P>> {
        match Uuid::parse_str(named) {
            Ok(id) => Ok(view.get::<P>(self.org, id)?),
            Err(_) => self.find(view, Column::Slug, named),
        }
    }

    /// Refuses a value that another one than `own` has.
    pub(super) fn refuse_taken<P: Place>(
        self,
        view: &View<'_>,
        column: Column,
        value: &str,
        own: Option<Uuid>,
    ) -> ApiResult<()> {
        match self.find::<P>(view, column, value)? {
            Some(known) if own != Some(known.id()) => Err(known.taken()),
            _ => Ok(()),
        }
    }

    /// The slug that was asked for, or a free one that the name suggests.
    pub(super) fn new_slug<P: Place>(
        self,
        view: &View<'_>,
        asked: Option<&str>,
        name: &str,
    ) -> ApiResult<String> {
        let Some(asked) = asked else {
            return self.free_slug::<P>(view, &slug_of(name, P::KIND));
        };
        self.refuse_taken::<P>(view, Column::Slug, asked, None)?;
        Ok(asked.to_owned())
    }

    /// The first free slug of `base`, `base-2`, `base-3`, …
    pub(super) fn free_slug<P: Place>(self, view: &View<'_>, base: &str) -> ApiResult<String> {
        for n in 1..=u32::MAX {
            let slug = if n == 1 { base.to_owned() } else { suffixed(base, n) };
            if self.find::<P>(view, Column::Slug, &slug)?.is_none() {
                return Ok(slug);
            }
        }
        Err(ApiError::internal("no slug is free"))
    }
}

/// `base-n` within the length of a slug.
fn suffixed(base: &str, n: u32) -> String {
    let suffix = format!("-{n}");
    let base: String = base.chars().take(63 - suffix.len()).collect();
    format!("{}{suffix}", base.trim_end_matches('-'))
}

/// What selectors say about one place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) slug: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) external: Option<&'a str>,
}

/// A place to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Make {
    /// The id that was asked for (`--adopt`).
    pub(super) id: Option<Uuid>,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) external: Option<String>,
}

/// What selectors mean.
#[derive(Debug)]
pub(super) enum Means<P> {
    /// One that is there.
    This(P),
    /// A new one.
    Make(Make),
    /// Nothing was said.
    Nothing,
}

pub(super) fn conflict(kind: &str, message: impl Into<String>) -> ApiError {
    let message = message.into();
    let details = serde_json::json!([{ "field": kind, "message": message }]);
    ApiError::new(codes::OWNERSHIP_CONFLICT, message).details(details)
}

fn missing<P: Place>(named: &str) -> ApiError {
    let kind = P::KIND;
    let details = serde_json::json!([{ "field": format!("{kind}_id"), "message": "not there" }]);
    ApiError::new(P::MISSING, format!("{kind}_id: there is no {kind} {named}.")).details(details)
}

impl Asked<'_> {
    pub(super) fn says_nothing(&self) -> bool {
        self.id.is_none() && self.slug.is_none() && self.name.is_none() && self.external.is_none()
    }

    /// What these selectors mean in `within`. With `adopt` an id that nobody has is made.
    ///
    /// # Errors
    /// 422 for selectors that name two different ones, and for an id that is not there.
    pub(super) fn decide<P: Place>(
        &self,
        view: &View<'_>,
        within: Within,
        adopt: bool,
    ) -> ApiResult<Means<P>> {
        let kind = P::KIND;
        let by_external = match self.external {
            Some(external) => within.find::<P>(view, Column::External, external)?,
            None => None,
        };
        let mut make_id = None;
        let mut slug = self.slug;
        let known = if let Some(named) = self.id {
            match within.by_id::<P>(view, named)? {
                Some(known) => Some(known),
                None if defect!(UnknownWorkspaceIsDefault) && kind == "workspace" => {
                    return Ok(Means::Nothing);
                }
                None if !adopt => return Err(missing::<P>(named)),
                None => {
                    match Uuid::parse_str(named) {
                        // Somebody else's: it is not there for this caller.
                        Ok(id) if view.get_any::<P>(id)?.is_some() => {
                            return Err(missing::<P>(named));
                        }
                        Ok(id) => make_id = Some(id),
                        Err(_) if slug_of(named, "") == named => slug = slug.or(Some(named)),
                        Err(_) => return Err(missing::<P>(named)),
                    }
                    None
                }
            }
        } else if let Some(slug) = self.slug {
            if defect!(SlugMadeEachTime) && kind == "workspace" {
                let slug = within.free_slug::<P>(view, slug)?;
                return self.make::<P>(view, within, None, Some(&slug)).map(Means::Make);
            }
            within.find(view, Column::Slug, slug)?
        } else if self.external.is_some() {
            by_external.clone()
        } else if let Some(name) = self.name {
            return self.by_name(view, within, name);
        } else {
            return Ok(Means::Nothing);
        };
        let Some(known) = known else {
            if let Some(other) = by_external {
                let external = self.external.unwrap_or_default();
                return Err(conflict(
                    kind,
                    format!(
                        "external_{kind}_id {external:?} belongs to {kind} {:?}, which is not the one that is asked for.",
                        other.slug()
                    ),
                ));
            }
            if let (Some(_), Some(slug)) = (make_id, slug)
                && within.find::<P>(view, Column::Slug, slug)?.is_some()
            {
                return Err(conflict(
                    kind,
                    format!("{kind}_id and {kind}_slug name different ones."),
                ));
            }
            return self.make::<P>(view, within, make_id, slug).map(Means::Make);
        };
        self.agree(&known, by_external.as_ref())?;
        Ok(Means::This(known))
    }

    /// A name alone: the one with the slug that the name suggests, else a new one.
    fn by_name<P: Place>(
        &self,
        view: &View<'_>,
        within: Within,
        name: &str,
    ) -> ApiResult<Means<P>> {
        let slug = slug_of(name, "");
        // A name without any letter that can stand in a slug is found as it is.
        let known = if slug.is_empty() {
            within.find(view, Column::Name, name)?
        } else {
            within.find(view, Column::Slug, &slug)?
        };
        match known {
            Some(known) => Ok(Means::This(known)),
            None => self.make::<P>(view, within, None, None).map(Means::Make),
        }
    }

    fn make<P: Place>(
        &self,
        view: &View<'_>,
        within: Within,
        id: Option<Uuid>,
        slug: Option<&str>,
    ) -> ApiResult<Make> {
        let name = self.name.or(slug).or(self.external).map(str::to_owned);
        let name = name.or(id.map(|id| id.to_string())).unwrap_or_else(|| P::KIND.to_owned());
        let slug = match slug {
            Some(slug) => slug.to_owned(),
            None => within.free_slug::<P>(view, &slug_of(&name, P::KIND))?,
        };
        Ok(Make { id, slug, name, external: self.external.map(str::to_owned) })
    }

    /// Whether everything that was said fits the one that was found.
    fn agree<P: Place>(&self, known: &P, by_external: Option<&P>) -> ApiResult<()> {
        let kind = P::KIND;
        if defect!(LastSelectorWins) {
            return Ok(());
        }
        if self.slug.is_some_and(|slug| slug != known.slug()) {
            return Err(conflict(
                kind,
                format!(
                    "{kind}_id and {kind}_slug name different ones: the slug of the first is {:?}.",
                    known.slug()
                ),
            ));
        }
        if by_external.is_some_and(|other| other.id() != known.id()) {
            return Err(conflict(
                kind,
                format!("external_{kind}_id belongs to another {kind} than {:?}.", known.slug()),
            ));
        }
        match (self.external, known.external()) {
            (Some(asked), Some(has)) if asked != has => Err(conflict(
                kind,
                format!("{kind} {:?} has the external id {has:?}, not {asked:?}.", known.slug()),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::suffixed;
    use crate::http::validation::slug;

    #[test]
    fn a_suffixed_slug_is_a_slug() {
        let long = format!("{}-{}", "a".repeat(59), "b".repeat(3));
        for base in ["a", "lead-magnet", &long] {
            for n in [2, 10, 100, u32::MAX] {
                assert!(slug("slug", &suffixed(base, n)).is_ok(), "{base} {n}");
            }
        }
        assert_eq!(suffixed("lead-magnet", 2), "lead-magnet-2");
    }
}
