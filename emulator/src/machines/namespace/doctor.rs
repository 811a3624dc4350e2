//! What a person should know about namespaces on this computer.

use std::fs;
use std::path::Path;

use super::super::{Enforced, MachineError, Note, NoteLevel, TemplateReadiness, templates};
use super::cgroup::Trees;
use super::usermap::UserMap;

/// Where programs are looked for: what of the host is visible inside.
const PROGRAMS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// Whether the host's `/usr` has what a template promises.
pub fn readiness(template: &str) -> TemplateReadiness {
    let Some(built_in) = templates::find(template) else {
        return TemplateReadiness::Missing(format!("there is no template {template}"));
    };
    let absent: Vec<&str> = built_in.tools.iter().copied().filter(|tool| !has(tool)).collect();
    if absent.is_empty() {
        return TemplateReadiness::FastReady;
    }
    TemplateReadiness::Missing(format!(
        "without Docker a sandbox has the programs of this computer's /usr, where {} {} not: install {}, or use Docker",
        absent.join(", "),
        if absent.len() == 1 { "is" } else { "are" },
        if absent.len() == 1 { "it" } else { "them" },
    ))
}

/// A program counts only when the file itself is below `/usr`: a link to elsewhere dangles inside.
fn has(tool: &str) -> bool {
    PROGRAMS.iter().any(|dir| {
        fs::canonicalize(Path::new(dir).join(tool))
            .is_ok_and(|path| path.starts_with("/usr") && path.is_file())
    })
}

/// Everything, in the order of importance.
pub fn notes(ids: UserMap, trees: &Trees, probe: Result<Enforced, MachineError>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note =
        |level, topic, text: &str| notes.push(Note { level, topic, text: text.to_owned() });
    match &probe {
        Ok(_) => note(NoteLevel::Ok, "namespaces", "a sandbox starts here without Docker"),
        Err(error) => note(
            NoteLevel::Broken,
            "namespaces",
            &format!("no sandbox starts: {error}. {}", advice(error)),
        ),
    }
    match ids {
        UserMap::Range { base, .. } => {
            note(
                NoteLevel::Ok,
                "users",
                &format!("root in a sandbox is user {base} outside, who owns nothing else"),
            );
        }
        UserMap::Single { .. } => note(
            NoteLevel::Limited,
            "users",
            "run as an ordinary user, a sandbox has one user (root inside, you outside), and files that /usr has from the host can be replaced but not changed",
        ),
    }
    let enforced = probe.unwrap_or_default();
    let limit = |held: bool, what: &str| {
        if held {
            (NoteLevel::Ok, format!("{what} is limited by a control group"))
        } else if trees.any() {
            (
                NoteLevel::Limited,
                format!("{what} is not limited: the control groups here lack that controller"),
            )
        } else {
            let text = "is not limited: no control group may be made here; run as root, or in a systemd user scope with Delegate=yes";
            (NoteLevel::Limited, format!("{what} {text}"))
        }
    };
    let (level, text) = limit(enforced.vcpus.is_some(), "CPU");
    note(level, "cpu", &text);
    let (level, text) = limit(enforced.memory_mb.is_some(), "memory");
    note(level, "memory", &text);
    note(
        NoteLevel::Limited,
        "disk",
        "the disk of a sandbox is not limited: overlayfs has no quota",
    );
    note(
        NoteLevel::Limited,
        "network",
        "a sandbox reaches the outside only through the HTTP proxy in its environment; names are not resolved inside",
    );
    let usr = fs::symlink_metadata("/bin").is_ok_and(|m| m.is_symlink());
    if !usr {
        note(
            NoteLevel::Limited,
            "programs",
            "this computer keeps programs in /bin beside /usr/bin; a sandbox sees only those in /usr",
        );
    }
    notes
}

/// What to do about a sandbox that does not start, as far as this computer's settings tell.
fn advice(error: &MachineError) -> String {
    let setting = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok();
    let is = |name: &str, value: &str| setting(name).is_some_and(|text| text.trim() == value);
    let text = error.to_string();
    if is("kernel/unprivileged_userns_clone", "0") {
        "User namespaces are off: sysctl kernel.unprivileged_userns_clone=1, or run as root."
    } else if is("user/max_user_namespaces", "0") {
        "User namespaces are off: sysctl user.max_user_namespaces=10000."
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") && text.contains("namespace") {
        "AppArmor restricts user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root."
    } else if text.contains("overlay") {
        "The data directory must be on a file system that overlayfs can write to (ext4, xfs, btrfs, tmpfs; not the layers of a container): choose another --data, in a container a volume."
    } else if text.contains("proc") {
        "In a container /proc is partly hidden, which forbids a new one: run the container with --privileged or --security-opt systempaths=unconfined."
    } else if text.contains("namespace") {
        "In a container, allow it with --privileged, or use Docker outside."
    } else {
        ""
    }
    .to_owned()
}
