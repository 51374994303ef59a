//! What the targets in `fuzz/` run: one function for each kind of bytes that others choose. Each
//! panics when what it promises does not hold. Compiled for the fuzzer, and for the tests here,
//! which run the same over the seeds and changes of them.

mod flood;
mod replay;
mod shown;

pub use self::flood::flood;
pub use self::replay::replay;
pub use self::shown::{exported, shown};
pub use crate::cli::config_file::fuzz::config;
pub use crate::filter::fuzz::filter;
pub use crate::kernel::fuzz::decode;
pub use crate::kernel::tracefs::fuzz::kprobe_events;
pub use crate::output::metrics::fuzz::request;
pub use crate::resolve::containers::fuzz::files as container_names;
pub use crate::resolve::fuzz_names::{answer, dns_answer, hosts, resolv, services};
pub use crate::resolve::fuzz_owners::{cgroup, proc, users};
pub use crate::tui::fuzz::keyboard;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::testing::{Random, rounds};

    type Target = fn(&[u8]);

    const TARGETS: &[(&str, Target)] = &[
        ("answer", answer),
        ("cgroup", cgroup),
        ("config", config),
        ("container_names", container_names),
        ("decode", decode),
        ("dns_answer", dns_answer),
        ("exported", exported),
        ("filter", filter),
        ("flood", |bytes| {
            flood(bytes);
        }),
        ("hosts", hosts),
        ("keyboard", keyboard),
        ("kprobe_events", kprobe_events),
        ("proc", proc),
        ("replay", replay),
        ("request", request),
        ("resolv", resolv),
        ("services", services),
        ("shown", shown),
        ("users", users),
    ];
    /// Changes of every seed that are tried.
    const CHANGES: u32 = 30;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(target);
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// Some bytes of it changed, left out, doubled, or taken from another.
    fn change(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64 + 1) as usize;
            let length = random.below(1 + (bytes.len() - at).min(24) as u64) as usize;
            match random.below(4) {
                0 => bytes[at..at + length].fill(random.next() as u8),
                1 => drop(bytes.drain(at..at + length)),
                2 => {
                    let part = bytes[at..at + length].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let from = random.below(other.len() as u64 + 1) as usize;
                    bytes.splice(at..at, other[from..].iter().copied().take(40));
                }
            }
        }
        bytes
    }

    #[test]
    fn every_target_holds_what_it_promises_of_its_seeds_and_changes_of_them() {
        let mut random = Random(6);
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in &seeds {
                target(seed);
                for _ in 0..rounds(CHANGES) {
                    let other = &seeds[random.below(seeds.len() as u64) as usize];
                    let changed = change(seed, other, &mut random);
                    let held = std::panic::catch_unwind(|| target(&changed));
                    assert!(
                        held.is_ok(),
                        "{name} on {:?}",
                        String::from_utf8_lossy(&changed)
                    );
                }
            }
        }
    }

    #[test]
    fn every_target_is_built_for_the_fuzzer() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let source = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(
                source.contains(&format!("flowtop::fuzz::{name}(bytes)")),
                "{name}"
            );
        }
    }
}
