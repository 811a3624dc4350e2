//! Stream tickets: what a browser puts into the address of a stream instead of a credential.
//!
//! A ticket opens one stream, once, as the caller who minted it. It stands for that caller's own credential, which is
//! looked at again when the ticket is used: a key that was revoked meanwhile opens nothing. Tickets live in memory only;
//! after a restart a client takes a new one, as it does on every reconnect.
//!
//! A ticket may carry an errand: what its stream is to do, kept here until somebody comes for it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::codes::{self, Code};
use super::error::{ApiError, ApiResult};
use super::exchange::Exchange;
use super::presented::Presented;
use crate::app::App;
use crate::clock::{Clock, Timestamp};
use crate::ids;

/// What a ticket begins with (`api-reference/events`).
const PREFIX: &str = "sset_";

/// This many are remembered, used ones included, so that a client is told why its ticket fails.
const MOST: usize = 10_000;

/// Of these so many carry an errand: an errand may be a long command.
const MOST_ERRANDS: usize = 256;

/// What a stream is to do, known to the family that minted the ticket.
pub type Errand = Box<dyn Any + Send>;

/// What a ticket is for.
pub enum Purpose {
    /// Any stream.
    AnyStream,
    /// One errand, on the stream of this route.
    Errand(&'static str, Errand),
}

/// Whom a ticket stands for, and its errand.
pub struct Redeemed {
    /// Who minted it.
    pub holder: Presented,
    /// What its stream is to do.
    pub errand: Option<Errand>,
}

/// A ticket that was minted.
struct Ticket {
    org: Uuid,
    expires_at: Timestamp,
    /// The one route that it opens; `None` for any stream.
    only: Option<&'static str>,
    /// What it is good for, until it is used.
    open: Option<Redeemed>,
    /// Its place in the order in which they were made.
    seq: u64,
}

#[derive(Default)]
struct Kept {
    /// By fingerprint.
    tickets: HashMap<String, Ticket>,
    made: u64,
}

/// A fresh ticket.
pub struct Minted {
    /// The ticket.
    pub text: String,
    /// Until when it opens its stream.
    pub expires_at: Timestamp,
}

/// The tickets.
#[derive(Default)]
pub struct Tickets(Mutex<Kept>);

impl Tickets {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new ticket that opens one stream until `seconds` from now, as `holder`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn mint(
        &self,
        clock: &Clock,
        org: Uuid,
        holder: Presented,
        seconds: i64,
        purpose: Purpose,
    ) -> ApiResult<Minted> {
        let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
        let text = format!("{PREFIX}{secret}");
        let expires_at = clock.now(org).plus_seconds(seconds);
        let (only, errand) = match purpose {
            Purpose::AnyStream => (None, None),
            Purpose::Errand(route, errand) => (Some(route), Some(errand)),
        };
        let mut kept = self.kept();
        if errand.is_some() {
            kept.make_room_for_errand(clock);
        }
        if kept.tickets.len() >= MOST {
            kept.make_room();
        }
        kept.made += 1;
        let open = Some(Redeemed { holder, errand });
        let ticket = Ticket { org, expires_at, only, open, seq: kept.made };
        kept.tickets.insert(ids::fingerprint(&text), ticket);
        Ok(Minted { text, expires_at })
    }

    /// Whom the ticket stands for; it is used up with this.
    ///
    /// # Errors
    /// 401 `TICKET_INVALID`, `TICKET_EXPIRED`, `TICKET_USED`.
    pub fn redeem(&self, clock: &Clock, text: &str, route: &str) -> ApiResult<Redeemed> {
        let mut kept = self.kept();
        let ticket = kept
            .tickets
            .get_mut(&ids::fingerprint(text))
            .filter(|ticket| ticket.only.is_none_or(|only| only == route))
            .ok_or_else(unknown)?;
        if ticket.expires_at <= clock.now(ticket.org) {
            ticket.open = None;
            return Err(refused(codes::TICKET_EXPIRED, "has expired"));
        }
        ticket.open.take().ok_or_else(|| refused(codes::TICKET_USED, "was used before"))
    }

    /// Forgets the tickets of an organization.
    pub fn forget(&self, org: Uuid) {
        self.kept().tickets.retain(|_, ticket| ticket.org != org);
    }
}

impl Kept {
    /// Drops the used ones, or the oldest when all are open.
    fn make_room(&mut self) {
        self.tickets.retain(|_, ticket| ticket.open.is_some());
        if self.tickets.len() >= MOST {
            self.drop_oldest(|_| true);
        }
    }

    /// Drops the errands that nobody came for in time, or the oldest when there are too many.
    fn make_room_for_errand(&mut self, clock: &Clock) {
        let carries =
            |ticket: &Ticket| ticket.open.as_ref().is_some_and(|open| open.errand.is_some());
        let mut errands = 0;
        for ticket in self.tickets.values_mut().filter(|ticket| carries(ticket)) {
            if ticket.expires_at <= clock.now(ticket.org) {
                ticket.open = None;
            } else {
                errands += 1;
            }
        }
        if errands >= MOST_ERRANDS {
            self.drop_oldest(carries);
        }
    }

    fn drop_oldest(&mut self, of: impl Fn(&Ticket) -> bool) {
        let those = self.tickets.iter().filter(|(_, ticket)| of(ticket));
        let oldest = those.min_by_key(|(_, ticket)| ticket.seq).map(|(id, _)| id.clone());
        oldest.and_then(|id| self.tickets.remove(&id));
    }
}

/// The errand of the stream that is being opened: the auth layer has redeemed its ticket, or the caller came with a
/// credential and the ticket only names the errand.
///
/// # Errors
/// 401 as [`Tickets::redeem`] says; `TICKET_INVALID` for a ticket without such an errand.
pub fn errand<T: 'static>(app: &App, exchange: &Exchange, text: &str) -> ApiResult<T> {
    let errand = match exchange.take_errand() {
        Some(errand) => Some(errand),
        None => {
            let route = exchange.route.get().map_or("", |route| route.path);
            app.tickets.redeem(&app.clock, text, route)?.errand
        }
    };
    let known = errand.and_then(|errand| errand.downcast::<T>().ok());
    known.map(|errand| *errand).ok_or_else(unknown)
}

/// A ticket that is good for nothing here.
pub fn unknown() -> ApiError {
    refused(codes::TICKET_INVALID, "is not known for this stream")
}

fn refused(code: Code, why: &str) -> ApiError {
    ApiError::new(
        code,
        format!(
            "This stream ticket {why}. Take a new one for each stream: POST /api/v1/auth/sse-ticket."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::presented::Context;
    use super::*;

    fn holder() -> Presented {
        Presented { credential: "msk_x".into(), context: Context::default() }
    }

    struct Desk {
        tickets: Tickets,
        clock: Clock,
        org: Uuid,
    }

    impl Desk {
        fn new() -> Self {
            Self { tickets: Tickets::default(), clock: Clock::new(true), org: Uuid::new_v4() }
        }

        fn mint(&self, purpose: Purpose) -> String {
            self.tickets.mint(&self.clock, self.org, holder(), 60, purpose).unwrap().text
        }

        fn redeem(&self, text: &str, route: &str) -> Result<Redeemed, Code> {
            self.tickets.redeem(&self.clock, text, route).map_err(|error| error.code)
        }
    }

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let desk = Desk::new();
        let [first, second, used] = [(); 3].map(|()| desk.mint(Purpose::AnyStream));
        assert!(desk.redeem(&used, "/x").is_ok());
        for _ in 0..MOST - 2 {
            desk.mint(Purpose::AnyStream);
        }
        // The used one went first, and nobody else.
        assert_eq!(desk.redeem(&used, "/x").err(), Some(codes::TICKET_INVALID));
        desk.mint(Purpose::AnyStream);
        assert_eq!(desk.redeem(&first, "/x").err(), Some(codes::TICKET_INVALID));
        assert!(desk.redeem(&second, "/x").is_ok());
        assert!(desk.tickets.kept().tickets.len() <= MOST);
    }

    #[test]
    fn a_ticket_for_one_route_opens_no_other_and_is_not_lost_by_the_attempt() {
        let desk = Desk::new();
        let ticket = desk.mint(Purpose::Errand("/a", Box::new(7)));
        assert_eq!(desk.redeem(&ticket, "/b").err(), Some(codes::TICKET_INVALID));
        let redeemed = desk.redeem(&ticket, "/a").ok().unwrap();
        assert!(redeemed.holder == holder());
        assert_eq!(redeemed.errand.unwrap().downcast_ref(), Some(&7));
    }

    #[test]
    fn errands_are_few_and_go_with_their_time() {
        let desk = Desk::new();
        let errand = || Purpose::Errand("/a", Box::new(()));
        let other = desk.mint(Purpose::AnyStream);
        let first = desk.mint(errand());
        for _ in 0..MOST_ERRANDS {
            desk.mint(errand());
        }
        assert_eq!(desk.redeem(&first, "/a").err(), Some(codes::TICKET_INVALID));
        desk.clock.advance(desk.org, std::time::Duration::from_secs(60));
        desk.mint(errand());
        assert_eq!(
            desk.tickets.kept().tickets.values().filter(|ticket| ticket.open.is_some()).count(),
            2
        );
        assert_eq!(desk.redeem(&other, "/a").err(), Some(codes::TICKET_EXPIRED));
    }
}
