//! Every mutation, several times with one key.
//!
//! In turn, each is sent, sent again, sent with another body and sent once more; what came is judged by three rules, so
//! that the tour through all mutations, which costs sandboxes, is made once a run.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tokio::sync::{Mutex, OnceCell};

use super::deed::{Deed, Stage, alike, grown, is_kept, key, mutations};
use crate::case::{Case, Client, Reply};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::session::Session;
use crate::target::Target;

/// So many mutations lie between two moves of the clock: a minute has 300 requests.
const PACE: usize = 18;

/// Goes through all mutations in one organization.
fn tour<S>(
    session: &Session,
    drawn: &S,
    property: impl AsyncFn(&Client, &Deed, S::Value) -> Result<(), Fault>,
) -> Result<(), Fault>
where
    S: Strategy + Clone,
    S::Value: std::fmt::Debug,
{
    let stage = Stage::full(session)?;
    for (n, operation) in mutations().into_iter().enumerate() {
        if n % PACE == 0 {
            session.prepare(async |case| stage.client.in_case(&case).breathe().await)?;
        }
        let Some(deed) = Deed::of(&stage.world, operation) else { continue };
        session.forall(drawn.clone(), async |case, value| {
            let client = stage.enter(&case);
            property(&client, &deed, value).await
        })?;
    }
    Ok(())
}

/// What a mutation was answered, in turn.
struct Told {
    exchanges: Vec<Exchange>,
    first: Reply,
    again: Reply,
    /// With the same key and another body.
    other: Option<Reply>,
    last: Reply,
    /// How many there were of what it makes: before, after the second, after the last.
    counts: [Option<u64>; 3],
}

type Tour = Arc<OnceCell<Vec<Told>>>;

/// The tours, by the run.
static TOURS: LazyLock<Mutex<HashMap<String, Tour>>> = LazyLock::new(Mutex::default);

async fn told(target: &Arc<Target>) -> Result<Vec<Told>, Fault> {
    let stage = Stage::set(&Case::new(target.clone()), target.has_machines()).await?;
    let mut all = Vec::new();
    for (n, operation) in mutations().into_iter().enumerate() {
        if n % PACE == 0 {
            stage.client.in_case(&Case::new(target.clone())).breathe().await?;
        }
        let Some(deed) = Deed::of(&stage.world, operation) else { continue };
        let case = Case::new(target.clone());
        let client = stage.enter(&case);
        let key = key();
        let before = deed.count(&client).await?;
        let first = deed.by(&client).key(&key).send().await?;
        if !is_kept(&first) {
            continue;
        }
        let again = deed.by(&client).key(&key).send().await?;
        let then = deed.count(&client).await?;
        let other = match deed.with_another_body() {
            Some(other) => Some(other.by(&client).key(&key).send().await?),
            None => None,
        };
        let last = deed.by(&client).key(&key).send().await?;
        let counts = [before, then, deed.count(&client).await?];
        all.push(Told { exchanges: case.exchanges(), first, again, other, last, counts });
    }
    Ok(all)
}

/// Judges what every mutation was answered.
fn judge(session: &Session, judge: impl Fn(&Told) -> Result<(), Fault>) -> Result<(), Fault> {
    let cell = session.prepare(async |case| {
        let run = case.target().run.clone();
        let cell = TOURS.lock().await.entry(run).or_default().clone();
        cell.get_or_try_init(|| told(case.target())).await?;
        Ok(cell)
    })?;
    for told in cell.get().into_iter().flatten() {
        session.forall(Just(()), async |case, ()| {
            case.begin_with(&told.exchanges);
            judge(told)
        })?;
    }
    Ok(())
}

pub(super) fn in_turn(session: &Session) -> Result<(), Fault> {
    judge(session, |told| {
        let Told { first, again, last, counts, .. } = told;
        for again in [again, last] {
            alike(first, again, &format!("since the key of {} is the same", first.place()))?;
        }
        let [Some(before), Some(then), Some(after)] = *counts else { return Ok(()) };
        // A list of what is there now may leave out what was made for a moment only.
        let most = before + u64::from(first.status < 300);
        let place = first.place();
        again.holds(
            then <= most && after <= most,
            format!("{most} items at the most in the list of {place}, which happened once"),
            then.max(after).to_string(),
        )
    })
}

pub(super) fn another_body(session: &Session) -> Result<(), Fault> {
    judge(session, |told| {
        let Some(other) = &told.other else { return Ok(()) };
        other.refused(409)?;
        let [_, then, after] = told.counts;
        let place = other.place();
        other.holds(
            then == after,
            format!("the list of {place} as it was: {then:?}"),
            format!("{after:?}"),
        )?;
        alike(&told.first, &told.last, "although another body was sent with its key")
    })
}

pub(super) fn headers(session: &Session) -> Result<(), Fault> {
    judge(session, |Told { first, again, .. }| {
        alike(first, again, "with its headers")?;
        for name in ["content-type", "location"] {
            let said = |reply: &Reply| reply.header(name).unwrap_or("no such header").to_owned();
            again.holds(
                said(first) == said(again),
                format!("{name}: {} on the replay of {}", said(first), first.place()),
                said(again),
            )?;
        }
        let mark = |reply: &Reply| reply.header("idempotency-replayed").map(str::to_owned);
        first.holds(
            mark(first).is_none(),
            format!("no Idempotency-Replayed on the first answer of {}", first.place()),
            format!("{:?}", mark(first)),
        )?;
        again.holds(
            mark(again).as_deref() == Some("true"),
            format!("Idempotency-Replayed: true on the replay of {}", first.place()),
            format!("{:?}", mark(again)),
        )
    })
}

pub(super) fn at_once(session: &Session) -> Result<(), Fault> {
    tour(session, &(3_usize..=8), async |client, deed, times| {
        let key = key();
        let before = deed.count(client).await?;
        let sendings = (0..times).map(|_| deed.by(client).key(&key));
        let replies = crate::case::made::at_once(sendings).await?;
        let busy = |reply: &&Reply| {
            reply.status == 409 && reply.json().is_ok_and(|body| body["error"]["retryable"] == true)
        };
        let Some(first) = replies.iter().find(|reply| !busy(reply)) else {
            let expected = format!("one of {times} at once to run");
            return Err(Fault::broken(expected, "all are told that one is under way"));
        };
        if !is_kept(first) {
            return Ok(());
        }
        for again in replies.iter().filter(|reply| !busy(reply)) {
            alike(first, again, &format!("{times} times at once with one key"))?;
        }
        let made = u64::from(first.status < 300 && before.is_some());
        match deed.count(client).await? {
            Some(after) if after > before.unwrap_or(0) + made => {
                grown(deed, client, before, made).await
            }
            _ => Ok(()),
        }
    })
}
