//! Stream tickets: what a browser puts into the address of a stream instead of a credential.
//!
//! A ticket opens one stream, once, as the caller who minted it. It stands for that caller's own credential, which is
//! looked at again when the ticket is used: a key that was revoked meanwhile opens nothing. Tickets live in memory only;
//! after a restart a client takes a new one, as it does on every reconnect.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::codes::{self, Code};
use super::error::{ApiError, ApiResult};
use super::presented::Presented;
use crate::clock::{Clock, Timestamp};
use crate::ids;

/// What a ticket begins with (`api-reference/events`).
const PREFIX: &str = "sset_";

/// This many are remembered, used ones included, so that a client is told why its ticket fails.
const MOST: usize = 10_000;

/// A ticket that was minted.
struct Ticket {
    org: Uuid,
    expires_at: Timestamp,
    /// The one route that it opens; `None` for any stream.
    only: Option<&'static str>,
    /// Whom it stands for, until it is used.
    holder: Option<Presented>,
    /// Its place in the order in which they were made.
    seq: u64,
}

#[derive(Default)]
struct Kept {
    /// By fingerprint.
    tickets: HashMap<String, Ticket>,
    made: u64,
}

/// The tickets.
#[derive(Default)]
pub struct Tickets(Mutex<Kept>);

impl Tickets {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new ticket that opens one stream (of the route `only`, or any) until `expires_at`, as `holder`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn mint(
        &self,
        holder: Presented,
        org: Uuid,
        expires_at: Timestamp,
        only: Option<&'static str>,
    ) -> ApiResult<String> {
        let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
        let text = format!("{PREFIX}{secret}");
        let mut kept = self.kept();
        if kept.tickets.len() >= MOST {
            make_room(&mut kept.tickets);
        }
        kept.made += 1;
        let ticket = Ticket { org, expires_at, only, holder: Some(holder), seq: kept.made };
        kept.tickets.insert(ids::fingerprint(&text), ticket);
        Ok(text)
    }

    /// Whom the ticket stands for; it is used up with this.
    ///
    /// # Errors
    /// 401 `TICKET_INVALID`, `TICKET_EXPIRED`, `TICKET_USED`.
    pub fn redeem(&self, clock: &Clock, text: &str, route: &str) -> ApiResult<Presented> {
        let mut kept = self.kept();
        let ticket = kept
            .tickets
            .get_mut(&ids::fingerprint(text))
            .filter(|ticket| ticket.only.is_none_or(|only| only == route))
            .ok_or_else(|| refused(codes::TICKET_INVALID, "is not known for this stream"))?;
        if ticket.expires_at <= clock.now(ticket.org) {
            ticket.holder = None;
            return Err(refused(codes::TICKET_EXPIRED, "has expired"));
        }
        ticket.holder.take().ok_or_else(|| refused(codes::TICKET_USED, "was used before"))
    }

    /// Forgets the tickets of an organization.
    pub fn forget(&self, org: Uuid) {
        self.kept().tickets.retain(|_, ticket| ticket.org != org);
    }
}

/// Drops the used ones, or the oldest when all are open.
fn make_room(tickets: &mut HashMap<String, Ticket>) {
    tickets.retain(|_, ticket| ticket.holder.is_some());
    if tickets.len() >= MOST {
        let oldest = tickets.iter().min_by_key(|(_, ticket)| ticket.seq).map(|(id, _)| id.clone());
        oldest.and_then(|id| tickets.remove(&id));
    }
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

    fn mint(tickets: &Tickets, org: Uuid, expires_at: Timestamp) -> String {
        tickets.mint(holder(), org, expires_at, None).unwrap()
    }

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let (tickets, clock, org) = (Tickets::default(), Clock::new(true), Uuid::new_v4());
        let until = clock.now(org).plus_seconds(60);
        let first = mint(&tickets, org, until);
        let second = mint(&tickets, org, until);
        let used = mint(&tickets, org, until);
        assert!(tickets.redeem(&clock, &used, "/x").is_ok());
        for _ in 0..MOST - 2 {
            mint(&tickets, org, until);
        }
        // The used one went first, and nobody else.
        assert_eq!(tickets.redeem(&clock, &used, "/x").err().unwrap().code, codes::TICKET_INVALID);
        mint(&tickets, org, until);
        assert_eq!(tickets.redeem(&clock, &first, "/x").err().unwrap().code, codes::TICKET_INVALID);
        assert!(tickets.redeem(&clock, &second, "/x").is_ok());
        assert!(tickets.kept().tickets.len() <= MOST);
    }

    #[test]
    fn a_ticket_for_one_route_opens_no_other_and_is_not_lost_by_the_attempt() {
        let (tickets, clock, org) = (Tickets::default(), Clock::new(true), Uuid::new_v4());
        let until = clock.now(org).plus_seconds(60);
        let ticket = tickets.mint(holder(), org, until, Some("/a")).unwrap();
        let wrong = tickets.redeem(&clock, &ticket, "/b").err().unwrap();
        assert_eq!(wrong.code, codes::TICKET_INVALID);
        assert!(tickets.redeem(&clock, &ticket, "/a").is_ok_and(|found| found == holder()));
    }
}
