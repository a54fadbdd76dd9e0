//! What a program needs before it begins.

use std::fs::File;
use std::io::{self, stderr, stdin, stdout};
use std::os::fd::{AsFd, IntoRawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

/// Does what Rust does before `main`, for a program that begins as one in C does: nothing that is opened later gets the
/// number of a standard stream, and a reader who goes away is an error, not the end.
///
/// # Errors
/// When the kernel refuses.
pub fn prepare() -> io::Result<()> {
    let (input, output, messages) = (stdin(), stdout(), stderr());
    let streams = [input.as_fd(), output.as_fd(), messages.as_fd()];
    let mut streams = streams.map(|stream| PollFd::new(stream, PollFlags::empty()));
    poll(&mut streams, PollTimeout::ZERO)?;
    for stream in streams {
        let closed = stream
            .revents()
            .is_some_and(|is| is.contains(PollFlags::POLLNVAL));
        if closed {
            // Gets the lowest number that is free, which is this one, and keeps it.
            let _ = File::options()
                .read(true)
                .write(true)
                .open("/dev/null")?
                .into_raw_fd();
        }
    }
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGPIPE);
    signals.thread_block()?;
    Ok(())
}
