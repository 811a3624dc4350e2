//! Which ids outside stand behind the ids inside.
//!
//! Root gives every machine a range that belongs to nobody, so that root inside is nobody outside. An ordinary
//! user has only itself to give: one id, root inside. All machines of a data directory share the range, for
//! their sealed layers are shared; what keeps them apart is that none sees another's files or processes.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The range's first id where every id is ours to give: above the ranges that distributions hand to users
/// (`/etc/subuid`, from 100000) and to systemd's containers (to 1879048191), below the sign bit.
const BASE: u32 = 1_900_000_000;
/// What a distribution expects to have: `nobody` is 65534.
const COUNT: u32 = 65_536;

/// How ids inside map to ids outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserMap {
    /// 0 to `count - 1` inside are `base` and up outside.
    Range {
        /// The first id outside.
        base: u32,
        /// How many.
        count: u32,
    },
    /// Only 0 exists inside.
    Single {
        /// The user outside.
        uid: u32,
        /// The group outside.
        gid: u32,
    },
}

impl UserMap {
    /// What this process may give.
    pub fn choose() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        let single = Self::Single { uid: uid.as_raw(), gid: nix::unistd::getegid().as_raw() };
        if !uid.is_root() {
            return Ok(single);
        }
        let ours = std::fs::read_to_string("/proc/self/uid_map")?;
        Ok(range_within(&ours).unwrap_or(single))
    }

    /// Owner of root's files, outside.
    pub fn root(self) -> (u32, u32) {
        match self {
            Self::Range { base, .. } => (base, base),
            Self::Single { uid, gid } => (uid, gid),
        }
    }

    /// Whether ids beyond root exist inside.
    pub fn is_range(self) -> bool {
        matches!(self, Self::Range { .. })
    }

    /// Writes the map of the process whose `/proc` directory is `process`. Only a process outside its new user
    /// namespace may write a range; a single id it writes itself.
    pub fn write(self, process: &Path) -> io::Result<()> {
        let (uids, gids) = match self {
            Self::Range { base, count } => {
                (format!("0 {base} {count}\n"), format!("0 {base} {count}\n"))
            }
            Self::Single { uid, gid } => {
                // Without this an ordinary user could drop a group that denies it something.
                std::fs::write(process.join("setgroups"), "deny")?;
                (format!("0 {uid} 1\n"), format!("0 {gid} 1\n"))
            }
        };
        std::fs::write(process.join("uid_map"), uids)?;
        std::fs::write(process.join("gid_map"), gids)
    }
}

/// The range to give when our own ids are `uid_map`: [`BASE`] where that exists, else the upper part of what does.
fn range_within(uid_map: &str) -> Option<UserMap> {
    let ranges = uid_map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(inside)), Some(Ok(_)), Some(Ok(count))) => Some((inside, count)),
            _ => None,
        }
    });
    let (first, count) = ranges.max_by_key(|(_, count)| *count)?;
    let end = first + count;
    if first <= u64::from(BASE) && u64::from(BASE) + u64::from(COUNT) <= end {
        return Some(UserMap::Range { base: BASE, count: COUNT });
    }
    // Inside a container: keep its lower half (system users live there) to itself.
    let take = u64::from(COUNT).min(count / 2);
    let base = u32::try_from(end - take).ok()?;
    (take > 0).then_some(UserMap::Range { base, count: take as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_high_range_where_every_id_exists() {
        assert_eq!(
            range_within("         0          0 4294967295\n"),
            Some(UserMap::Range { base: BASE, count: COUNT })
        );
    }

    #[test]
    fn stays_within_the_ids_of_a_container() {
        assert_eq!(
            range_within("0 1000 1\n1 100000 65536\n"),
            Some(UserMap::Range { base: 1 + 65536 - 32768, count: 32768 })
        );
    }

    #[test]
    fn gives_no_range_when_only_root_exists() {
        assert_eq!(range_within("0 1000 1\n"), None);
        assert_eq!(range_within(""), None);
    }
}
