//! Parses the arguments, runs, and returns the exit code.

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use flowtop::cli::request;
use flowtop::cli::{Environment, Request};
use flowtop::doctor::{self, DoctorFormat};
use flowtop::kernel::tracefs;
use flowtop::options::{Config, Output};
use flowtop::resolve::containers::{self, ReaderRights};
use flowtop::sandbox::privilege::Privilege;
use flowtop::sandbox::{self, Allow};
use flowtop::text::sanitize::sanitize_lines;
use flowtop::{NotStarted, RunEnd, launch, output};

/// Exit code if `--exit-when` was met.
const CONDITION_MET: u8 = 3;
/// Exit code if the command moved bytes outside its allow-list.
const UNEXPECTED: u8 = 4;
/// Exit code if the command of `flowtop run` could not be started and counted.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    // Before flowtop opens or reads any file.
    let privilege = match Privilege::lower() {
        Ok(privilege) => privilege,
        Err(error) => return failure(&error),
    };
    let mut args = env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == tracefs::GUARD_ARG).is_some() {
        return guard(args, &privilege);
    }
    if args.next_if(|arg| arg == launch::LAUNCH_ARG).is_some() {
        return match launch::become_command(args, &privilege) {
            Err((code, error)) => {
                failure(&error);
                ExitCode::from(code)
            }
        };
    }
    if args.next_if(|arg| arg == containers::READER_ARG).is_some() {
        return name_reader(args, &privilege);
    }
    let terminal = stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let environment =
        Environment::current(terminal, privilege.caller(), privilege.is_of_the_file());
    let config = match request::parse(env::args_os(), &environment) {
        Ok(Request::Run(config)) => config,
        Ok(Request::Print(text)) => {
            // Help into a closed pipe is no error: its reader has read enough.
            let _ = stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(Request::Doctor(config)) => {
            return match examine(&config, &privilege) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => failure(&error),
            };
        }
        Err(message) => {
            // Help into a closed pipe is no error: its reader has read enough.
            let _ = match message.use_stderr() {
                // The message quotes arguments; `cli` has removed their escape sequences.
                true => {
                    let text = message.render().ansi().to_string();
                    stderr().write_all(sanitize_lines(&text).as_bytes())
                }
                false => message.print(),
            };
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2));
        }
    };
    match flowtop::run(&config, &privilege) {
        Ok(RunEnd::Done) => ExitCode::SUCCESS,
        Ok(RunEnd::ConditionMet) => ExitCode::from(CONDITION_MET),
        Ok(RunEnd::Unexpected) => ExitCode::from(UNEXPECTED),
        Ok(RunEnd::Command(code)) => ExitCode::from(code),
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = privilege.hint(&error);
            let is_not_started = error.downcast_ref::<NotStarted>().is_some();
            let code = match (failure(&error), is_not_started) {
                (_, true) => ExitCode::from(NOT_STARTED),
                (code, false) => code,
            };
            if let Some(hint) = hint {
                let _ = writeln!(stderr(), "flowtop: {hint}");
            }
            code
        }
    }
}

/// Checks whether a run with this configuration would work, and returns whether it would.
fn examine(config: &Config, privilege: &Privilege) -> anyhow::Result<bool> {
    let allow = Allow {
        names: config.stream.host_names,
        ..Allow::default()
    };
    let allow = Some(&allow).filter(|_| !config.keep_privileges);
    let format = match config.output {
        Output::Json => DoctorFormat::Json,
        _ => DoctorFormat::Text,
    };
    doctor::run(&config.capture, allow, format, privilege, &mut stdout())
}

/// Runs as the guard of flowtop's kprobe events.
fn guard(args: impl Iterator<Item = OsString>, privilege: &Privilege) -> ExitCode {
    // If the guard cannot be confined, it says so and removes the events all the same.
    let confine = || {
        let identity = privilege.identity(false);
        let confined = || sandbox::confine(&identity, &Allow::default(), &[], || Ok(()));
        drop(privilege.raise().and_then(|()| confined()));
    };
    helper_end(&tracefs::cleanup_watchdog(args, confine))
}

/// Runs as a reader of container names.
fn name_reader(args: impl Iterator<Item = OsString>, privilege: &Privilege) -> ExitCode {
    let confine = |rights: &ReaderRights| {
        privilege.raise()?;
        let identity = privilege.identity_for_files_of(rights.user, rights.group);
        let allow = Allow {
            read_only: Some(rights.folders.clone()),
            ..Allow::default()
        };
        sandbox::confine(&identity, &allow, &[], || Ok(())).map(drop)
    };
    helper_end(&containers::reader(args, confine))
}

/// Exits a process that flowtop started for itself.
fn helper_end(outcome: &anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure(error);
            ExitCode::from(2)
        }
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    let text = sanitize_lines(&format!("{error:#}"));
    let _ = writeln!(stderr(), "flowtop: {text}");
    ExitCode::FAILURE
}
