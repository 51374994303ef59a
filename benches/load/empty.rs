//! Programs that do nothing, attached where flowtop attaches its own.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use libbpf_rs::ObjectBuilder;

#[derive(clap::Args)]
pub struct Args {
    /// Object file of `benches/empty.bpf.c`
    object: PathBuf,
    /// Names of programs in the object
    #[arg(required = true)]
    programs: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let mut open = ObjectBuilder::default()
        .open_file(&args.object)
        .with_context(|| format!("open {}", args.object.display()))?;
    let wanted =
        |name: &std::ffi::OsStr| args.programs.iter().any(|program| name == program.as_str());
    for mut program in open.progs_mut() {
        let load = wanted(program.name());
        program.set_autoload(load);
    }
    let object = open.load().context("load the programs")?;
    let mut links = Vec::new();
    for program in object.progs_mut() {
        if wanted(program.name()) {
            let link = program.attach();
            links.push(link.with_context(|| format!("attach {}", program.name().display()))?);
        }
    }
    if links.len() != args.programs.len() {
        bail!("the object has not all of {:?}", args.programs);
    }
    println!("attached");
    stdout().flush()?;
    loop {
        std::thread::park();
    }
}
