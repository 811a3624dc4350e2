//! What the emulator's binary does when it is started as a stage of a machine.
//!
//! `main` calls [`maybe_enter`] before anything else: a process may make a user namespace only while it has one
//! thread. The first stage becomes the machine's supervisor. It holds one end of a socket whose other end the
//! emulator holds: when that closes, for whatever reason, the machine ends. Even killing the emulator leaves
//! nothing behind, because the kernel closes sockets; and killing the supervisor ends the machine because
//! process 1 asked to die with its parent.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::plan::{AS_ROOT, INIT, LOOK, MERGE, Membership, Plan, SUBCOMMAND, SUPERVISE};
use super::usermap::UserMap;
use super::{cgroup, inside, look, raw};

/// Becomes a stage of a machine and never returns, if this process was started as one.
pub fn maybe_enter() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(SUBCOMMAND)) {
        return;
    }
    let stage = arguments.next().unwrap_or_default();
    let outcome = match stage.to_str() {
        Some(SUPERVISE) => supervise(),
        Some(INIT) => inside::become_init(),
        Some(AS_ROOT) => as_root(arguments.collect()),
        Some(LOOK) => look::serve(),
        Some(MERGE) => look::merge(arguments.collect()),
        _ => Err("started by hand: this subcommand is the emulator's own".to_owned()),
    };
    if let Err(message) = outcome {
        // The emulator reads this, or nobody does any more.
        let _ = writeln!(std::io::stderr(), "{message}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn supervise() -> Result<(), String> {
    let _ = nix::sys::prctl::set_name(c"miosa-machine");
    let control =
        std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| format!("stdin: {e}"))?;
    let mut control = BufReader::new(UnixStream::from(control));
    let plan: Plan =
        serde_json::from_str(&read_line(&mut control)?).map_err(|e| format!("plan: {e}"))?;
    std::env::set_current_dir(&plan.layers)
        .map_err(|e| format!("{}: {e}", plan.layers.display()))?;

    let groups = Groups::join(&plan.cgroup)?;
    // From here on a failure must leave no group behind.
    let ended = start(&plan, &mut control).map(|mut child| {
        groups.leave();
        let ended = watch(&mut child, control.get_ref(), &groups);
        let _ = writeln!(control.get_ref(), "X");
        ended
    });
    if ended.is_err() {
        groups.leave();
    }
    for dir in &plan.cgroup.dirs {
        // Refused where the host's rights are needed; then the emulator does it, now or at its next start.
        let _ = cgroup::remove(dir);
    }
    ended?
}

/// Makes the namespaces and starts process 1 in them.
fn start(plan: &Plan, control: &mut BufReader<UnixStream>) -> Result<Child, String> {
    if plan.ids.is_range() {
        // Root's groups would follow into the machine and open the host's files to it.
        nix::unistd::setgroups(&[]).map_err(|e| format!("dropping groups: {e}"))?;
    }
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| format!("making a user namespace: {e}"))?;
    if plan.ids.is_range() {
        say(control, "U")?;
        read_line(control)?;
    } else {
        plan.ids.write(Path::new("/proc/self")).map_err(|e| format!("mapping the user: {e}"))?;
    }
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| format!("making a pid namespace: {e}"))?;

    let mut command = Command::new("/proc/self/exe");
    command.args([SUBCOMMAND, INIT]).env_clear().stdin(Stdio::piped());
    if plan.ids.is_range() {
        // The switch must come between fork and exec: only an exec by root of the namespace keeps its
        // capabilities, while this process stays the owner of the control groups.
        command.gid(0).uid(0);
    }
    let mut child = command.spawn().map_err(|e| {
        format!("starting process 1: {e} (the emulator's program must be executable by every user)")
    })?;
    let mut pipe = child.stdin.take().ok_or("process 1 has no stdin")?;
    let sent = serde_json::to_vec(plan)
        .map_err(|e| e.to_string())
        .and_then(|bytes| pipe.write_all(&bytes).map_err(|e| format!("handing the plan on: {e}")));
    drop(pipe);
    let told = sent.and_then(|()| say(control, &format!("P {}", child.id())));
    if told.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    told?;
    // The emulator waits for the end of stderr as the sign that process 1 has become the agent.
    let null =
        File::options().read(true).write(true).open("/dev/null").map_err(|e| e.to_string())?;
    dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null)).map_err(|e| e.to_string())?;
    Ok(child)
}

/// Waits until process 1 ends or the emulator wants it to, or is gone.
fn watch(child: &mut Child, control: &UnixStream, groups: &Groups) -> Result<(), String> {
    let process = raw::pidfd_open(child.id()).map_err(|e| format!("pidfd: {e}"));
    if let Ok(process) = &process {
        let mut events = [
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
            PollFd::new(process.as_fd(), PollFlags::POLLIN),
        ];
        // No bound: this is the machine's life.
        while let Err(nix::errno::Errno::EINTR) = poll(&mut events, PollTimeout::NONE) {}
    }
    let _ = child.kill();
    // A frozen process does not die before it is thawed.
    groups.thaw();
    child.wait().map_err(|e| format!("waiting for process 1: {e}"))?;
    process.map(drop)
}

/// The control groups, opened while this process still had the host's rights.
struct Groups {
    leave: Vec<File>,
    thaw: Option<(File, String)>,
}

impl Groups {
    fn join(membership: &Membership) -> Result<Self, String> {
        let open = |path: &Path| {
            OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(|e| format!("{}: {e}", path.display()))
        };
        let leave = membership.leave.iter().map(|p| open(p)).collect::<Result<_, _>>()?;
        let thaw = match &membership.thaw {
            Some((path, word)) => Some((open(path)?, word.clone())),
            None => None,
        };
        for path in &membership.join {
            open(path)?.write_all(b"0").map_err(|e| format!("joining {}: {e}", path.display()))?;
        }
        Ok(Self { leave, thaw })
    }

    fn leave(&self) {
        for mut file in &self.leave {
            let _ = file.write_all(b"0");
        }
    }

    fn thaw(&self) {
        if let Some((mut file, word)) = self.thaw.as_ref().map(|(f, w)| (f, w)) {
            let _ = file.write_all(word.as_bytes());
        }
    }
}

/// Runs a program as root of a user namespace that only maps the caller: the files of a machine of an ordinary
/// user are its own, but some it could not read or remove without being root over them.
fn as_root(command: Vec<OsString>) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let map = UserMap::Single {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    };
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| format!("making a user namespace: {e}"))?;
    map.write(Path::new("/proc/self")).map_err(|e| format!("mapping the user: {e}"))?;
    Err(format!("{}: {}", program.display(), Command::new(program).args(arguments).exec()))
}

fn say(control: &BufReader<UnixStream>, line: &str) -> Result<(), String> {
    writeln!(control.get_ref(), "{line}").map_err(|e| format!("the emulator is gone: {e}"))
}

/// A line from the emulator; its end of file is a failure.
fn read_line(control: &mut BufReader<UnixStream>) -> Result<String, String> {
    const LONGEST: u64 = 4 << 20;
    let mut line = String::new();
    control.take(LONGEST).read_line(&mut line).map_err(|e| format!("control: {e}"))?;
    if line.ends_with('\n') { Ok(line) } else { Err("the emulator is gone".to_owned()) }
}
