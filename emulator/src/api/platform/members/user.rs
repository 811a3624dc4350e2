//! People of an organization: its owner, and who has accepted an invite.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::organizations;
use crate::clock::Timestamp;
use crate::http::ApiResult;
use crate::store::{Keys, Resource, View};

/// A person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Their address, in lower case: unique in the organization.
    pub email: String,
    /// Their name, where it is known.
    pub name: Option<String>,
    /// When they came.
    pub created_at: Timestamp,
}

impl User {
    /// The one that keys act for. Not stored: it follows from the organization.
    pub(in super::super) fn owner(org: Uuid) -> Self {
        Self {
            id: organizations::owner(org),
            org,
            email: "owner@localhost".to_owned(),
            name: Some("Owner".to_owned()),
            created_at: Timestamp(0),
        }
    }

    /// The person with this id.
    pub(super) fn by_id(view: &View<'_>, org: Uuid, id: Uuid) -> ApiResult<Option<Self>> {
        let owner = Self::owner(org);
        Ok(if id == owner.id { Some(owner) } else { view.get(org, id)? })
    }

    /// The person at this address.
    pub(super) fn by_email(view: &View<'_>, org: Uuid, email: &str) -> ApiResult<Option<Self>> {
        let owner = Self::owner(org);
        Ok(if email == owner.email { Some(owner) } else { view.by_external(org, email)? })
    }
}

impl Resource for User {
    const KIND: &'static str = "user";
    const PLURAL: &'static str = "users";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            name: self.name.as_deref(),
            external: Some(&self.email),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}
