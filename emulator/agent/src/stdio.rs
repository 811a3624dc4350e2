//! The agent's standard streams, moved where no child can reach them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::stream::Stream;

/// The emulator's end: what it sends and what it gets.
pub type Stdio = tokio::io::Join<Stream, Stream>;

/// Copies of standard input and output that close on exec.
pub fn take() -> io::Result<(OwnedFd, OwnedFd)> {
    // The copies lie above 2 and close on exec: the standard library promises both.
    Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?))
}

/// Points 0, 1 and 2 at nothing, so that no byte of a child or of the agent gets between the frames.
pub fn silence() -> io::Result<()> {
    // A machine without /dev/null still must not keep the streams: a path descriptor refuses both directions.
    let nothing = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .or_else(|_| open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()))?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}

/// Both as one stream. Needs a runtime.
pub fn join((input, output): (OwnedFd, OwnedFd)) -> io::Result<Stdio> {
    Ok(tokio::io::join(Stream::new(input)?, Stream::new(output)?))
}
