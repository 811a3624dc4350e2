//! The system calls that have no safe face in `nix`. Nothing else of this crate's namespace code is `unsafe`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc;

/// Capabilities that root inside keeps: those over its own files, users and processes. Without `SYS_ADMIN` it
/// cannot mount, without `SYS_PTRACE` it cannot look into the agent, without `NET_ADMIN` not touch the network.
const KEPT: [u32; 11] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP: the agent drops more for its children
    10, // NET_BIND_SERVICE
    18, // SYS_CHROOT
    31, // SETFCAP
];
/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 capabilities.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A descriptor that becomes readable when the process ends.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers, touches no memory of ours.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })?;
    // SAFETY: the kernel just made this descriptor for us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Marks every descriptor but the three standard streams to be closed by the next exec.
pub fn close_others_on_exec() -> io::Result<()> {
    let flag = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    let (first, last): (libc::c_long, libc::c_long) = (3, libc::c_long::from(i32::MAX));
    // SAFETY: takes three integers; marking closes nothing now.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, flag) }).map(drop)
}

/// Leaves the emulator's session keyring for a fresh one: keys in it would be readable inside.
pub fn leave_session_keyring() {
    // SAFETY: integers and a null pointer, which asks for an unnamed keyring. Kernels without keys refuse.
    unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>());
    }
}

/// Gives up every capability but [`KEPT`], for this process and all that follow.
pub fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    for capability in (0..64).filter(|c| !KEPT.contains(c)) {
        // SAFETY: takes integers only.
        let result =
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
        if result < 0 {
            // The kernel knows no capability of this number, nor any above.
            break;
        }
    }
    let low = KEPT.iter().filter(|c| **c < 32).fold(0, |mask, c| mask | 1 << c);
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let sets = [
        Sets { effective: low, permitted: low, inheritable: 0 },
        Sets { effective: 0, permitted: 0, inheritable: 0 },
    ];
    // SAFETY: version 3 reads one header and two sets, laid out as the kernel declares them, alive during the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

/// The value of an extended attribute of a file itself; a link is not followed.
pub fn attribute(path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = text(path)?;
    let value = sized(|buffer, size| {
        // SAFETY: both texts end with a zero byte; the kernel writes at most `size` bytes to `buffer`.
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer.cast(), size) }
    });
    match value {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::ENOTSUP)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The names of the extended attributes of a file itself.
pub fn attribute_names(path: &Path) -> io::Result<Vec<CString>> {
    let path = text(path)?;
    let names = sized(|buffer, size| {
        // SAFETY: the path ends with a zero byte; the kernel writes at most `size` bytes to `buffer`.
        unsafe { libc::llistxattr(path.as_ptr(), buffer.cast(), size) }
    });
    let names = match names {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => return Ok(Vec::new()),
        names => names?,
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// Sets an extended attribute of a file itself.
pub fn set_attribute(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = text(path)?;
    // SAFETY: both texts end with a zero byte; the kernel reads `value.len()` bytes of `value`.
    let result = unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    checked(result.into()).map(drop)
}

/// Takes an extended attribute away.
pub fn remove_attribute(path: &Path, name: &CStr) -> io::Result<()> {
    let path = text(path)?;
    // SAFETY: both texts end with a zero byte.
    checked(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }.into()).map(drop)
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Asks for a size, then for that many bytes, until both agree.
fn sized(mut ask: impl FnMut(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
    loop {
        let size = checked(ask(std::ptr::null_mut(), 0) as libc::c_long)? as usize;
        let mut buffer = vec![0; size];
        if size == 0 {
            return Ok(buffer);
        }
        let length = ask(buffer.as_mut_ptr(), size);
        if length >= 0 {
            buffer.truncate(length as usize);
            return Ok(buffer);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) {
            return Err(error);
        }
    }
}
