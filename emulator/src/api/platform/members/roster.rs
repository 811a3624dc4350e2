//! The members of a workspace as a whole: who founded it, and that an owner stays.

use uuid::Uuid;

use super::super::organizations;
use super::super::workspaces::Workspace;
use super::{Member, Role, User};
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::{Filter, Tx, View};

/// The membership that a workspace starts with. It is stored when something about members first changes.
pub(super) fn founder(workspace: &Workspace) -> Member {
    let user_id = organizations::owner(workspace.org);
    Member {
        id: Member::id_of(workspace.id, user_id),
        org: workspace.org,
        workspace_id: workspace.id,
        user_id,
        role: Role::Owner,
        added_by: None,
        joined_at: workspace.created_at,
        updated_at: workspace.created_at,
    }
}

pub(super) fn filter(workspace: &Workspace) -> Filter {
    Filter { org: workspace.org, parent: Some(workspace.id), ..Filter::default() }
}

/// Stores the founder of a workspace whose members are about to change for the first time.
pub(super) fn found(tx: &Tx<'_>, workspace: &Workspace) -> ApiResult<()> {
    if tx.count::<Member>(&filter(workspace))? == 0 {
        tx.insert(&founder(workspace))?;
    }
    Ok(())
}

/// The member that a path names: by the person's id, or by that of the membership (miosa-python 2.19 sends either).
///
/// # Errors
/// 404.
pub(super) fn named(view: &View<'_>, workspace: &Workspace, named: &str) -> ApiResult<Member> {
    let missing = || ApiError::not_found("workspace_member", named);
    let id = Uuid::parse_str(named).map_err(|_| missing())?;
    let of_user = view.get::<Member>(workspace.org, Member::id_of(workspace.id, id))?;
    let found = match of_user {
        Some(member) => Some(member),
        None => view.get::<Member>(workspace.org, id)?,
    };
    found.filter(|member| member.workspace_id == workspace.id).ok_or_else(missing)
}

/// Takes a person in.
///
/// # Errors
/// 409 when they are in already.
pub(super) fn add(
    tx: &Tx<'_>,
    workspace: &Workspace,
    user: &User,
    role: Role,
    by: Option<Uuid>,
    now: Timestamp,
) -> ApiResult<Member> {
    found(tx, workspace)?;
    let id = Member::id_of(workspace.id, user.id);
    if tx.get::<Member>(workspace.org, id)?.is_some() {
        return Err(ApiError::new(
            codes::CONFLICT,
            format!("{} is a member of this workspace already.", user.email),
        ));
    }
    let member = Member {
        id,
        org: workspace.org,
        workspace_id: workspace.id,
        user_id: user.id,
        role,
        added_by: by,
        joined_at: now,
        updated_at: now,
    };
    tx.insert(&member)?;
    Ok(member)
}

/// Whether this member may go, or become less than owner.
///
/// # Errors
/// 409 `LAST_OWNER`.
pub(super) fn may_go(view: &View<'_>, workspace: &Workspace, member: &Member) -> ApiResult<()> {
    if member.role != Role::Owner {
        return Ok(());
    }
    let owners = Filter { fields: vec![("$.role".into(), "owner".into())], ..filter(workspace) };
    if view.count::<Member>(&owners)? > 1 {
        return Ok(());
    }
    Err(ApiError::new(
        codes::LAST_OWNER,
        "This is the workspace's last owner. Make another member an owner first.",
    ))
}
