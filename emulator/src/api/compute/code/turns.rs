//! One cell at a time in each context.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use uuid::Uuid;

/// A sandbox, and what its machine knows an interpreter by.
type Which = (Uuid, String);

/// Whose turn it is in which interpreter.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Which, Arc<Turn<()>>>>);

impl Turns {
    /// Waits for the turn in a context of a sandbox.
    pub async fn take(&self, sandbox: Uuid, job: String) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry((sandbox, job)).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_that_nobody_holds_are_forgotten() {
        let (turns, sandbox) = (Turns::default(), Uuid::new_v4());
        let held = turns.take(sandbox, "a".into()).await;
        drop(turns.take(sandbox, "b".into()).await);
        drop(turns.take(sandbox, "c".into()).await);
        assert_eq!(turns.0.lock().unwrap().len(), 2);
        drop(held);
        drop(turns.take(sandbox, "d".into()).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
