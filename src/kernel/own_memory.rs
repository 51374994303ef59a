//! The uses of `unsafe` for flowtop's own memory: mapping a file, and returning freed memory to the
//! system.

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

/// Returns freed memory to the system. glibc would keep it, because its heap shrinks only at the
/// end.
pub(super) fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
