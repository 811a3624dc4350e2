//! Which places have previews, under which names, and on which loopback ports.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Place, address, listener};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};

/// How many ports of one sandbox may have previews: each holds a listener of this computer.
const PER_SANDBOX: usize = 64;

/// The places that previews have been made of.
#[derive(Debug, Default)]
pub struct PreviewPorts(Mutex<HashMap<Place, Slot>>);

#[derive(Debug)]
struct Slot {
    org: Uuid,
    shown: Shown,
    /// The preview that the place belongs to, once it is in the store.
    preview: Option<Uuid>,
    /// Ends the listener, and every connection into the place that outlives its request.
    ended: CancellationToken,
}

/// What addresses are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The sandbox's slug, or its id where another sandbox has that name already.
    pub label: String,
    /// The port inside.
    pub port: u16,
    /// The loopback port of this computer; `None` where we do not listen on loopback.
    pub loopback: Option<u16>,
}

/// What a place had before, if anything.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its label.
    pub label: Option<String>,
    /// Its loopback port.
    pub loopback: Option<u16>,
}

impl PreviewPorts {
    /// Gives a place its name and its loopback port; a place that has them keeps them.
    ///
    /// # Errors
    /// 409 when the sandbox has too many.
    pub fn open(
        &self,
        app: &App,
        sandbox: &Sandbox,
        port: u16,
        wanted: Wanted,
    ) -> ApiResult<Shown> {
        let mut slots = self.lock();
        let place = (sandbox.id, port);
        if let Some(slot) = slots.get(&place) {
            return Ok(slot.shown.clone());
        }
        if slots.keys().filter(|(owner, _)| *owner == sandbox.id).count() >= PER_SANDBOX {
            return Err(ApiError::new(
                codes::CONFLICT,
                format!("A sandbox may have previews of {PER_SANDBOX} ports. Delete one first."),
            ));
        }
        let free = |label: &String| {
            !slots.values().any(|s| s.shown.label == *label && s.shown.port == port)
        };
        let id = sandbox.id.simple().to_string();
        let short = id.get(..8).map(str::to_owned);
        let label = [wanted.label, address::label_of(&sandbox.slug, port), short]
            .into_iter()
            .flatten()
            .find(free)
            .unwrap_or(id);
        let ended = app.stopping.child_token();
        let loopback = bind(app, wanted.loopback).and_then(|(listener, bound)| {
            listener::run(app, listener, place, ended.clone())
                .inspect_err(|error| tracing::warn!("a preview has no port: {error}"))
                .ok()
                .map(|()| bound)
        });
        let shown = Shown { label, port, loopback };
        let slot = Slot { org: sandbox.org, shown: shown.clone(), preview: None, ended };
        slots.insert(place, slot);
        Ok(shown)
    }

    /// Says which preview an open place belongs to.
    pub fn assign(&self, place: Place, preview: Uuid) {
        if let Some(slot) = self.lock().get_mut(&place) {
            slot.preview = Some(preview);
        }
    }

    /// Closes the place of a preview that is gone, if it is still that preview's.
    pub fn release(&self, place: Place, preview: Uuid) {
        let mut slots = self.lock();
        if slots.get(&place).is_some_and(|slot| slot.preview == Some(preview))
            && let Some(slot) = slots.remove(&place)
        {
            slot.ended.cancel();
        }
    }

    /// Closes everything of a sandbox that is gone: its listeners and open connections end.
    pub fn close(&self, sandbox: Uuid) {
        self.close_where(|place, _| place.0 == sandbox);
    }

    /// Closes everything of an organization.
    pub fn close_all_of(&self, org: Uuid) {
        self.close_where(|_, slot| slot.org == org);
    }

    fn close_where(&self, gone: impl Fn(&Place, &Slot) -> bool) {
        self.lock().retain(|place, slot| {
            let gone = gone(place, slot);
            if gone {
                slot.ended.cancel();
            }
            !gone
        });
    }

    /// The place with this label and port.
    pub(super) fn find(&self, label: &str, port: u16) -> Option<Place> {
        let slots = self.lock();
        let mut on_port = slots.iter().filter(|(place, _)| place.1 == port);
        on_port.find(|(_, slot)| slot.shown.label.eq_ignore_ascii_case(label)).map(|found| *found.0)
    }

    /// The organization and id of the preview that a place belongs to.
    pub(super) fn preview(&self, place: Place) -> Option<(Uuid, Uuid)> {
        self.lock().get(&place).and_then(|slot| Some((slot.org, slot.preview?)))
    }

    /// What ends the connections into a place.
    pub(super) fn ended(&self, place: Place) -> Option<CancellationToken> {
        self.lock().get(&place).map(|slot| slot.ended.clone())
    }

    /// What a place is shown as.
    pub fn shown(&self, place: Place) -> Option<Shown> {
        self.lock().get(&place).map(|slot| slot.shown.clone())
    }

    /// The sandbox's preview on the usual port, else on its lowest.
    pub(super) fn of_sandbox(&self, sandbox: Uuid, usual: Option<u16>) -> Option<Shown> {
        let slots = self.lock();
        let own = slots.iter().filter(|(place, slot)| place.0 == sandbox && slot.preview.is_some());
        own.min_by_key(|(place, _)| (Some(place.1) != usual, place.1)).map(|(_, s)| s.shown.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener on the loopback address that the emulator listens on: the wanted port where it is free.
fn bind(app: &App, wanted: Option<u16>) -> Option<(TcpListener, u16)> {
    let address = app.listening.get().map(SocketAddr::ip).filter(IpAddr::is_loopback)?;
    let listener = wanted
        .and_then(|port| TcpListener::bind((address, port)).ok())
        .map_or_else(|| TcpListener::bind((address, 0)), Ok);
    let bound = listener.and_then(|listener| {
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    });
    bound.inspect_err(|error| tracing::warn!("no loopback port for a preview: {error}")).ok()
}
