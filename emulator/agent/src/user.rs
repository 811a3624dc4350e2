//! Who commands run as, and where, when their request does not say: what a template's build spec has chosen.
//!
//! Names are looked up in the machine's own `/etc/passwd` each time: a command may just have added the user. The file
//! is parsed here, since static glibc has no name service.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use miosa_agent::protocol::defaults::{USER, WORKDIR};
use miosa_agent::protocol::{Failure, FailureCode};

use crate::paths::Workspace;

/// Larger files hold no users of a sandbox.
const MOST: u64 = 1024 * 1024;

/// What the machine was started with.
#[derive(Debug, Default)]
pub struct Defaults {
    /// `None` is whoever the agent is.
    pub user: Option<String>,
    /// `None` is the workspace.
    pub workdir: Option<String>,
}

impl Defaults {
    /// As the agent's environment says.
    pub fn of_environment() -> Self {
        let said = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { user: said(USER).filter(|user| user != "root"), workdir: said(WORKDIR) }
    }

    /// Makes the directory and gives it to the user, before the first command runs and could lead this astray. What
    /// fails is told by the first command.
    pub fn settle(&self, workspace: &Workspace) {
        let Some(place) = self.workdir.as_ref().and_then(|at| workspace.anywhere(at).ok()) else {
            return;
        };
        let _ = std::fs::create_dir_all(&place.real);
        if let Some(Ok(user)) = self.user.as_deref().map(User::find) {
            let _ = lchown(&place.real, Some(user.uid), Some(user.gid));
        }
    }
}

/// A user that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub name: Option<String>,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl User {
    /// The user that is meant.
    pub fn find(meant: &str) -> Result<Self, Failure> {
        let text = |path: &str| match std::fs::metadata(path) {
            Ok(found) if found.len() <= MOST => std::fs::read_to_string(path),
            Ok(_) => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
            Err(error) => Err(error),
        };
        let passwd = text("/etc/passwd").unwrap_or_default();
        let group = text("/etc/group").unwrap_or_default();
        Self::among(meant, &passwd, &group)
            .ok_or_else(|| Failure::new(FailureCode::NotFound, format!("there is no user {meant}")))
    }

    fn among(meant: &str, passwd: &str, group: &str) -> Option<Self> {
        let (meant, of_group) = match meant.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (meant, None),
        };
        let number = meant.parse::<u32>().ok();
        let known = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            (*name == meant || number == Some(uid)).then(|| Self {
                name: Some((*name).to_owned()),
                uid,
                gid,
                home: PathBuf::from(home),
            })
        });
        // A number needs no entry, as in a container's `USER`.
        let unknown =
            || number.map(|uid| Self { name: None, uid, gid: uid, home: PathBuf::from("/") });
        let user = known.or_else(unknown)?;
        let gid = match of_group {
            None => user.gid,
            Some(name) => name.parse().ok().or_else(|| {
                group.lines().find_map(|line| {
                    let mut fields = line.split(':');
                    (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
                })
            })?,
        };
        Some(Self { gid, ..user })
    }

    /// Lets the command run as this user; other groups are given up.
    pub fn become_by(&self, command: &mut Command) {
        command.gid(self.gid).uid(self.uid);
    }

    /// The variables that say who one is.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![("HOME", self.home.clone().into_os_string())];
        if let Some(name) = &self.name {
            variables.extend([("USER", name.into()), ("LOGNAME", name.into())]);
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nnode:x:1000:1001::/home/node:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:node\n";

    fn ids(meant: &str) -> Option<(u32, u32)> {
        User::among(meant, PASSWD, GROUP).map(|user| (user.uid, user.gid))
    }

    #[test]
    fn a_user_is_a_name_or_a_number_with_a_group_or_without() {
        assert_eq!(ids("node"), Some((1000, 1001)));
        assert_eq!(ids("1000"), Some((1000, 1001)));
        assert_eq!(ids("node:web"), Some((1000, 33)));
        assert_eq!(ids("node:7"), Some((1000, 7)));
        assert_eq!(ids("4711"), Some((4711, 4711)));
        assert_eq!((ids("nobody"), ids("node:none"), ids("")), (None, None, None));
    }

    #[test]
    fn who_has_an_entry_has_its_home() {
        let node = User::among("1000", PASSWD, GROUP).unwrap();
        assert_eq!(node.home, Path::new("/home/node"));
        assert!(node.variables().contains(&("USER", "node".into())));
    }
}
