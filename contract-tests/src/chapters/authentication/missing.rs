//! No credential at all.

use proptest::prelude::*;

use crate::fault::Fault;
use crate::masked::masked;
use crate::operations::{Op, sweep, unauthorized};
use crate::populated;
use crate::session::Session;
use crate::target::Profile;

/// AUTH-001.
pub(super) fn required(session: &Session) -> Result<(), Fault> {
    // What is open makes things, too, which nobody would remove from a live server.
    let live = session.target.profile == Profile::Live;
    let operations = if live { Op::guarded() } else { Op::all() };
    session.forall(sweep(session, operations), async |case, operations| {
        for op in operations.iter() {
            let reply = op.blank(&case.anonymous()).send().await?;
            if op.is_open() {
                let open = format!("{op:?} to be open to anyone");
                reply.holds(reply.status != 401, open, reply.summary())?;
            } else {
                unauthorized(&reply)?;
            }
        }
        Ok(())
    })
}

/// AUTH-003.
pub(super) fn first(session: &Session) -> Result<(), Fault> {
    let strategy = (sweep(session, Op::guarded()), any::<bool>());
    session.forall(strategy, async |case, (operations, valid_first)| {
        let (_, world) = populated::whole_or_for(&case, &operations).await?;
        for op in operations.iter() {
            // A ticket is a credential.
            if world.query(op.0).contains("ticket=") {
                continue;
            }
            let stranger = case.anonymous();
            let Some(valid) = op.valid(&stranger, &world) else { continue };
            let blank = op.blank(&stranger);
            let (one, other) = if valid_first { (valid, blank) } else { (blank, valid) };
            let (one, other) = (one.send().await?, other.send().await?);
            unauthorized(&one)?;
            unauthorized(&other)?;
            let (told, also) = (masked(&one), masked(&other));
            other.holds(told == also, format!("the same as before: {told}"), also.clone())?;
        }
        Ok(())
    })
}
