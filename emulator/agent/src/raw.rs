//! The few system calls that no safe wrapper offers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};

use miosa_agent::protocol::TerminalSize;
use nix::libc;
use tokio::io::unix::AsyncFd;

/// Reaps one ended child, whichever it is. Not `nix::waitpid`: it loses a child that a real-time signal ended.
pub fn reap() -> Option<(i32, ExitStatus)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the call to write to.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, ExitStatus::from_raw(status)))
}

/// Tells a terminal its size.
pub fn set_terminal_size(terminal: &impl std::os::fd::AsFd, size: TerminalSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open while borrowed, and the call reads one `winsize`.
    let done =
        unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets `command` lead a session (and process group) of its own, with the agent's first limit of open files
/// and, if `terminal`, its standard input as the controlling terminal. `dies_with_us`: it is killed when the
/// thread that starts it ends, which is the agent's only one that does.
pub fn lead_session(command: &mut Command, terminal: bool, files: (u64, u64), dies_with_us: bool) {
    let lead = move || {
        let limit = libc::rlimit { rlim_cur: files.0, rlim_max: files.1 };
        // SAFETY: plain system calls on values of this frame; all are async-signal-safe.
        unsafe {
            if dies_with_us {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            }
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            if libc::setsid() < 0 || (terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0) {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: `lead` allocates nothing and takes no lock, as must hold between fork and exec.
    unsafe { command.pre_exec(lead) };
}

/// Bytes of a page of memory.
pub fn page_size() -> u64 {
    // SAFETY: takes a number, gives a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Keeps descriptors that somebody left open to the agent from everything it starts.
pub fn close_the_rest_on_exec() {
    // SAFETY: takes three numbers and changes flags of descriptors, not the descriptors.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// Lets the runtime watch a descriptor.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers with the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// What Docker leaves to a container by default: chown, dac_override, fowner, fsetid, kill, setgid, setuid,
/// setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const KEPT: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;

/// Gives up every capability beyond [`KEPT`], for the agent and all that it starts; first of all
/// `SYS_PTRACE`, with which a process could reach the agent's streams. An ordinary user has none to give up.
pub fn drop_capabilities() {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Set {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    for capability in 0..64 {
        if KEPT & (1 << capability) == 0 {
            // SAFETY: takes two numbers; a capability that the kernel does not know is an error, no more.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let mut sets = [Set::default(); 2];
    // SAFETY: this version of the call reads the header and writes two sets.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) } != 0 {
        return;
    }
    for (set, kept) in sets.iter_mut().zip([KEPT as u32, (KEPT >> 32) as u32]) {
        set.effective &= kept;
        set.permitted &= kept;
        set.inheritable = 0;
    }
    // SAFETY: the call reads the header and two sets. Giving up what one has is always allowed.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
}
