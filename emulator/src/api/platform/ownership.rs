//! Which workspace and project the selectors of a create mean (`api-reference`, ownership fields; `platform/attribution`).

use uuid::Uuid;

use super::places::{Asked, Make, Means, Place, Within, conflict};
use super::projects::Project;
use super::workspaces::Workspace;
use crate::app::App;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::ownership::{Owner, Selectors};
use crate::http::{ApiError, ApiResult, Caller, codes, validation};
use crate::store::{Column, Tx, View};

/// Finds or makes the workspace and project, in the transaction that makes what they own.
///
/// Without a workspace selector it is the project's (when its id is given), else the request's workspace. Without a
/// project selector it is the workspace's default project. The answer says the external ids as they were given, or
/// as workspace and project have them.
///
/// # Errors
/// 422 `OWNERSHIP_CONFLICT` for selectors that contradict each other, `WORKSPACE_NOT_FOUND` or `PROJECT_NOT_FOUND` for
/// an id that is not there (another organization's looks the same), 403 for a workspace that the credential is not
/// bound to.
pub fn resolve(tx: &Tx<'_>, app: &App, caller: &Caller, selectors: &Selectors) -> ApiResult<Owner> {
    selectors.validate()?;
    let now = app.clock.now(caller.org);
    let workspace = workspace(tx, app, caller, selectors, now)?;
    let project = project(tx, app, caller, selectors, &workspace, now)?;
    Ok(Owner {
        workspace_id: workspace.id,
        project_id: Some(project.id),
        external_workspace_id: workspace.external_workspace_id,
        external_user_id: selectors
            .external_user_id
            .clone()
            .map(|id| defect!(ExternalInSmallLetters, id.to_lowercase(), id))
            .or_else(|| caller.external_user_id.clone())
            .or(workspace.external_user_id),
        external_project_id: project.external_project_id,
    })
}

/// Where what outlived its workspace or project is put when it is made anew: what is left of the two, else the request's
/// workspace and the default project.
///
/// # Errors
/// 422 when the request's workspace is gone, too.
pub fn standing(tx: &Tx<'_>, app: &App, caller: &Caller, owner: Owner) -> ApiResult<Owner> {
    let kept = tx.get::<Workspace>(caller.org, owner.workspace_id)?;
    let external = kept.is_some().then(|| owner.external_workspace_id.clone()).flatten();
    let workspace = match kept {
        Some(workspace) => workspace,
        None => tx.get::<Workspace>(caller.org, caller.workspace)?.ok_or_else(|| {
            ApiError::new(codes::WORKSPACE_NOT_FOUND, "The request's workspace is gone.")
        })?,
    };
    let kept = match owner.project_id {
        Some(id) => tx.get::<Project>(caller.org, id)?,
        None => None,
    };
    if kept.is_some_and(|project| project.workspace_id == workspace.id) {
        return Ok(owner);
    }
    let project = default_project(tx, app, &workspace, app.clock.now(caller.org))?;
    Ok(Owner {
        workspace_id: workspace.id,
        project_id: Some(project.id),
        external_workspace_id: external.or(workspace.external_workspace_id),
        external_user_id: owner.external_user_id,
        external_project_id: project.external_project_id,
    })
}

/// What the selectors say about the workspace.
pub(super) fn asked_workspace(selectors: &Selectors) -> Asked<'_> {
    Asked {
        id: selectors.workspace_id.as_deref(),
        slug: selectors.workspace_slug.as_deref(),
        name: selectors.workspace_name.as_deref(),
        external: selectors.external_workspace_id.as_deref(),
    }
}

/// The workspace that a credential is not bound to.
pub(super) fn out_of_bounds() -> ApiError {
    ApiError::new(
        codes::FORBIDDEN,
        "This credential is bound to one workspace and reaches no other.",
    )
}

/// The workspace that the selectors name, for what is stricter than other creates (`POST /projects`): a slug must be
/// there, an external id is found or made.
///
/// # Errors
/// As [`resolve`].
pub(super) fn existing_workspace(
    tx: &Tx<'_>,
    app: &App,
    caller: &Caller,
    selectors: &Selectors,
    now: Timestamp,
) -> ApiResult<Workspace> {
    if let (Some(slug), None, None) =
        (&selectors.workspace_slug, caller.bound_workspace, &selectors.workspace_id)
        && !app.config.adopt
        && tx.by_slug::<Workspace>(caller.org, slug)?.is_none()
    {
        return Err(ApiError::new(
            codes::WORKSPACE_NOT_FOUND,
            format!("workspace_slug: there is no workspace {slug}."),
        ));
    }
    workspace(tx, app, caller, selectors, now)
}

fn workspace(
    tx: &Tx<'_>,
    app: &App,
    caller: &Caller,
    selectors: &Selectors,
    now: Timestamp,
) -> ApiResult<Workspace> {
    let asked = asked_workspace(selectors);
    let within = Within { org: caller.org, workspace: None };
    let means = match asked.decide::<Workspace>(tx, within, app.config.adopt) {
        // A bound credential learns nothing of other workspaces, not even whether they are there.
        Err(error) if caller.bound_workspace.is_some() && error.code.status == 422 => {
            return Err(out_of_bounds());
        }
        other => other?,
    };
    let chosen = match means {
        Means::This(known) => known,
        Means::Make(_) if caller.bound_workspace.is_some() => return Err(out_of_bounds()),
        Means::Make(make) => return make_workspace(tx, app, caller.org, make, now),
        Means::Nothing => {
            let id = project_workspace(tx, caller, selectors)?.unwrap_or(caller.workspace);
            let id = defect!(NewestIsDefault, newest(tx, caller)?.unwrap_or(id), id);
            tx.get::<Workspace>(caller.org, id)?.ok_or_else(|| {
                ApiError::new(codes::WORKSPACE_NOT_FOUND, "The request's workspace is gone.")
            })?
        }
    };
    if caller.bound_workspace.is_some_and(|bound| bound != chosen.id)
        && !defect!(BoundKeyMakesAnywhere)
    {
        return Err(out_of_bounds());
    }
    attach(tx, chosen, asked.external, now)
}

#[cfg(feature = "defects")]
fn newest(tx: &Tx<'_>, caller: &Caller) -> ApiResult<Option<Uuid>> {
    let (filter, first) = (
        crate::store::Filter { org: caller.org, ..Default::default() },
        crate::store::Paging::Number { page: 1, size: 1 },
    );
    let found = tx.page::<Workspace>(&filter, first)?.items.pop();
    Ok(found.map(|workspace| workspace.id))
}

/// The workspace of the project that is named by its id, unless a header chose one.
fn project_workspace(
    tx: &Tx<'_>,
    caller: &Caller,
    selectors: &Selectors,
) -> ApiResult<Option<Uuid>> {
    let Some(id) = selectors.project_id.as_deref().and_then(|id| Uuid::parse_str(id).ok()) else {
        return Ok(None);
    };
    if caller.workspace_chosen || caller.bound_workspace.is_some() {
        return Ok(None);
    }
    Ok(tx.get::<Project>(caller.org, id)?.map(|project| project.workspace_id))
}

fn project(
    tx: &Tx<'_>,
    app: &App,
    caller: &Caller,
    selectors: &Selectors,
    workspace: &Workspace,
    now: Timestamp,
) -> ApiResult<Project> {
    let asked = Asked {
        id: selectors.project_id.as_deref(),
        slug: selectors.project_slug.as_deref(),
        name: selectors.project_name.as_deref(),
        external: selectors.external_project_id.as_deref(),
    };
    let within = Within { org: caller.org, workspace: Some(workspace.id) };
    match asked.decide::<Project>(tx, within, app.config.adopt)? {
        Means::This(known)
            if known.workspace_id != workspace.id && !defect!(ForeignProjectTaken) =>
        {
            // What a bound credential may not see is not there.
            if caller.bound_workspace.is_some() {
                let named = selectors.project_id.as_deref().unwrap_or_default();
                return Err(ApiError::new(
                    codes::PROJECT_NOT_FOUND,
                    format!("project_id: there is no project {named}."),
                ));
            }
            Err(conflict(
                "project",
                format!("Project {:?} is not in workspace {:?}.", known.slug, workspace.slug),
            ))
        }
        Means::This(known) => attach(tx, known, asked.external, now),
        Means::Make(make) => make_project(tx, app, workspace, make, now),
        Means::Nothing => default_project(tx, app, workspace, now),
    }
}

/// Gives a place that has none the external id that it was named with, so that the id alone finds it from now on.
pub(super) fn attach<P: Place>(
    tx: &Tx<'_>,
    mut place: P,
    external: Option<&str>,
    now: Timestamp,
) -> ApiResult<P> {
    if let (Some(external), None) = (external, place.external()) {
        place.set_external(external, now);
        tx.update(&place)?;
    }
    Ok(place)
}

pub(super) fn default_project(
    tx: &Tx<'_>,
    app: &App,
    workspace: &Workspace,
    now: Timestamp,
) -> ApiResult<Project> {
    if let Some(id) = workspace.default_project_id
        && let Some(known) = tx.get::<Project>(workspace.org, id)?
    {
        return Ok(known);
    }
    let known = tx.in_workspace::<Project>(workspace.id, Column::Slug, "default")?;
    let project = match known {
        Some(known) => Project { is_default: true, ..known },
        None => Project {
            is_default: true,
            ..Project::new(app.ids.next(), workspace.org, workspace.id, "Default", "default", now)
        },
    };
    if !tx.update(&project)? {
        tx.insert(&project)?;
    }
    tx.modify::<Workspace>(workspace.org, workspace.id, |workspace| {
        workspace.default_project_id = Some(project.id);
    })?;
    Ok(project)
}

pub(super) fn make_workspace(
    tx: &Tx<'_>,
    app: &App,
    org: Uuid,
    make: Make,
    now: Timestamp,
) -> ApiResult<Workspace> {
    let id = make.id.unwrap_or_else(|| app.ids.next());
    let workspace = Workspace {
        external_workspace_id: make.external,
        ..Workspace::new(id, org, &make.name, &make.slug, now)
    };
    tx.insert(&workspace)?;
    Ok(workspace)
}

fn make_project(
    tx: &Tx<'_>,
    app: &App,
    workspace: &Workspace,
    make: Make,
    now: Timestamp,
) -> ApiResult<Project> {
    let id = make.id.unwrap_or_else(|| app.ids.next());
    let project = Project {
        external_project_id: make.external,
        ..Project::new(id, workspace.org, workspace.id, &make.name, &make.slug, now)
    };
    tx.insert(&project)?;
    Ok(project)
}

/// The workspace that a header or a body names by id or slug.
pub(super) fn named_workspace(
    view: &View<'_>,
    org: Uuid,
    named: &str,
) -> ApiResult<Option<Workspace>> {
    Ok(match Uuid::parse_str(named) {
        Ok(id) => view.get(org, id)?,
        Err(_) => view.by_slug(org, named)?,
    })
}

/// The workspace that a header names, made as it is asked for.
///
/// # Errors
/// 422 for what can be neither id nor slug, and for an id that another organization has.
pub(super) fn adopt_workspace(tx: &Tx<'_>, app: &App, org: Uuid, named: &str) -> ApiResult<Uuid> {
    let asked = if Uuid::parse_str(named).is_ok() {
        Asked { id: Some(named), ..Asked::default() }
    } else {
        validation::slug("X-MIOSA-Workspace", named)?;
        Asked { slug: Some(named), ..Asked::default() }
    };
    match asked.decide::<Workspace>(tx, Within { org, workspace: None }, true)? {
        Means::This(known) => Ok(known.id),
        Means::Make(make) => Ok(make_workspace(tx, app, org, make, app.clock.now(org))?.id),
        Means::Nothing => Err(ApiError::internal("a named workspace means nothing")),
    }
}
