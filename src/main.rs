//! Parse, run, exit code.

use std::env;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use flowtop::cli::{self, Environment, Request};
use flowtop::doctor;
use flowtop::kernel::tracefs;
use flowtop::sandbox::{self, Allow};
use flowtop::{End, report};

/// What `--exit-when` says came true.
const CONDITION_MET: u8 = 3;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == tracefs::GUARD_ARG).is_some() {
        // Where it cannot be, flowtop says so; the probes are removed all the same.
        let confine = || drop(sandbox::confine(&Allow::default(), &[], || Ok(())));
        return match tracefs::guard(args, confine) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let terminal = stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let environment = Environment::current(terminal);
    let config = match cli::parse(env::args_os(), &environment) {
        Ok(Request::Run(config)) => config,
        Ok(Request::Print(text)) => {
            // As help: into a closed pipe it is read as far as someone wanted to.
            let _ = stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(Request::Doctor(config)) => {
            return match doctor::run(&config, &mut stdout()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => failure(&error),
            };
        }
        Err(message) => {
            // Help into a closed pipe is read as far as someone wanted to.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2));
        }
    };
    match flowtop::run(&config) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::ConditionMet) => ExitCode::from(CONDITION_MET),
        Err(error) if report::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(stderr(), "flowtop: {error:#}");
    ExitCode::FAILURE
}
