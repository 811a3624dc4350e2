//! The fields of a policy: one table that validates, merges and tells the truth about what is enforced.

use serde_json::{Value, json};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A whole number; none is no bound.
    Count,
    /// Yes or no.
    Switch,
}

/// What comes of it in this emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What would break it is refused.
    Enforced,
    /// Nothing is billed here, so that nothing can reach it.
    NotMetered,
    /// What it speaks of is not emulated.
    NotEmulated,
}

impl Effect {
    /// The word in answers; `None` for what needs none.
    pub fn said(self) -> Option<&'static str> {
        match self {
            Self::Enforced => None,
            Self::NotMetered => Some("not_metered"),
            Self::NotEmulated => Some("not_emulated"),
        }
    }
}

/// A field of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its section.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What comes of it.
    pub effect: Effect,
    /// Of a switch: what holds where no tier says anything.
    on: bool,
}

impl Field {
    const fn quota(name: &'static str, effect: Effect) -> Self {
        Self { section: "quotas", name, holds: Holds::Count, effect, on: false }
    }

    const fn switch(section: &'static str, name: &'static str, effect: Effect, on: bool) -> Self {
        Self { section, name, holds: Holds::Switch, effect, on }
    }

    /// What holds where no tier says anything.
    pub fn platform_default(&self) -> Value {
        match self.holds {
            Holds::Count => Value::Null,
            Holds::Switch => json!(self.on),
        }
    }

    /// Whether this can be its value.
    pub fn accepts(&self, value: &Value) -> bool {
        match self.holds {
            // As far as every client can read (miosa-go 2.0 has ints, SQLite signed ones).
            Holds::Count => value.as_u64().is_some_and(|n| i64::try_from(n).is_ok()),
            Holds::Switch => value.is_boolean(),
        }
    }
}

/// Sandboxes that are there, running or not.
pub const MAX_SANDBOXES: Field = Field::quota("max_sandboxes", Effect::Enforced);
/// Sandboxes that run at one time.
pub const MAX_CONCURRENT: Field = Field::quota("max_concurrent", Effect::Enforced);
/// Gigabytes (1024³ bytes) that snapshots keep.
pub const MAX_STORAGE_GB: Field = Field::quota("max_storage_gb", Effect::Enforced);
/// Cents that may be spent.
const MAX_CREDIT_CENTS: Field = Field::quota("max_credit_cents", Effect::NotMetered);
/// Whether sandboxes may be made.
pub const CAN_CREATE_SANDBOX: Field =
    Field::switch("permissions", "can_create_sandbox", Effect::Enforced, true);
/// Whether snapshots may be made.
pub const SNAPSHOT_ENABLED: Field =
    Field::switch("features", "snapshot_enabled", Effect::Enforced, true);
/// Whether ports may be given an address.
pub const PORT_FORWARDING_ENABLED: Field =
    Field::switch("features", "port_forwarding_enabled", Effect::Enforced, true);

/// The sections, in the order in which they are shown.
pub const SECTIONS: [&str; 4] = ["quotas", "permissions", "features", "billing"];

/// Every field (miosa-go 2.0).
pub const FIELDS: [Field; 11] = [
    MAX_SANDBOXES,
    MAX_CONCURRENT,
    MAX_STORAGE_GB,
    MAX_CREDIT_CENTS,
    CAN_CREATE_SANDBOX,
    Field::switch("permissions", "can_use_gpu", Effect::NotEmulated, false),
    Field::switch("permissions", "can_use_custom_domains", Effect::NotEmulated, false),
    Field::switch("permissions", "can_use_forge", Effect::NotEmulated, false),
    SNAPSHOT_ENABLED,
    PORT_FORWARDING_ENABLED,
    Field::switch("billing", "enforce_credit_limit", Effect::NotMetered, false),
];

/// The fields of a section.
pub fn of(section: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.section == section)
}
