//! What is kept of a tier's policy. Its id follows from the tier, so that a tier has one.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Policy;
use crate::clock::Timestamp;
use crate::http::ApiResult;
use crate::ids;
use crate::store::{Keys, Resource, Tx, View};

/// Whose policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The organization's.
    Tenant,
    /// A workspace's.
    Workspace(Uuid),
    /// An end user's: the client's own name.
    User(String),
}

impl Tier {
    /// The word in answers (miosa-go 2.0: `source`).
    pub fn source(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Workspace(_) => "workspace",
            Self::User(_) => "user",
        }
    }

    fn id(&self, org: Uuid) -> Uuid {
        ids::derived(&match self {
            Self::Tenant => format!("policy:{org}:tenant"),
            Self::Workspace(id) => format!("policy:{org}:workspace:{id}"),
            Self::User(user) => format!("policy:{org}:user:{user}"),
        })
    }
}

/// A policy and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TierPolicy {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Whose.
    pub tier: Tier,
    /// What it says.
    pub policy: Policy,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl TierPolicy {
    /// What the tier says; nothing where nobody has said anything.
    pub fn read(view: &View<'_>, org: Uuid, tier: &Tier) -> ApiResult<Policy> {
        Ok(view.get::<Self>(org, tier.id(org))?.map(|kept| kept.policy).unwrap_or_default())
    }

    /// Sets what the tier says. An empty policy is none.
    pub fn write(
        tx: &Tx<'_>,
        org: Uuid,
        tier: Tier,
        policy: Policy,
        now: Timestamp,
    ) -> ApiResult<()> {
        let id = tier.id(org);
        if policy.is_empty() {
            tx.remove::<Self>(org, id)?;
            return Ok(());
        }
        let known = tx.get::<Self>(org, id)?;
        let created_at = known.as_ref().map_or(now, |known| known.created_at);
        let kept = Self { id, org, tier, policy, created_at, updated_at: now };
        if known.is_some() {
            tx.update(&kept)?;
        } else {
            tx.insert(&kept)?;
        }
        Ok(())
    }
}

impl Resource for TierPolicy {
    const KIND: &'static str = "policy";
    const PLURAL: &'static str = "policies";

    fn keys(&self) -> Keys<'_> {
        let workspace = match self.tier {
            Tier::Workspace(id) => Some(id),
            Tier::Tenant | Tier::User(_) => None,
        };
        Keys { id: self.id, org: self.org, workspace, state: "active", ..Keys::default() }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}
