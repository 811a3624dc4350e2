//! Writes the reports of a run into a directory, credentials taken out.

use std::fs;
use std::path::Path;

use super::redact::redact;
use super::replay::Replay;
use super::{Report, curl, har, html, hurl, json, junit};
use crate::run::Outcome;

/// Below the directory: what reproduces each broken rule.
pub const BROKEN: &str = "broken";

/// Writes `report.html`, `report.json`, `junit.xml`, and for each broken rule a HAR file, a Hurl file and a script. What
/// an earlier run left of the last kind goes.
///
/// # Errors
/// When something cannot be written.
pub fn write(report: &Report, out: &Path, secrets: &[String]) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let file = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, redact(text, secrets)).map_err(|error| failed(&path, error))
    };
    let pretty = |value: &serde_json::Value| {
        serde_json::to_string_pretty(value).map_err(|error| error.to_string())
    };
    let broken = out.join(BROKEN);
    match fs::remove_dir_all(&broken) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed(&broken, error));
        }
        _ => {}
    }
    for entry in &report.entries {
        let Outcome::Broken { finding } = &entry.outcome else { continue };
        fs::create_dir_all(&broken).map_err(|error| failed(&broken, error))?;
        let replay = Replay::new(finding, &report.origin);
        let named = |extension: &str| format!("{BROKEN}/{}.{extension}", entry.rule.id);
        file(&named("har"), &pretty(&har::log(entry.rule, finding))?)?;
        file(&named("hurl"), &hurl::file(entry.rule, &replay))?;
        file(&named("sh"), &curl::script(entry.rule, &replay, report.profile))?;
        executable(&out.join(named("sh")))?;
    }
    file("report.json", &pretty(&json::json(report))?)?;
    file("junit.xml", &junit::xml(report)?)?;
    file("report.html", &html::page(report))
}

fn executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::super::replay;
    use super::*;
    use crate::chapters;
    use crate::run::Entry;
    use crate::target::Profile;

    fn report() -> Report {
        let mut finding = replay::tests::finding();
        finding.got = "a key given to us: hunter2".to_owned();
        let rule = chapters::all()[0];
        let outcome = Outcome::Broken { finding: Box::new(finding) };
        let entry = Entry { rule, outcome, seed: 7, cases: 1, requests: 3, seconds: 0.5 };
        Report {
            target: "http://127.0.0.1:1/api/v1".to_owned(),
            origin: "http://127.0.0.1:1".to_owned(),
            profile: Profile::Emulator,
            run: "r".to_owned(),
            seed: 7,
            started: chrono::DateTime::UNIX_EPOCH,
            seconds: 1.0,
            requests: 3,
            interrupted: false,
            left_behind: Vec::new(),
            entries: vec![entry],
        }
    }

    #[test]
    fn no_file_holds_a_credential_and_every_file_is_well_formed() {
        let out = tempfile::tempdir().unwrap();
        write(&report(), out.path(), &["hunter2".to_owned()]).unwrap();
        let id = chapters::all()[0].id;
        let names = ["sh", "hurl", "har"].map(|kind| format!("{BROKEN}/{id}.{kind}"));
        let reports = ["report.json", "junit.xml", "report.html"].map(str::to_owned);
        for name in names.iter().chain(&reports) {
            let text = fs::read_to_string(out.path().join(name)).unwrap();
            assert!(
                !text.contains("hunter2") && !text.contains("msk_live_secret"),
                "{name}: {text}"
            );
            assert!(text.contains("MIOSA_API_KEY") || name == "junit.xml", "{name}: {text}");
            let json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert_eq!(json, *name == names[2] || *name == reports[0], "{name}");
        }
        let script = out.path().join(&names[0]);
        let checked = Command::new("bash").arg("-n").arg(&script).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }

    #[test]
    fn what_an_earlier_run_left_of_broken_rules_goes() {
        let out = tempfile::tempdir().unwrap();
        let old = out.path().join(BROKEN);
        fs::create_dir(&old).unwrap();
        fs::write(old.join("OLD-001.har"), "{}").unwrap();
        let mut report = report();
        report.entries.clear();
        write(&report, out.path(), &[]).unwrap();
        assert!(!old.exists());
    }
}
