//! The one source of policy time: expiry, idle, rate windows, idempotency, usage.
//!
//! Policy time can be moved, process time (command timeouts, I/O bounds) cannot and does not come from here.
//! Each organization has its own offset, so that tests that run in parallel never move each other's clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A moment of policy time in milliseconds since 1970, on the wire `2026-05-17T10:00:00Z`
/// (`api-reference`, overview: ISO 8601 in UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this moment; negative when it is later.
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text).map(|moment| Self(moment.timestamp_millis())).map_err(
            |_| serde::de::Error::custom("expected an ISO 8601 time such as 2026-05-17T10:00:00Z"),
        )
    }
}

/// `1h30m` as a duration; `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    for c in text.trim().chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && !text.trim().is_empty()).then(|| Duration::from_secs(seconds))
}

/// Where a seeded clock starts.
const SEEDED_START_MS: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

/// Policy time.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    start_ms: i64,
    seeded: bool,
    offsets: RwLock<HashMap<Uuid, i64>>,
}

impl Clock {
    /// A clock that follows the computer's, or one that starts at a fixed moment.
    pub fn new(seeded: bool) -> Self {
        let start_ms = if seeded { SEEDED_START_MS } else { system_ms() };
        Self { started: Instant::now(), start_ms, seeded, offsets: RwLock::default() }
    }

    /// Now, for an organization. It never runs backwards between two calls of one process.
    pub fn now(&self, org: Uuid) -> Timestamp {
        Timestamp(self.base().0 + self.offset_ms(org))
    }

    /// Now, before any organization moved its clock.
    pub fn base(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.start_ms.saturating_add(elapsed))
    }

    /// Whether it starts at a fixed moment.
    pub fn seeded(&self) -> bool {
        self.seeded
    }

    /// How far the organization's clock has been moved, in milliseconds.
    pub fn offset_ms(&self, org: Uuid) -> i64 {
        self.offsets.read().unwrap_or_else(PoisonError::into_inner).get(&org).copied().unwrap_or(0)
    }

    /// Sets how far the organization's clock is ahead.
    pub fn set_offset_ms(&self, org: Uuid, offset_ms: i64) {
        self.offsets.write().unwrap_or_else(PoisonError::into_inner).insert(org, offset_ms);
    }

    /// Moves the organization's clock forward.
    pub fn advance(&self, org: Uuid, by: Duration) -> Timestamp {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let mut offsets = self.offsets.write().unwrap_or_else(PoisonError::into_inner);
        let offset = offsets.entry(org).or_default();
        *offset = offset.saturating_add(by);
        Timestamp(self.base().0.saturating_add(*offset))
    }
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_the_wire_ends_in_z_and_reads_back() {
        let time = Timestamp(1_779_012_000_000);
        assert_eq!(time.to_string(), "2026-05-17T10:00:00Z");
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        assert_eq!(Timestamp(1_779_012_000_250).to_string(), "2026-05-17T10:00:00.250Z");
    }

    #[test]
    fn one_organization_moves_its_own_clock_only() {
        let clock = Clock::new(true);
        let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
        clock.advance(a, Duration::from_secs(3600));
        assert!(clock.now(a).millis_since(clock.now(b)) >= 3_599_000);
        assert!(clock.now(b).millis_since(Timestamp(SEEDED_START_MS)) < 60_000);
    }

    #[test]
    fn durations_are_read_and_nonsense_is_not() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(604_800)));
        for text in ["", "h", "3", "3x", "-1s", "1.5h", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
