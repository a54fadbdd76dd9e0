//! `fw_setenv`: one of the two names of one program, see [`tandem_uboot_env::command`].
//!
//! Boot scripts call it again and again, so it asks little of the kernel: it begins where a program in C does, without
//! what Rust does before its own `main` (a guard for the stack, handlers for its overflow), and takes its memory from
//! one piece that it has from the beginning. Each of the two is a third of all system calls.

#![no_main]
#![expect(
    unsafe_code,
    reason = "the C library calls `main` with pointers, and memory is handed out as pointers"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use tandem_uboot_env::command;

/// What the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    if let Err(err) = command::prepare() {
        return err.raw_os_error().unwrap_or(1);
    }
    let count = usize::try_from(count).unwrap_or(0);
    let arguments = (0..count).map(|number| -> OsString {
        // SAFETY: there are `count` pointers, each to a text that ends with a zero and stays as it is.
        let text = unsafe { CStr::from_ptr(*arguments.add(number)) };
        OsStr::from_bytes(text.to_bytes()).to_owned()
    });
    command::main(arguments).into()
}

#[global_allocator]
static MEMORY: Memory = Memory {
    piece: UnsafeCell::new([0; SIZE]),
    used: AtomicUsize::new(0),
};

/// Bytes. A dozen environments of the usual sizes; pages that are never touched cost nothing.
const SIZE: usize = 512 << 10;

/// Hands out one piece of memory, never takes any of it back, and passes on to the system what it has no room for.
struct Memory {
    piece: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: each byte of the piece is handed out once.
unsafe impl Sync for Memory {}

// SAFETY: what is handed out lies in the piece, is aligned, and overlaps nothing that was handed out before; what is
// not from the piece is from the system and goes back to it.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let piece = self.piece.get().cast::<u8>();
        let begin = |used: usize| {
            let begin = piece.wrapping_add(used);
            used.checked_add(begin.align_offset(layout.align()))
        };
        let end = |used| {
            begin(used)?
                .checked_add(layout.size())
                .filter(|end| *end <= SIZE)
        };
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, end)
        {
            Ok(used) => piece.wrapping_add(begin(used).unwrap_or(used)),
            // SAFETY: as the caller promises.
            Err(_) => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let piece = self.piece.get().cast::<u8>();
        if !(piece..piece.wrapping_add(SIZE)).contains(&memory) {
            // SAFETY: it came from there, and as the caller promises.
            unsafe { System.dealloc(memory, layout) }
        }
    }
}
