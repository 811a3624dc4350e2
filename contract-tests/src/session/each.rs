//! A property of each of many things, tried on all of them in every run: in an order of the seed's, in one organization
//! that holds what they need. The thing that breaks it is tried once more by itself, in an organization that holds only
//! what it needs: that is the shortest sequence.

use std::fmt::Debug;
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};

use super::{MOST, Session};
use crate::case::{Case, Client};
use crate::fault::Fault;

/// After so many requests a new minute begins.
const BREATH: usize = 200;

impl Session {
    /// Checks a property on each item. `stage` makes what some items need.
    ///
    /// # Errors
    /// How the property ended.
    pub fn each<T, W>(
        &self,
        items: Vec<T>,
        stage: impl AsyncFn(&Client, &[T]) -> Result<W, Fault>,
        property: impl AsyncFn(&Client, &W, &T) -> Result<(), Fault>,
    ) -> Result<(), Fault>
    where
        T: Clone + Debug,
    {
        let items = self.shuffled(items);
        self.in_order(&items, stage, property)
    }

    /// The same in the order of the items, for those of which one ends what another needs.
    ///
    /// # Errors
    /// How the property ended.
    pub fn in_order<T, W>(
        &self,
        items: &[T],
        stage: impl AsyncFn(&Client, &[T]) -> Result<W, Fault>,
        property: impl AsyncFn(&Client, &W, &T) -> Result<(), Fault>,
    ) -> Result<(), Fault>
    where
        T: Clone + Debug,
    {
        let (client, world) = self.prepare(async |case| {
            let client = case.organization()?;
            let world = stage(&client, items).await?;
            Ok((client, world))
        })?;
        let mut spent = client.case().exchanges().len();
        for item in items {
            if self.started.elapsed() > MOST {
                return Err(Fault::unable(format!("not done after {} s", MOST.as_secs())));
            }
            if spent > BREATH {
                self.handle.block_on(client.breathe())?;
                spent = 0;
            }
            self.drawn.fetch_add(1, Ordering::Relaxed);
            let case = self.case();
            let here = client.in_case(&case);
            match self.handle.block_on(property(&here, &world, item)) {
                Ok(()) => spent += case.exchanges().len(),
                Err(fault @ Fault::Broken { .. }) => {
                    let alone = self.alone(item, &stage, &property);
                    if let Err(alone @ Fault::Broken { .. }) = alone {
                        return Err(alone);
                    }
                    self.keep(&fault, format!("{item:?}"), &case);
                    return Err(fault);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn alone<T, W>(
        &self,
        item: &T,
        stage: &impl AsyncFn(&Client, &[T]) -> Result<W, Fault>,
        property: &impl AsyncFn(&Client, &W, &T) -> Result<(), Fault>,
    ) -> Result<(), Fault>
    where
        T: Clone + Debug,
    {
        let case: Case = self.case();
        let ended = self.handle.block_on(async {
            let client = case.organization()?;
            let world = stage(&client, std::slice::from_ref(item)).await?;
            property(&client, &world, item).await
        });
        if let Err(fault) = &ended {
            self.keep(fault, format!("{item:?}"), &case);
        }
        ended
    }

    /// The items in an order of the seed's.
    pub fn shuffled<T>(&self, items: Vec<T>) -> Vec<T> {
        let entropy = self.entropy(0);
        let mut placed: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(at, item)| {
                let mut digest = Sha256::new();
                digest.update(entropy);
                digest.update(at.to_be_bytes());
                let place: [u8; 32] = digest.finalize().into();
                (place, item)
            })
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, item)| item).collect()
    }
}
