//! Looks up functions, variables and types of the running kernel in its BTF. One pass over the
//! types suffices; an index of all names, which libbpf builds when it loads, takes several times as
//! long.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::{self, File};

use anyhow::{Context, Result, bail, ensure};

use super::own_memory;
use super::requirements::BTF;

const MAGIC: u16 = 0xeb9f;

/// The names to look up, and those that the kernel has.
pub struct KernelTypes {
    requested: Vec<&'static str>,
    /// Names that the kernel has, each with the kind of its BTF type (`BTF_KIND_*`).
    found: BTreeSet<(u32, &'static str)>,
    counts_misses: bool,
}

impl KernelTypes {
    /// Looks these functions, variables and types up in the running kernel.
    ///
    /// # Errors
    /// When its BTF cannot be read.
    pub fn of_this_kernel(names: impl Iterator<Item = &'static str>) -> Result<Self> {
        let file = File::open(BTF).with_context(|| format!("read {BTF}"))?;
        // Mapped if the kernel supports that (v6.16): read() returns one page at a time, and there
        // are 1,400.
        let parsed = match own_memory::map_constant_file(&file) {
            Ok(mapped) => Self::parse(&mapped, names),
            Err(_) => {
                let bytes = fs::read(BTF).with_context(|| format!("read {BTF}"))?;
                Self::parse(&bytes, names)
            }
        };
        parsed.with_context(|| format!("parse {BTF}"))
    }

    fn parse(bytes: &[u8], names: impl Iterator<Item = &'static str>) -> Result<Self> {
        let mut requested: Vec<_> = names.collect();
        requested.sort_unstable();
        requested.dedup();
        let btf = Btf::parse(bytes)?;
        let mut found = BTreeSet::new();
        let mut counts_misses = false;
        for &at in &btf.types {
            let header = btf.header(at)?;
            if matches!(
                header.kind,
                Kind::STRUCT | Kind::TYPEDEF | Kind::FUNC | Kind::VAR
            ) {
                let name = btf.name(header.name)?;
                let position = requested.binary_search_by(|one| compare(one, name));
                let name = position.ok().and_then(|at| requested.get(at));
                found.extend(name.map(|name| (header.kind, *name)));
            }
            match header.kind {
                // The series that brought the count (dd8657894c11, v6.7) also brought `missed` of
                // kprobe links (3acf8ace6823), which is a member and so in BTF, whatever is
                // inlined.
                Kind::STRUCT if compare("bpf_link_info", btf.name(header.name)?).is_eq() => {
                    counts_misses |= btf.has_member(at, "missed")?;
                }
                _ => {}
            }
        }
        Ok(Self {
            requested,
            found,
            counts_misses,
        })
    }

    /// Whether the kernel has a function; its name must be among those passed to
    /// [`KernelTypes::of_this_kernel`].
    pub fn has_function(&self, function: &'static str) -> bool {
        self.has(Kind::FUNC, function)
    }

    pub fn has_struct(&self, name: &'static str) -> bool {
        self.has(Kind::STRUCT, name)
    }

    pub fn has_typedef(&self, name: &'static str) -> bool {
        self.has(Kind::TYPEDEF, name)
    }

    pub fn has_variable(&self, name: &'static str) -> bool {
        self.has(Kind::VAR, name)
    }

    fn has(&self, kind: u32, name: &'static str) -> bool {
        debug_assert!(self.requested.contains(&name), "{name} was not requested");
        self.found.contains(&(kind, name))
    }

    /// Whether the kernel counts the runs of tracepoint and kprobe programs that it skips.
    pub const fn counts_misses(&self) -> bool {
        self.counts_misses
    }
}

/// Kinds of types, `BTF_KIND_*` of include/uapi/linux/btf.h.
struct Kind;

impl Kind {
    const STRUCT: u32 = 4;
    const UNION: u32 = 5;
    const TYPEDEF: u32 = 8;
    const FUNC: u32 = 12;
    const VAR: u32 = 14;

    /// Returns the number of bytes after the header of a type.
    fn extra(kind: u32, len: usize) -> Result<usize> {
        Ok(match kind {
            // Pointer, forward, typedef, qualifiers, function, float, type tag.
            2 | 7..=12 | 16 | 18 => 0,
            // Integer, variable, declaration tag.
            1 | 14 | 17 => 4,
            // Array.
            3 => 12,
            // Enum, prototype.
            6 | 13 => 8 * len,
            // Struct, union, data section, enum of 64 bits.
            4 | 5 | 15 | 19 => 12 * len,
            _ => bail!("a type is of kind {kind}, which flowtop does not know"),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    name: u32,
    kind: u32,
    /// Members, values or parameters.
    len: usize,
}

/// Bytes of the format of Documentation/bpf/btf.rst.
struct Btf<'a> {
    bytes: &'a [u8],
    strings: &'a [u8],
    /// Offset of each type; the first is type number 1.
    types: Vec<usize>,
}

impl<'a> Btf<'a> {
    const HEADER: usize = 12;

    fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(
            bytes.get(..2) == Some(&MAGIC.to_ne_bytes()),
            "it does not begin as BTF does"
        );
        let begin = word(bytes, 4)? as usize;
        let types = begin + word(bytes, 8)? as usize;
        let strings = begin + word(bytes, 16)? as usize;
        let strings = bytes.get(strings..strings + word(bytes, 20)? as usize);
        let mut btf = Self {
            bytes,
            strings: strings.context("the strings are beyond its end")?,
            types: Vec::with_capacity(1 << 17),
        };
        let (mut at, end) = (types, types + word(bytes, 12)? as usize);
        while at < end {
            btf.types.push(at);
            let header = btf.header(at)?;
            at += Self::HEADER + Kind::extra(header.kind, header.len)?;
        }
        ensure!(at == end, "the last type is cut off");
        Ok(btf)
    }

    fn header(&self, at: usize) -> Result<Header> {
        let info = word(self.bytes, at + 4)?;
        Ok(Header {
            name: word(self.bytes, at)?,
            kind: info >> 24 & 31,
            len: (info & 0xffff) as usize,
        })
    }

    /// Returns a name and everything after it; the name ends with a NUL.
    fn name(&self, offset: u32) -> Result<&'a [u8]> {
        let name = self.strings.get(offset as usize..);
        name.context("a name is beyond the strings")
    }

    /// Whether the struct or union at this offset has this member, directly or in an unnamed
    /// member.
    fn has_member(&self, at: usize, name: &str) -> Result<bool> {
        for member in 0..self.header(at)?.len {
            let member = at + Self::HEADER + 12 * member;
            let its_name = self.name(word(self.bytes, member)?)?;
            if compare(name, its_name).is_eq() {
                return Ok(true);
            }
            let number = word(self.bytes, member + 4)? as usize;
            if its_name.first() == Some(&0)
                && let Some(&nested) = number.checked_sub(1).and_then(|n| self.types.get(n))
                && matches!(self.header(nested)?.kind, Kind::STRUCT | Kind::UNION)
                && self.has_member(nested, name)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_ne_bytes([a, b, c, d])),
        _ => bail!("it ends too early"),
    }
}

/// Compares a name with a NUL-terminated one.
fn compare(name: &str, ended: &[u8]) -> Ordering {
    let len = name.len().min(ended.len());
    let (begin, rest) = ended.split_at(len);
    let longer = || match rest.first() {
        Some(0) => Ordering::Equal,
        _ => Ordering::Less,
    };
    name.as_bytes().cmp(begin).then_with(longer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF of the types given as their words, with `strings`.
    fn btf(types: &[u32], strings: &str) -> Vec<u8> {
        let len = 4 * types.len() as u32;
        let header = [24, 0, len, len, strings.len() as u32];
        let words = header.iter().chain(types);
        let magic = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        let words = words.flat_map(|word| word.to_ne_bytes());
        magic
            .into_iter()
            .chain(words)
            .chain(strings.bytes())
            .collect()
    }

    fn parse(types: &[u32]) -> Result<KernelTypes> {
        let strings = "\0sends\0send\0bpf_link_info\0missed\0";
        KernelTypes::parse(&btf(types, strings), ["send", "receive"].into_iter())
    }

    const FUNC: u32 = 12 << 24;
    const STRUCT: u32 = 4 << 24;
    const UNION: u32 = 5 << 24;

    #[test]
    fn a_function_is_found_by_its_whole_name_and_as_a_function() {
        let types = parse(&[7, FUNC, 0]).unwrap();
        assert!(types.has_function("send"));
        assert!(!types.has_function("receive"));
        // "sends", and a struct of no member by the name of "send".
        let types = parse(&[1, FUNC, 0, 7, STRUCT, 0]).unwrap();
        assert!(!types.has_function("send"));
    }

    #[test]
    fn a_member_is_found_within_unnamed_ones() {
        // A pointer, a union with the member, a struct with the union, each unnamed but the last.
        let nested = |name| {
            [
                [0, 2 << 24, 0].as_slice(),
                &[0, UNION | 1, 8, 26, 1, 0],
                &[12, STRUCT | 1, 8, name, 2, 0],
            ]
            .concat()
        };
        assert!(parse(&nested(0)).unwrap().counts_misses());
        assert!(!parse(&nested(7)).unwrap().counts_misses());
        assert!(!parse(&[]).unwrap().counts_misses());
    }

    #[test]
    fn broken_types_are_errors() {
        for types in [&[7, FUNC][..], &[7, 31 << 24, 0], &[999, FUNC, 0]] {
            assert!(parse(types).is_err(), "{types:?}");
        }
        assert!(KernelTypes::parse(b"\x7fELF", [].into_iter()).is_err());
    }

    #[test]
    fn the_running_kernel_has_what_its_list_of_symbols_has() {
        let functions = ["inet_sendmsg", "inet_no_such_function"];
        let types = KernelTypes::of_this_kernel(functions.into_iter()).unwrap();
        assert!(types.has_function("inet_sendmsg"));
        assert!(!types.has_function("inet_no_such_function"));
    }
}
