//! Builds the agent as a static program, so that the emulator carries it in itself.
//!
//! It runs in any image, hence no interpreter and no shared library; it has a profile of its own, hence a
//! second cargo in a directory of its own, shared by every profile of the emulator.
//! `MIOSA_AGENT_PREBUILT=/path` skips all that and takes a ready one.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=MIOSA_AGENT_PREBUILT");
    if let Some(ready) = env::var_os("MIOSA_AGENT_PREBUILT") {
        let ready = PathBuf::from(ready).canonicalize()?;
        println!("cargo:rerun-if-changed={}", ready.display());
        println!("cargo:rustc-env=MIOSA_AGENT_ELF={}", ready.display());
        return Ok(());
    }
    for source in ["agent/src", "agent/Cargo.toml", "../Cargo.toml", "../Cargo.lock", "build.rs"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let target = env::var("TARGET")?;
    let directory = shared_directory(Path::new(&env::var("OUT_DIR")?))?;
    let manifest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("agent/Cargo.toml");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .args(["build", "--locked", "--profile", "agent", "--bin", "miosa-agent"])
        // Without it the flags below would reach build scripts and procedural macros.
        .args(["--target", &target])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&directory);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    if !cargo.status()?.success() {
        return Err("the agent could not be built (see above)".into());
    }
    let program = directory.join(target).join("agent/miosa-agent");
    println!("cargo:rustc-env=MIOSA_AGENT_ELF={}", program.display());
    Ok(())
}

/// What the outer cargo, clippy or a coverage tool has set for the emulator and must not touch the agent.
fn is_of_the_outer_build(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR"];
    let set = ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "OUT_DIR", "TARGET"];
    let other =
        ["HOST", "PROFILE", "DEBUG", "OPT_LEVEL", "CLIPPY_ARGS", "CLIPPY_CONF_DIR", "RUSTDOC"];
    let registry = name.starts_with("CARGO_REGISTR") || name.starts_with("CARGO_HTTP_");
    (name.starts_with("CARGO") && !kept.contains(&name) && !registry)
        || name.starts_with("DEP_")
        || set.contains(&name)
        || other.contains(&name)
}

/// A directory that does not depend on the profile: beside `debug` and `release`.
fn shared_directory(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    // <target>/<profile>/build/<package>-<hash>/out
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not below a target directory")?;
    Ok(target.join("agent-build"))
}
