//! Compiles `bpf/flowtop.bpf.c` to a CO-RE object and generates its Rust skeleton, which unpacks
//! it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
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
            // ALU32 and JMP32 (v5.1): fewer instructions than v2, which clang 14 takes by itself.
            "-mcpu=v3",
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
        })?;
    pack(&out)
}

/// How libbpf-cargo's skeleton names the object that it hands to libbpf.
const OBJECT: &str = "ObjectSkeletonConfigBuilder::new(&DATA)";
/// What takes its place: `src/kernel/skel.rs` frees what it unpacked.
const UNPACKED: &str = "ObjectSkeletonConfigBuilder::new(crate::kernel::skel::unpacked_object())";
/// How libbpf-cargo's skeleton begins to embed the object, as its last item: an attribute and a
/// static, indented where there is a rustfmt.
const SECTION: &str = "#[unsafe(link_section = \".bpf.objs\")]";
const EMBEDDED: &str = "static DATA: [u8; ";
/// What takes its place. It names no folder: the column of `expect`, which stands in the binary,
/// would differ with that.
const UNPACK: &str = r#"
pub fn unpack() -> Vec<u8> {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/flowtop.skel.zst"));
    zstd::bulk::decompress(packed, OBJECT_SIZE).expect("packed by build.rs")
}
}
"#;

/// Has the skeleton embed the object packed. It is an eighth so large then, and nothing is left out
/// of it: a verifier's log still shows the lines of our source.
fn pack(skeleton: &Path) -> Result<()> {
    let text = fs::read_to_string(skeleton).context("read the skeleton")?;
    let (code, embedded) = text
        .split_once(SECTION)
        .filter(|(_, embedded)| embedded.trim_start().starts_with(EMBEDDED))
        .context("this libbpf-cargo embeds the object in another way: see EMBEDDED")?;
    let object = embedded.split('"').nth(1).context("find the object")?;
    let object = fs::read(object).context("read the object")?;
    ensure!(
        code.matches(OBJECT).count() == 1,
        "this libbpf-cargo names the object in another way: see OBJECT"
    );
    let code = code.replace(OBJECT, UNPACKED);
    // In one piece, for which unpacking takes no window beside the object: 8 MiB.
    let packed = zstd::bulk::compress(&object, 19).context("pack the object")?;
    fs::write(skeleton.with_extension("zst"), packed).context("write the packed object")?;
    let size = format!("pub const OBJECT_SIZE: usize = {};", object.len());
    fs::write(skeleton, [&code, &size, UNPACK].concat()).context("write the skeleton")
}
