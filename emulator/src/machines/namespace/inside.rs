//! Process 1 of a machine, from its first instruction until it becomes the agent.
//!
//! It is root of its user namespace and nobody outside. It builds the machine's root beside the host's, turns
//! over into it, lets go of the host's, gives up what it needed for that, and executes the agent.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{dup2_stderr, dup2_stdin, execve, pivot_root, sethostname, setsid};

use super::plan::{AGENT_PATH, Plan};
use super::{loopback, raw};

/// Devices that every program may expect; each is the host's own node, bound.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Parts of `/proc` that speak about the whole computer, to be read only.
const READ_ONLY: [&str; 5] = ["sys", "sysrq-trigger", "irq", "bus", "fs"];
/// Files of `/proc` that tell about the whole computer what nobody inside needs.
const HIDDEN: [&str; 6] = ["kcore", "keys", "kmsg", "latency_stats", "timer_list", "sched_debug"];
/// Descriptors per process.
const OPEN_FILES: u64 = 65_536;

/// Reads the plan, carries it out, becomes the agent. Returns only with what went wrong.
pub fn become_init() -> Result<(), String> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("pdeathsig: {e}"))?;
    let mut plan = String::new();
    io::stdin().read_to_string(&mut plan).map_err(|e| format!("plan: {e}"))?;
    // A supervisor that died meanwhile leaves a torn plan, which does not parse.
    let plan: Plan = serde_json::from_str(&plan).map_err(|e| format!("plan: {e}"))?;
    dup2_stdin(io::stdout()).map_err(|e| format!("stdin: {e}"))?;

    // A session of its own: else /dev/tty would be the terminal in which the emulator was started.
    setsid().map_err(|e| format!("setsid: {e}"))?;
    umask(Mode::from_bits_truncate(0o022));
    let kinds = [
        (CloneFlags::CLONE_NEWNS, "mount"),
        (CloneFlags::CLONE_NEWNET, "network"),
        (CloneFlags::CLONE_NEWUTS, "host name"),
        (CloneFlags::CLONE_NEWIPC, "IPC"),
        (CloneFlags::CLONE_NEWCGROUP, "control group"),
    ];
    for (kind, name) in kinds {
        unshare(kind).map_err(|e| format!("making a {name} namespace: {e}"))?;
    }
    sethostname(&plan.hostname).map_err(|e| format!("host name: {e}"))?;
    loopback::up().map_err(|e| format!("loopback device: {e}"))?;

    build_root(&plan)?;
    restrict_proc()?;
    name_host(&plan.hostname);
    let errors = confine(&plan)?;
    Err(become_agent(&plan, errors))
}

/// Mounts the machine's root and turns over into it.
fn build_root(plan: &Plan) -> Result<(), String> {
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).map_err(|e| format!("making mounts private: {e}"))?;

    let root = &plan.mount_point;
    overlay(plan, "root", None, root)?;
    // Earlier processes of this machine may have put anything in the place of a mount point, a link to a
    // directory of the host for one. None of them runs now, so looking first is enough.
    for name in ["usr", "proc", "dev", "run", "sys"] {
        real_directory(&Path::new(root).join(name))?;
    }
    overlay(plan, "usr", Some("/usr"), &format!("{root}/usr"))?;

    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let special = |what: &str, target: &str, flags, options: &str| {
        mount(Some(what), &*format!("{root}/{target}"), Some(what), flags, Some(options))
            .map_err(|e| format!("mounting {what} on /{target}: {e}"))
    };
    special("proc", "proc", quiet | MsFlags::MS_NOEXEC, "")?;
    special("tmpfs", "run", quiet, "mode=755,size=64m")?;
    special("tmpfs", "dev", MsFlags::MS_NOSUID, "mode=755,size=1m")?;
    for directory in ["pts", "shm"] {
        make(&format!("{root}/dev/{directory}"), |p| fs::create_dir(p))?;
    }
    let terminals = if plan.ids.is_range() {
        "newinstance,ptmxmode=0666,mode=0620,gid=5"
    } else {
        "newinstance,ptmxmode=0666,mode=0620"
    };
    special("devpts", "dev/pts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, terminals)?;
    special("tmpfs", "dev/shm", quiet, &format!("mode=1777,size={}m", plan.shm_mb))?;
    for device in DEVICES {
        let target = format!("{root}/dev/{device}");
        make(&target, |p| File::create(p).map(drop))?;
        bind(&format!("/dev/{device}"), &target)?;
    }
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, points_to) in links {
        make(&format!("{root}/dev/{name}"), |p| std::os::unix::fs::symlink(points_to, p))?;
    }
    // Not bound from where it lies: a bound mount tells its place on the host to whoever reads the mounts.
    let home = Path::new(AGENT_PATH).parent().unwrap_or(Path::new("/")).display().to_string();
    let target = format!("{root}{home}");
    make(&target, |p| fs::create_dir(p))?;
    let options = format!("userxattr,lowerdir={}", plan.agent.join(":"));
    mount(
        Some("overlay"),
        &*target,
        Some("overlay"),
        quiet | MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )
    .map_err(|e| format!("mounting the agent: {e}"))?;

    // Both roots on one spot, then the lower one, the host's, is taken away: nothing to name the old root by.
    std::env::set_current_dir(root).map_err(|e| format!("entering the root: {e}"))?;
    pivot_root(".", ".").map_err(|e| format!("pivot_root: {e}"))?;
    umount2(".", MntFlags::MNT_DETACH)
        .map_err(|e| format!("letting go of the host's root: {e}"))?;
    std::env::set_current_dir("/").map_err(|e| format!("entering the root: {e}"))
}

/// Mounts one of the two overlays. `userxattr` marks deletions in a way that needs no rights outside.
fn overlay(plan: &Plan, part: &str, lowest: Option<&str>, target: &str) -> Result<(), String> {
    let mut layers: Vec<String> =
        plan.chain.iter().map(|layer| format!("{layer}/{part}")).collect();
    layers.push(format!("{}/{part}", plan.skeleton));
    layers.extend(lowest.map(str::to_owned));
    let options = format!(
        "userxattr,lowerdir={},upperdir={top}/upper/{part},workdir={top}/work/{part}",
        layers.join(":"),
        top = plan.top
    );
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("overlay"), target, Some("overlay"), flags, Some(options.as_str()))
        .map_err(|e| format!("mounting the overlay of {part} ({} layers): {e}", layers.len()))
}

fn make(path: &str, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), String> {
    how(Path::new(path)).map_err(|e| format!("making {path}: {e}"))
}

fn real_directory(path: &Path) -> Result<(), String> {
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        return Ok(());
    }
    let _ = fs::remove_file(path);
    fs::create_dir(path).map_err(|e| format!("making {}: {e}", path.display()))
}

fn bind(source: &str, target: &str) -> Result<(), String> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| format!("binding {source}: {e}"))
}

/// Makes a bound mount read-only. Flags that the host set on it must be repeated, they are locked.
fn read_only(target: &str) -> Result<(), String> {
    let has = statvfs(target).map_err(|e| format!("{target}: {e}"))?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    flags |= MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let repeated = [
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    for (flag, repeat) in repeated {
        if has.contains(flag) {
            flags |= repeat;
        }
    }
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .map_err(|e| format!("making {target} read-only: {e}"))
}

/// Closes `/proc` where it reaches beyond the machine.
fn restrict_proc() -> Result<(), String> {
    // No namespaces within: an own user namespace would give back every capability that is dropped below.
    fs::write("/proc/sys/user/max_user_namespaces", "0")
        .map_err(|e| format!("forbidding nested user namespaces: {e}"))?;
    // Not every kernel has it; without it only ports below 1024 need root.
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    for name in READ_ONLY {
        let path = format!("/proc/{name}");
        if Path::new(&path).exists() {
            bind(&path, &path)?;
            read_only(&path)?;
        }
    }
    for name in HIDDEN {
        let path = format!("/proc/{name}");
        if Path::new(&path).exists() {
            bind("/dev/null", &path)?;
        }
    }
    Ok(())
}

/// Writes the name where programs look it up. What the machine has made of these files is its own business, so
/// nothing here is a failure.
fn name_host(name: &str) {
    let plain = |path: &str| fs::symlink_metadata(path).is_ok_and(|m| m.is_file());
    let read = |path: &str| plain(path).then(|| fs::read_to_string(path).ok()).flatten();
    if read("/etc/hostname").is_some_and(|text| text.trim() != name) {
        let _ = fs::write("/etc/hostname", format!("{name}\n"));
    }
    let own = format!("127.0.1.1\t{name}");
    let hosts = read("/etc/hosts").filter(|text| !text.lines().any(|line| line == own));
    if let Some(hosts) = hosts {
        let others = hosts.lines().filter(|line| !line.starts_with("127.0.1.1"));
        let text = others.chain([own.as_str()]).collect::<Vec<_>>().join("\n");
        let _ = fs::write("/etc/hosts", text + "\n");
    }
}

/// Gives up what was needed so far. Returns where errors go, closed by a successful exec.
fn confine(plan: &Plan) -> Result<OwnedFd, String> {
    let limit = |resource, wanted: u64| {
        let (_, hard) = getrlimit(resource).map_err(|e| format!("limits: {e}"))?;
        let value = wanted.min(hard);
        setrlimit(resource, value, value).map_err(|e| format!("limits: {e}"))
    };
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_NOFILE, OPEN_FILES)?;
    if let Some(processes) = plan.process_limit {
        limit(Resource::RLIMIT_NPROC, processes)?;
    }
    raw::leave_session_keyring();
    raw::drop_capabilities().map_err(|e| format!("dropping capabilities: {e}"))?;
    nix::sys::prctl::set_no_new_privs().map_err(|e| format!("no_new_privs: {e}"))?;

    let errors = io::stderr().as_fd().try_clone_to_owned().map_err(|e| format!("stderr: {e}"))?;
    let null =
        File::options().write(true).open("/dev/null").map_err(|e| format!("/dev/null: {e}"))?;
    dup2_stderr(&null).map_err(|e| format!("stderr: {e}"))?;
    raw::close_others_on_exec().map_err(|e| format!("descriptors: {e}"))?;
    Ok(errors)
}

/// Executes the agent; what returns is the failure, already said where the emulator listens.
fn become_agent(plan: &Plan, errors: OwnedFd) -> String {
    let text = |s: &str| CString::new(s).map_err(|_| format!("a zero byte in {s:?}"));
    let arguments = plan.init.iter().map(|s| text(s)).collect::<Result<Vec<_>, _>>();
    let environment =
        plan.env.iter().map(|(k, v)| text(&format!("{k}={v}"))).collect::<Result<Vec<_>, _>>();
    let message = match (arguments, environment) {
        (Ok(arguments), Ok(environment)) => match arguments.first() {
            Some(program) => match execve(program, &arguments, &environment) {
                Err(e) => format!("executing {}: {e}", program.to_string_lossy()),
            },
            None => "nothing to execute".to_owned(),
        },
        (Err(message), _) | (_, Err(message)) => message,
    };
    let _ = writeln!(File::from(errors), "{message}");
    message
}
