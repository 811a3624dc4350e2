//! Reading a list that grows.

use proptest::prelude::*;

use super::shelf::{Shelf, paths};
use super::walk::twice;
use crate::fault::{Fault, holds};
use crate::session::Session;

/// Lists whose end is where the new items go, or that nothing can be put on: no promise is made for them.
const GROWS_ELSEWHERE: &[&str] = &["/sandbox-templates", "/api-keys/presets"];

pub(super) fn nothing_is_missed(session: &Session) -> Result<(), Fault> {
    // How many there are before, the size of a part, and how many are added after each part.
    let drawn = (2_usize..=5, 1_u64..=3, prop::collection::vec(0_usize..=2, 1..=3));
    for list in paths(&session.target) {
        // Those on sandboxes are one table with those beside them; what they cost buys nothing here.
        if list.contains("sandbox") || list.contains("snapshot") || GROWS_ELSEWHERE.contains(&list)
        {
            continue;
        }
        session.forall(
            (drawn.clone(), any::<bool>()),
            async |case, ((before, size, added), by_page)| {
                let mut shelf = Shelf::open(&case, list, None).await?;
                if shelf.is_fixed() {
                    return Ok(());
                }
                for _ in 0..before {
                    shelf.add().await?;
                }
                let older = shelf.whole().await?;
                let mut added = added.into_iter();
                let mut met: Vec<String> = Vec::new();
                let mut cursor = String::new();
                for n in 1..=60 {
                    let part = if by_page {
                        shelf.read(&format!("page={n}&page_size={size}")).await?
                    } else {
                        shelf.read(&format!("limit={size}&cursor={cursor}")).await?
                    };
                    met.extend(part.keys.iter().cloned());
                    match part.next {
                        _ if by_page && part.keys.is_empty() => break,
                        _ if by_page => {}
                        Some(next) => cursor = next,
                        None => break,
                    }
                    for _ in 0..added.next().unwrap_or(0) {
                        shelf.add().await?;
                    }
                }
                let way = if by_page { "page" } else { "cursor" };
                for key in &older {
                    holds(
                        met.contains(key),
                        format!(
                            "{key}, which was there before, somewhere on {} by {way}",
                            shelf.path
                        ),
                        format!("only {}", met.join(" ")),
                    )?;
                }
                if let Some(key) = twice(&met).filter(|_| !by_page) {
                    let expected = format!("every item of {} once by cursor", shelf.path);
                    return Err(Fault::broken(expected, format!("{key} twice")));
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}
