//! What holds after all: for each field the tier nearest to who asks.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::field::{self, Field, SECTIONS};
use super::{Policy, Tier, TierPolicy};
use crate::http::ApiResult;
use crate::store::View;

/// The policies that a request is under, the nearest first.
#[derive(Debug, Clone)]
pub struct Tiers(Vec<(Tier, Policy)>);

impl Tiers {
    /// Those of the end user, of the workspace and of the organization.
    ///
    /// # Errors
    /// When the store fails.
    pub fn read(
        view: &View<'_>,
        org: Uuid,
        workspace: Option<Uuid>,
        user: Option<&str>,
    ) -> ApiResult<Self> {
        let tiers = [
            user.map(|user| Tier::User(user.to_owned())),
            workspace.map(Tier::Workspace),
            Some(Tier::Tenant),
        ];
        let mut read = Vec::new();
        for tier in tiers.into_iter().flatten() {
            let policy = TierPolicy::read(view, org, &tier)?;
            read.push((tier, policy));
        }
        Ok(Self(read))
    }

    /// The nearest tier that says something of the field, and what it says.
    pub fn nearest(&self, field: &Field) -> Option<(&Tier, &Value)> {
        self.0.iter().find_map(|(tier, policy)| Some((tier, policy.get(field)?)))
    }

    /// Whether a switch is on.
    pub fn is_on(&self, field: &Field) -> bool {
        let said = self.nearest(field).and_then(|(_, value)| value.as_bool());
        said.unwrap_or_else(|| field.platform_default() == json!(true))
    }

    /// What clients read. One client looks for value and source of each field (miosa-python 2.19), another for those of
    /// each section (miosa-go 2.0); both find theirs.
    pub fn show(&self) -> Value {
        let mut shown = Map::new();
        for section in SECTIONS {
            let (mut whole, mut fields) = (Map::new(), Map::new());
            let mut nearest = self.0.len();
            for field in field::of(section) {
                let said = self.nearest(field);
                let value =
                    said.map_or_else(|| field.platform_default(), |(_, value)| value.clone());
                let source = said.map_or("platform", |(tier, _)| tier.source());
                if let Some((tier, _)) = said {
                    let place = self.0.iter().position(|(known, _)| known == tier);
                    nearest = nearest.min(place.unwrap_or(nearest));
                }
                fields.insert(field.name.into(), json!({ "value": value, "source": source }));
                whole.insert(field.name.into(), value);
            }
            let source = self.0.get(nearest).map_or("platform", |(tier, _)| tier.source());
            fields.insert("value".into(), Value::Object(whole));
            fields.insert("source".into(), source.into());
            shown.insert(section.into(), Value::Object(fields));
        }
        Value::Object(shown)
    }
}
