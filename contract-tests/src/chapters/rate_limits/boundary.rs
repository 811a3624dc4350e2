//! Where a limit begins, where it ends, and what it says of that.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::spending::{
    AUTH, AUTH_ENDPOINTS, GENERAL, KINDS, Kind, auth as ask, begin, kind, mixed, number, pass,
};
use crate::case::{Client, Reply, Sending};
use crate::fault::Fault;
use crate::session::Session;

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    prop::collection::vec(kind(), 1..=6)
}

/// Of a request that must be refused for its number.
fn over(reply: &Reply, what: &str) -> Result<(), Fault> {
    let expected = format!("429: {what}");
    reply.holds(
        reply.status == 429,
        expected,
        format!("{} from {}", reply.summary(), reply.place()),
    )
}

fn under(reply: &Reply, what: &str) -> Result<(), Fault> {
    let expected = format!("{} to pass: {what}", reply.place());
    reply.holds(reply.status != 429, expected, reply.summary())
}

pub(super) fn general(session: &Session) -> Result<(), Fault> {
    session.forall(kinds(), async |case, kinds| {
        let client = case.organization()?;
        begin(&client).await?;
        pass(mixed(&client, &kinds, GENERAL)).await?;
        for kind in KINDS {
            over(&kind.by(&client).send().await?, "300 requests were sent within this minute")?;
        }
        client.advance(60).await?;
        for kind in kinds {
            under(&kind.by(&client).send().await?, "a minute has gone by since the last that did")?;
        }
        Ok(())
    })
}

/// What can be spent: everything a minute allows, or what an auth endpoint does.
#[derive(Debug, Clone, Copy)]
enum Limit {
    General(Kind),
    Auth(&'static str),
}

impl Limit {
    fn request(self, client: &Client) -> Sending {
        match self {
            Self::General(kind) => kind.by(client),
            Self::Auth(endpoint) => ask(client, endpoint),
        }
    }
    fn many(self) -> usize {
        match self {
            Self::General(_) => GENERAL,
            Self::Auth(_) => AUTH,
        }
    }
}

pub(super) fn retry_after(session: &Session) -> Result<(), Fault> {
    let limits: Vec<_> =
        std::iter::once(None).chain(AUTH_ENDPOINTS.iter().copied().map(Some)).collect();
    for endpoint in limits {
        // How far into the window the last request comes.
        session.forall((kind(), 0_u64..=50), async |case, (kind, late)| {
            let client = case.organization()?;
            let limit = endpoint.map_or(Limit::General(kind), Limit::Auth);
            let half = limit.many() / 2;
            let some = |many: usize| (0..many).map(|_| limit.request(&client)).collect::<Vec<_>>();
            pass(some(half)).await?;
            if late > 0 {
                client.advance(late).await?;
            }
            // In a window that begins with the minute the second half may lie in the next one; then there is more to spend.
            let mut refused = None;
            let mut left = limit.many() * 2;
            while refused.is_none() && left > 0 {
                let replies = crate::case::made::at_once(some(10.min(left))).await?;
                refused = replies.into_iter().find(|reply| reply.status == 429);
                left = left.saturating_sub(10);
            }
            let Some(refused) = refused else {
                let many = limit.many();
                return Err(Fault::broken(format!("429 after {many} requests"), "none"));
            };
            let since = Instant::now();
            let wait = number(&refused, "retry-after")?;
            refused.holds(
                (1..=60).contains(&wait),
                "Retry-After in seconds, from 1 to 60",
                wait.to_string(),
            )?;
            let early = wait.saturating_sub(2);
            if early > 0 {
                client.advance(early).await?;
                let reply = limit.request(&client).send().await?;
                // Real time passes, too, and Retry-After is rounded up.
                if since.elapsed() < Duration::from_millis(900) {
                    over(&reply, &format!("Retry-After said {wait}, and {early} s have gone by"))?;
                }
            }
            client.advance(wait - early).await?;
            let reply = limit.request(&client).send().await?;
            under(&reply, &format!("Retry-After said {wait}, and {wait} s have gone by"))
        })?;
    }
    Ok(())
}

const ANONYMOUS: usize = 60;

pub(super) fn anonymous(session: &Session) -> Result<(), Fault> {
    // None, or one that is none.
    let credential = prop_oneof![
        Just(None),
        "[a-z]{1,12}".prop_map(|word| Some(format!("Bearer {word}"))),
        Just(Some("Basic eDp5".to_owned())),
    ];
    let asked = prop::collection::vec((kind(), credential), 1..=5);
    session.forall(asked, async |case, asked| {
        let here = case.anonymous().from_one_place();
        let request = |client: &Client, (kind, credential): &(Kind, Option<String>)| {
            let sending = kind.by(client);
            match credential {
                Some(credential) => sending.header("Authorization", credential),
                None => sending,
            }
        };
        let since = Instant::now();
        let all: Vec<_> =
            asked.iter().cycle().take(ANONYMOUS).map(|one| request(&here, one)).collect();
        for reply in pass(all).await? {
            reply.holds(
                reply.status == 401,
                format!("401 without a credential from {}", reply.place()),
                reply.summary(),
            )?;
        }
        for one in &asked {
            let reply = request(&here, one).send().await?;
            if since.elapsed() > Duration::from_secs(50) {
                return Err(Fault::unable("60 requests took longer than a minute"));
            }
            over(&reply, "60 requests without a credential were sent within this minute")?;
        }
        if here.target().address.is_loopback() {
            let there = case.anonymous().from_one_place();
            under(&Kind::List.by(&there).send().await?, "it comes from another address")?;
        }
        Ok(())
    })
}

pub(super) fn auth(session: &Session) -> Result<(), Fault> {
    for endpoint in AUTH_ENDPOINTS {
        session.forall(kind(), async |case, kind| {
            let client = case.organization()?;
            begin(&client).await?;
            pass((0..AUTH).map(|_| ask(&client, endpoint)).collect()).await?;
            over(
                &ask(&client, endpoint).send().await?,
                "20 requests were sent within this minute",
            )?;
            under(&kind.by(&client).send().await?, "the general limit is not spent")?;
            client.advance(60).await?;
            under(&ask(&client, endpoint).send().await?, "a minute has gone by")
        })?;
    }
    Ok(())
}
