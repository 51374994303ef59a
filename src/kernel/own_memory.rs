//! Operations on flowtop's own memory that need `unsafe`: mapping a file, and returning memory to
//! the system.

use std::ffi::c_void;
use std::fs::File;
use std::{io, ptr};

use memmap2::{Mmap, MmapOptions};

/// Maps a file of the kernel that never changes, such as the types of the running kernel. The
/// mapping is private: the kernel refuses shared mappings of its types.
///
/// # Errors
/// When the kernel cannot map it.
pub(super) fn map_constant_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes behind the mapping are the running kernel's own, and constant.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
}

/// Returns freed memory to the system. glibc would keep it, because its heap shrinks only at its
/// end.
pub(super) fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Removes flowtop's own code and constants from its page table. They stay in the page cache, and
/// code that runs again is mapped again, 16 pages at a time. Most of the code of the start never
/// runs again: parsing arguments, opening and relocating the programs.
pub(super) fn release_code() {
    // SAFETY: the callback fits, and takes no data.
    unsafe {
        libc::dl_iterate_phdr(Some(release_segments), ptr::null_mut());
    }
}

/// Releases the segments of the first object, which is the program itself, and ends the iteration.
///
/// # Safety
/// `object` points to a valid description of a loaded object.
unsafe extern "C" fn release_segments(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut c_void,
) -> libc::c_int {
    let page = rustix::param::page_size();
    // SAFETY: the caller's promise; it has as many headers as it says.
    let (base, headers) = unsafe {
        let headers = std::slice::from_raw_parts((*object).dlpi_phdr, (*object).dlpi_phnum.into());
        ((*object).dlpi_addr as usize, headers)
    };
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = base + header.p_vaddr as usize;
        let (first, end) = (start & !(page - 1), start + header.p_memsz as usize);
        // SAFETY: a private mapping of a file that was never writable, so each page is as in the
        // file, and is read from there again when it is touched.
        unsafe {
            libc::madvise(
                ptr::with_exposed_provenance_mut(first),
                end - first,
                libc::MADV_DONTNEED,
            );
        }
    }
    1
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

    #[test]
    fn code_runs_after_it_was_released() {
        release_code();
        release_free_memory();
    }
}
