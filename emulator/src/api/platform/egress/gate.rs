//! Whether a connection out of a machine may be made, and the record of it.
//!
//! What applies to a sandbox is read once and kept in memory until a policy or a rule of its organization changes: a
//! connection costs no look into the store.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use uuid::Uuid;

use super::lists::every;
use super::pattern::{Host, Pattern};
use super::policy::{self, Effect, Mode, Policy};
use super::rule::Rule;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::ApiResult;
use crate::recorder::Happened;
use crate::store::outbox::Class;
use crate::store::{StoreError, View};

/// What applies to one sandbox.
#[derive(Debug)]
pub struct Gate {
    org: Uuid,
    sandbox: Uuid,
    workspace: Uuid,
    external: [Option<String>; 2],
    policy: Policy,
    rules: Vec<(Pattern, Effect, Uuid)>,
}

/// What is said of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What the rules say.
    pub effect: Effect,
    /// Whether that is acted upon.
    pub stopped: bool,
    /// The rule that says so; without one it is the policy's default.
    pub rule: Option<Uuid>,
}

impl Gate {
    fn read(view: &View<'_>, sandbox: &Sandbox) -> Result<Self, StoreError> {
        let own = policy::of(view, sandbox.org, Some(sandbox))?;
        // The one that a sandbox has from the start says nothing about it: then the organization's hold.
        let untouched = own.iter().all(|policy| policy.created_at.is_none());
        let mut applying = own;
        if untouched {
            let all = policy::of(view, sandbox.org, None)?;
            if all.iter().any(|policy| policy.created_at.is_some()) {
                applying = all;
            }
        }
        applying.sort_by_key(|policy| policy.mode != Mode::Enforce);
        let policies: Vec<Uuid> = applying.iter().map(|policy| policy.id).collect();
        let policy = applying.into_iter().next().unwrap_or_else(|| Policy::of_sandbox(sandbox));
        let rules = every::<Rule>(view, sandbox.org, None)?
            .into_iter()
            .filter(|rule| rule.sandbox.is_none_or(|id| id == sandbox.id))
            .filter(|rule| {
                rule.policy_id.is_none_or(|id| policies.contains(&id) || id == sandbox.id)
            })
            // It was checked when it was made.
            .filter_map(|rule| Some((Pattern::parse(&rule.host).ok()?, rule.effect, rule.id)))
            .collect();
        Ok(Self {
            org: sandbox.org,
            sandbox: sandbox.id,
            workspace: sandbox.owner.workspace_id,
            external: [
                sandbox.owner.external_user_id.clone(),
                sandbox.owner.external_workspace_id.clone(),
            ],
            policy,
            rules,
        })
    }

    /// What is said of a connection to this host.
    pub fn judge(&self, host: &Host) -> Verdict {
        let says = |wanted: Effect| {
            self.rules.iter().find(|(pattern, effect, _)| *effect == wanted && pattern.names(host))
        };
        let rule = says(Effect::Deny).or_else(|| says(Effect::Allow));
        let effect = rule.map_or(self.policy.default_effect, |(_, effect, _)| *effect);
        let stopped = effect == Effect::Deny && self.policy.mode == Mode::Enforce;
        Verdict { effect, stopped, rule: rule.map(|(.., id)| *id) }
    }

    /// The rule by which an address that a name resolves to must not be reached: a network that is denied is denied
    /// however it is spelled.
    pub fn denies(&self, address: IpAddr) -> Option<Uuid> {
        if self.policy.mode != Mode::Enforce {
            return None;
        }
        let denied = self
            .rules
            .iter()
            .find(|(pattern, effect, _)| *effect == Effect::Deny && pattern.holds(address));
        denied.map(|(.., id)| *id)
    }

    /// Records a connection that was asked for. `protected`: the emulator itself lets nobody there.
    pub fn record(
        &self,
        app: &App,
        host: &Host,
        port: Option<u16>,
        verdict: Verdict,
        protected: bool,
    ) {
        let (kind, action) = match verdict.effect {
            _ if verdict.stopped || protected => ("egress.denied", "denied"),
            Effect::Deny => ("egress.would_deny", "would_deny"),
            Effect::Allow => ("egress.allowed", "allowed"),
        };
        let reason = match verdict.rule {
            _ if protected => "protected",
            Some(_) => "rule",
            None => "default",
        };
        let host = host.to_string();
        let [external_user_id, external_workspace_id] = &self.external;
        app.recorder.push(Happened {
            org: self.org,
            workspace: self.workspace,
            sandbox: self.sandbox,
            kind,
            class: Class::Egress,
            at: app.clock.now(self.org),
            bytes: host.len(),
            data: json!({
                "host": host, "port": port, "action": action, "effect": verdict.effect, "reason": reason,
                "policy_id": self.policy.id, "rule_id": verdict.rule,
                "external_user_id": external_user_id, "external_workspace_id": external_workspace_id,
            }),
        });
    }
}

#[derive(Debug, Default)]
struct Kept {
    gates: HashMap<Uuid, Arc<Gate>>,
    /// Grows with every change, so that what was read before one is not kept after it.
    changes: u64,
}

/// What applies to the sandboxes that have connected.
#[derive(Debug, Default)]
pub struct Gates(Mutex<Kept>);

impl Gates {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What applies to a sandbox; `None` when there is no such sandbox.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, app: &App, sandbox: Uuid) -> ApiResult<Option<Arc<Gate>>> {
        let changes = {
            let kept = self.kept();
            if let Some(gate) = kept.gates.get(&sandbox) {
                return Ok(Some(Arc::clone(gate)));
            }
            kept.changes
        };
        let gate = app
            .store
            .read(move |view| {
                let row = view.get_any::<Sandbox>(sandbox)?;
                row.map(|row| Gate::read(view, &row)).transpose()
            })
            .await
            .map_err(crate::http::ApiError::from)?
            .map(Arc::new);
        let mut kept = self.kept();
        if let Some(gate) = &gate
            && kept.changes == changes
        {
            kept.gates.insert(sandbox, Arc::clone(gate));
        }
        Ok(gate)
    }

    /// A policy or rule of the organization has changed: called after that is committed and before it is answered.
    pub fn changed(&self, org: Uuid) {
        let mut kept = self.kept();
        kept.changes += 1;
        kept.gates.retain(|_, gate| gate.org != org);
    }

    /// Forgets a sandbox whose machine has ended.
    pub fn forget(&self, sandbox: Uuid) {
        self.kept().gates.remove(&sandbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(mode: Mode, default_effect: Effect, rules: &[(&str, Effect)]) -> Gate {
        let org = Uuid::nil();
        let rules = rules
            .iter()
            .map(|(host, effect)| (Pattern::parse(host).unwrap(), *effect, Uuid::nil()))
            .collect();
        let policy = Policy { mode, default_effect, ..Policy::of_org(org) };
        Gate { org, sandbox: org, workspace: org, external: [None, None], policy, rules }
    }

    fn stopped(gate: &Gate, target: &str) -> bool {
        gate.judge(&Host::of(target).0).stopped
    }

    #[test]
    fn what_is_denied_counts_before_what_is_allowed_and_the_rest_is_the_default() {
        let rules = [("*.example.com", Effect::Allow), ("bad.example.com", Effect::Deny)];
        let closed = gate(Mode::Enforce, Effect::Deny, &rules);
        assert!(!stopped(&closed, "good.example.com:443"));
        assert!(stopped(&closed, "bad.example.com:443"));
        assert!(stopped(&closed, "elsewhere.net:443"));
        let open = gate(Mode::Enforce, Effect::Allow, &rules);
        assert!(stopped(&open, "bad.example.com:443"));
        assert!(!stopped(&open, "elsewhere.net:443"));
        let watching = gate(Mode::AuditOnly, Effect::Deny, &rules);
        assert!(!stopped(&watching, "bad.example.com:443"));
        assert_eq!(watching.judge(&Host::of("bad.example.com:1").0).effect, Effect::Deny);
    }

    #[test]
    fn a_network_that_is_denied_is_denied_however_it_is_reached() {
        let closed = gate(Mode::Enforce, Effect::Allow, &[("10.0.0.0/8", Effect::Deny)]);
        assert!(!stopped(&closed, "167772161:80"));
        assert!(closed.denies("10.0.0.1".parse().unwrap()).is_some());
        assert!(closed.denies("::ffff:10.0.0.1".parse().unwrap()).is_some());
        assert!(closed.denies("192.0.2.1".parse().unwrap()).is_none());
    }
}
