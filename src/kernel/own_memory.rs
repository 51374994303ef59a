//! What of flowtop's own memory takes `unsafe`: mapping a file, and giving freed memory back.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a file of the kernel that nobody writes, such as the types of the running kernel.
///
/// # Errors
/// When the kernel cannot map it.
pub(super) fn map_constant_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes behind the mapping are the running kernel's own, and constant.
    unsafe { Mmap::map(file) }
}

/// Gives the system back what was allocated and freed. glibc keeps it otherwise, for the heap shrinks at its end only.
pub(super) fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
