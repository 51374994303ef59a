//! What of flowtop's own memory takes `unsafe`: mapping a file, and giving memory back.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Maps a file of the kernel that nobody writes, such as the types of the running kernel. Not as a shared mapping,
/// which the kernel refuses for its types.
///
/// # Errors
/// When the kernel cannot map it.
pub(super) fn map_constant_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes behind the mapping are the running kernel's own, and constant.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::requirements::BTF;

    #[test]
    fn the_types_of_the_kernel_are_mapped_where_it_can() {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse::<u32>().ok();
        let Some(version) = number().zip(number()) else {
            return;
        };
        // btf_sysfs_vmlinux_mmap() came with v6.16.
        if let (6.., 16..) | (7.., _) = version
            && let Ok(file) = File::open(BTF)
        {
            let mapped = map_constant_file(&file).unwrap();
            assert_eq!(mapped.first(), Some(&0x9f));
        }
    }
}
