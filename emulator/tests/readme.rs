//! The README says nothing that is not so: proofs that exist, flags that exist, subcommands and paths that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../../README.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What stands between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the README's table between two of its headings.
fn rows<'r>(from: &str, to: &str) -> Vec<&'r str> {
    let start = README.find(from).unwrap_or_else(|| panic!("no {from}")) + from.len();
    let end = start + README[start..].find(to).unwrap_or_else(|| panic!("no {to}"));
    README[start..end].lines().filter(|line| line.starts_with("| ") && line.len() > 5).collect()
}

fn sources(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("__pycache__") {
            sources(&path, extension, found);
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path);
        }
    }
}

/// The names of all tests: functions of Rust that are marked as one, and `def test_…` of Python.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut files = Vec::new();
    sources(&root().join("emulator"), "rs", &mut files);
    sources(&root().join("contract-tests"), "rs", &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if !line.starts_with("#[") && !line.starts_with("//") {
                let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let Some((name, _)) =
                    name.filter(|_| marked).and_then(|name| name.split_once('('))
                {
                    names.insert(name.to_owned());
                }
                marked = false;
            }
        }
    }
    let mut files = Vec::new();
    sources(&root().join("sdk-tests"), "py", &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().map(str::trim_start) {
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("def ");
            if let Some((name, _)) = name.and_then(|name| name.split_once('(')) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

fn help(subcommand: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miosa-emulator"));
    if !subcommand.is_empty() {
        command.arg(subcommand);
    }
    let output = command.arg("--help").output().unwrap();
    assert!(output.status.success(), "there is no subcommand {subcommand:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_proof_is_a_test_that_exists() {
    let known = tests();
    let rows = rows("| **proven** | |", "| **not proven** | |");
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let proofs = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = quoted(proofs).collect();
        assert!(!names.is_empty(), "no proof: {row}");
        for name in names {
            assert!(known.contains(name), "no test is called {name}: {row}");
        }
    }
}

#[test]
fn what_is_not_proven_claims_no_test() {
    let known = tests();
    for row in rows("| **not proven** | |", "\n## ") {
        for name in quoted(row) {
            assert!(!known.contains(name), "{name} is a test: {row}");
        }
    }
}

#[test]
fn every_flag_is_one_and_has_the_values_that_are_named() {
    let serve = help("serve");
    let table = rows("\n## Configuration", "\nExit codes");
    let flags: Vec<&str> =
        table.iter().flat_map(|row| quoted(row)).filter(|word| word.starts_with("--")).collect();
    assert!(flags.len() >= 8, "{flags:?}");
    for flag in flags {
        let (name, values) = flag.split_once(' ').unwrap_or((flag, ""));
        assert!(serve.contains(&format!(" {name}")), "serve has no {name}");
        for value in
            values.split("\\|").filter(|value| value.chars().all(|c| c.is_ascii_lowercase()))
        {
            assert!(serve.contains(value), "{name} has no {value}");
        }
    }
    // Those of other subcommands stand in commands.
    let all = ["serve", "doctor", "env", "reset", "prune", "health"].map(help).concat();
    for line in README.lines().filter(|line| line.contains("miosa-emulator ")) {
        for flag in line.split([' ', '`', '"']).filter(|word| word.starts_with("--")) {
            assert!(all.contains(flag), "{line}");
        }
    }
}

#[test]
fn every_subcommand_that_is_named_exists() {
    let mut named = BTreeSet::new();
    for after in README.split("miosa-emulator ").skip(1) {
        let word: String = after.chars().take_while(char::is_ascii_lowercase).collect();
        // `miosa-emulator` ends a sentence or a path elsewhere.
        if !word.is_empty() {
            named.insert(word);
        }
    }
    assert!(named.contains("serve") && named.contains("doctor"), "{named:?}");
    for subcommand in named {
        help(&subcommand);
    }
}

#[test]
fn every_control_path_that_is_named_exists() {
    let known: BTreeSet<String> =
        miosa_emulator::control::routes().iter().map(|route| route.info.path.to_owned()).collect();
    let named: Vec<&str> = README
        .split("/_emulator")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '/').next().unwrap())
        .filter(|path| path.len() > 1)
        .collect();
    assert!(named.len() >= 5, "{named:?}");
    for path in named {
        assert!(known.contains(path), "there is no /_emulator{path}");
    }
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&help(""));
    for code in
        README.split("\nExit codes: ").nth(1).unwrap().split("\n\n").next().unwrap().split(", ")
    {
        let code = words(code.trim_end_matches('.'));
        assert!(help.contains(&code), "{code:?} is not in {help}");
    }
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if !link.starts_with("http") {
            assert!(root().join(link).exists(), "{link}");
        }
    }
}
