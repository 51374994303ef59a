//! Compiles `bpf/flowtop.bpf.c` to a CO-RE object and generates its Rust skeleton.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "bpf/flowtop.bpf.c";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-changed=vmlinux");
    let out =
        PathBuf::from(env::var_os("OUT_DIR").context("find OUT_DIR")?).join("flowtop.skel.rs");
    let here = env::var("CARGO_MANIFEST_DIR").context("find the manifest")?;
    SkeletonBuilder::new()
        .source(SOURCE)
        // The headers of libbpf are included as system headers by libbpf-cargo; ours are held to
        // the warnings.
        .clang_args([
            "-Wall",
            "-Werror",
            "-Ivmlinux",
            "-Ibpf",
            // The object names its sources, for the verifier's log: not where they were built.
            &format!("-ffile-prefix-map={here}=."),
        ])
        // The object in OUT_DIR, included as bytes: a literal of it would slow the compiler down.
        .reference_obj(true)
        .build_and_generate(&out)
        .with_context(|| {
            format!("compile {SOURCE} (needs clang: apt-get install clang, or `make deps`)")
        })
}
