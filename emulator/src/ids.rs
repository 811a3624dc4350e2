//! Ids and secrets.
//!
//! Ids are UUID v4 (`api-reference`, overview). With a seed they come out the same in every run. Secrets
//! never come from the seed.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Makes ids.
#[derive(Debug)]
pub struct Ids {
    seed: Option<u64>,
    next: AtomicU64,
}

impl Ids {
    /// Random ids, or with a seed reproducible ones.
    pub fn new(seed: Option<u64>) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    /// A new id.
    pub fn next(&self) -> Uuid {
        let Some(seed) = self.seed else { return Uuid::new_v4() };
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let digest =
            Sha256::new().chain_update(seed.to_be_bytes()).chain_update(n.to_be_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// An id that follows from a text: the same text names the same thing in every run.
pub fn derived(text: &str) -> Uuid {
    let digest = Sha256::digest(text);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// A secret of 192 random bits in URL-safe letters.
///
/// # Errors
/// When the system has no randomness to give.
pub fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is stored of a secret instead of the secret.
pub fn fingerprint(secret: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(secret).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_a_version_4_uuid() {
        for ids in [Ids::new(None), Ids::new(Some(7))] {
            let id = ids.next();
            assert_eq!(id.get_version_num(), 4);
            assert_ne!(id, ids.next());
        }
        assert_eq!(derived("x").get_version_num(), 4);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (a, b) = (Ids::new(Some(1)), Ids::new(Some(1)));
        assert_eq!((a.next(), a.next()), (b.next(), b.next()));
        assert_ne!(Ids::new(Some(2)).next(), Ids::new(Some(1)).next());
    }
}
