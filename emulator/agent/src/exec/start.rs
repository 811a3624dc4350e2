//! From an [`Exec`] to a running process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitStatus, Stdio};

use miosa_agent::protocol::{self, Exec, Failure, FailureCode, TerminalSize};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use tokio::sync::oneshot;

use crate::exec::input::Input;
use crate::exec::output::Outputs;
use crate::machine::Machine;
use crate::raw;
use crate::stream::Stream;
use crate::user::User;

/// A command that runs.
pub struct Command {
    pub pid: i32,
    pub exited: oneshot::Receiver<ExitStatus>,
    pub outputs: Outputs,
    pub input: Input,
}

/// Starts it. Not async: between a descriptor's birth and its close-on-exec flag nothing else may start.
pub fn start(machine: &Machine, exec: &Exec) -> Result<Command, Failure> {
    if let Some(name) = exec.env.keys().find(|name| name.is_empty() || name.contains('=')) {
        let text = format!("{name:?} cannot be the name of a variable");
        return Err(Failure::new(FailureCode::InvalidRequest, text));
    }
    let user = machine.defaults.user.as_deref().map(User::find).transpose()?;
    let env = environment(machine, exec, user.as_ref());
    let mut process = program(exec, &env)?;
    process.env_clear().envs(env).current_dir(directory(machine, exec)?);
    if let Some(user) = &user {
        user.become_by(&mut process);
    }
    // The first process of a machine takes the others with it anyway.
    raw::lead_session(&mut process, exec.tty.is_some(), machine.files, machine.group_only);
    let terminal = match exec.tty {
        Some(size) => Some(attach_terminal(&mut process, size).map_err(|e| failed(exec, &e))?),
        None => None,
    };
    if terminal.is_none() {
        let input = if exec.stdin { Stdio::piped() } else { Stdio::null() };
        process.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let (mut child, exited) = machine.reaper.spawn(&mut process).map_err(|e| failed(exec, &e))?;
    let pid = child.id() as i32;
    // The other ends of the terminal.
    drop(process);
    let streams = match terminal {
        Some(master) => Streams::of_terminal(master),
        None => Streams::of_pipes(&mut child),
    };
    match streams {
        Ok(Streams { input, outputs }) => Ok(Command { pid, exited, outputs, input }),
        Err(error) => {
            machine.reaper.while_running(pid, || crate::family::kill_session(pid));
            Err(failed(exec, &error))
        }
    }
}

fn failed(exec: &Exec, error: &io::Error) -> Failure {
    let what = match &exec.command {
        protocol::Command::Shell(_) => "the shell",
        protocol::Command::Argv(argv) => argv.first().map_or("", String::as_str),
    };
    let code = match error.kind() {
        io::ErrorKind::NotFound => FailureCode::NotFound,
        io::ErrorKind::PermissionDenied => FailureCode::ForbiddenPath,
        io::ErrorKind::InvalidInput => FailureCode::InvalidRequest,
        _ if error.raw_os_error() == Some(Errno::E2BIG as i32) => FailureCode::InvalidRequest,
        _ => FailureCode::Io,
    };
    Failure::new(code, format!("{what} cannot be started: {error}"))
}

fn environment(machine: &Machine, exec: &Exec, user: Option<&User>) -> Vec<(OsString, OsString)> {
    let mut env = machine.variables();
    for (name, value) in user.map(User::variables).unwrap_or_default() {
        env.retain(|(known, _)| known != name);
        env.push((name.into(), value));
    }
    if exec.tty.is_some() {
        env.retain(|(name, _)| name != "TERM");
        env.push(("TERM".into(), "xterm-256color".into()));
    }
    env.retain(|(name, _)| name.to_str().is_none_or(|name| !exec.env.contains_key(name)));
    env.extend(exec.env.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

fn program(exec: &Exec, env: &[(OsString, OsString)]) -> Result<Process, Failure> {
    match &exec.command {
        protocol::Command::Shell(line) => {
            let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
            let shell = find("bash", path).or_else(|| find("sh", path)).ok_or_else(|| {
                Failure::new(FailureCode::NotFound, "this machine has neither bash nor sh")
            })?;
            let mut process = Process::new(shell);
            process.arg("-c").arg(line);
            Ok(process)
        }
        protocol::Command::Argv(argv) => {
            let (program, arguments) = argv
                .split_first()
                .filter(|(program, _)| !program.is_empty())
                .ok_or_else(|| Failure::new(FailureCode::InvalidRequest, "the command is empty"))?;
            let mut process = Process::new(program);
            process.args(arguments);
            Ok(process)
        }
    }
}

/// Where a shell is: the usual places count even if the client's `PATH` lacks them.
fn find(shell: &str, path: Option<&OsString>) -> Option<PathBuf> {
    let usual = ["/bin", "/usr/bin", "/usr/local/bin"].into_iter().map(PathBuf::from);
    usual
        .chain(path.into_iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>()))
        .map(|directory| directory.join(shell))
        .find(|file| {
            file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
}

fn directory(machine: &Machine, exec: &Exec) -> Result<PathBuf, Failure> {
    let Some(wanted) = exec.cwd.as_ref().or(machine.defaults.workdir.as_ref()) else {
        let workspace = machine.workspace.root();
        return Ok(if workspace.is_dir() { workspace } else { Path::new("/") }.to_path_buf());
    };
    // A command may go where it likes, below /proc too: only the words are worked out here.
    let place = machine.workspace.anywhere(wanted)?;
    match std::fs::metadata(&place.real) {
        Ok(found) if found.is_dir() => Ok(place.real),
        Ok(_) => Err(place.failure(Errno::ENOTDIR)),
        Err(error) => Err(place.io(&error)),
    }
}

/// Gives the process the far end of a new terminal; the near end is the answer.
fn attach_terminal(process: &mut Process, size: TerminalSize) -> io::Result<OwnedFd> {
    let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None)?;
    for end in [&terminal.master, &terminal.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    process
        .stdin(File::from(terminal.slave.try_clone()?))
        .stdout(File::from(terminal.slave.try_clone()?))
        .stderr(File::from(terminal.slave));
    Ok(terminal.master)
}

/// The agent's ends.
struct Streams {
    input: Input,
    outputs: Outputs,
}

impl Streams {
    fn of_terminal(master: OwnedFd) -> io::Result<Self> {
        let keys = Stream::new(master.as_fd().try_clone_to_owned()?)?;
        let outputs = Outputs::new(Stream::new(master)?, None);
        Ok(Self { input: Input::Terminal(keys), outputs })
    }

    fn of_pipes(child: &mut std::process::Child) -> io::Result<Self> {
        let lost = || io::Error::other("a pipe is missing");
        let stdout = Stream::new(child.stdout.take().ok_or_else(lost)?.into())?;
        let stderr = Stream::new(child.stderr.take().ok_or_else(lost)?.into())?;
        let input = match child.stdin.take() {
            Some(stdin) => Input::Pipe(Stream::new(stdin.into())?),
            None => Input::None,
        };
        Ok(Self { input, outputs: Outputs::new(stdout, Some(stderr)) })
    }
}
