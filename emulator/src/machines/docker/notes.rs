//! What a person should know about machines on this engine.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use super::network;
use crate::machines::{Note, NoteLevel, TemplateReadiness};

fn note(level: NoteLevel, topic: &'static str, text: impl Into<String>) -> Note {
    Note { level, topic, text: text.into() }
}

/// Of what the engine says about itself, the default template's readiness, and why there is no own bridge.
pub fn of(info: &SystemInfo, default: &TemplateReadiness, no_bridge: Option<String>) -> Vec<Note> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let cgroup = match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_1) => "1",
        Some(SystemInfoCgroupVersionEnum::_2) => "2",
        _ => "unknown",
    };
    let mut notes = vec![note(
        NoteLevel::Ok,
        "engine",
        format!(
            "Docker {} on {} ({}), cgroup version {cgroup}",
            text(&info.server_version),
            text(&info.operating_system),
            text(&info.architecture),
        ),
    )];
    notes.push(if info.cpu_cfs_quota.unwrap_or(false) {
        let cpus = info.ncpu.unwrap_or(0);
        note(
            NoteLevel::Limited,
            "cpu",
            format!("{cpus} CPUs: a machine that asks for more gets {cpus}"),
        )
    } else {
        note(NoteLevel::Limited, "cpu", "the engine has no CPU quota: machines share all CPUs")
    });
    notes.push(match (info.memory_limit.unwrap_or(false), info.swap_limit.unwrap_or(false)) {
        (true, true) => note(NoteLevel::Ok, "memory", "limited, without swap"),
        (true, false) => {
            note(NoteLevel::Limited, "memory", "limited, but a machine may use swap beyond it")
        }
        (false, _) => note(NoteLevel::Limited, "memory", "the engine cannot limit memory"),
    });
    notes.push(if info.pids_limit.unwrap_or(false) {
        note(NoteLevel::Ok, "processes", "limited")
    } else {
        note(NoteLevel::Limited, "processes", "the engine cannot limit processes")
    });
    let backing = info
        .driver_status
        .iter()
        .flatten()
        .find_map(|pair| match pair.as_slice() {
            [key, value] if key == "Backing Filesystem" => Some(format!(" on {value}")),
            _ => None,
        })
        .unwrap_or_default();
    notes.push(note(
        NoteLevel::Limited,
        "disk",
        format!(
            "no limit: the storage driver {}{backing} is not asked for quotas; machines share {}",
            text(&info.driver),
            text(&info.docker_root_dir),
        ),
    ));
    notes.push(note(
        NoteLevel::Limited,
        "network",
        "machines reach the internet, and services of the host that listen on all addresses or on the bridge's; not \
         those on the host's 127.0.0.1, and not each other",
    ));
    notes.push(note(
        NoteLevel::Limited,
        "egress",
        "egress policies are kept but not enforced, and connections are not recorded: containers reach the network by \
         themselves; `--machines namespace` enforces them",
    ));
    if let Some(why) = no_bridge {
        notes.push(note(
            NoteLevel::Limited,
            "network",
            format!("the network {} cannot be made ({why}): machines are on Docker's default bridge and see each other", network::NAME),
        ));
    }
    notes.push(match default {
        TemplateReadiness::FastReady => note(NoteLevel::Ok, "images", "the default image is there"),
        TemplateReadiness::ColdBootOnly => note(
            NoteLevel::Limited,
            "images",
            "the default image is not there: the first create builds it from debian:12-slim, which takes about a \
             minute; scripts/images makes it beforehand, also where no registry can be reached",
        ),
        TemplateReadiness::Missing(why) => note(NoteLevel::Broken, "images", why.clone()),
    });
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(info: &SystemInfo, topic: &str) -> Vec<NoteLevel> {
        of(info, &TemplateReadiness::FastReady, None)
            .into_iter()
            .filter(|note| note.topic == topic)
            .map(|note| note.level)
            .collect()
    }

    #[test]
    fn what_the_engine_cannot_limit_is_said() {
        let nothing = SystemInfo::default();
        for topic in ["cpu", "memory", "processes", "disk"] {
            assert_eq!(levels(&nothing, topic), [NoteLevel::Limited], "{topic}");
        }
        let all = SystemInfo {
            memory_limit: Some(true),
            swap_limit: Some(true),
            pids_limit: Some(true),
            ..SystemInfo::default()
        };
        assert_eq!(levels(&all, "memory"), [NoteLevel::Ok]);
        assert_eq!(levels(&all, "processes"), [NoteLevel::Ok]);
        assert_eq!(levels(&all, "disk"), [NoteLevel::Limited]);
    }

    #[test]
    fn a_template_that_cannot_start_is_broken_with_its_reason() {
        let missing = TemplateReadiness::Missing("no registry".to_owned());
        let notes = of(&SystemInfo::default(), &missing, Some("no right".to_owned()));
        assert!(
            notes.iter().any(|note| note.level == NoteLevel::Broken && note.text == "no registry")
        );
        assert!(notes.iter().any(|note| note.text.contains("no right")));
    }
}
