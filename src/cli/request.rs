//! Turns arguments, the configuration file and the environment into one validated [`Config`]. Does
//! not access the kernel.

#[cfg(test)]
pub(super) mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::args::Args;
use super::config_file::{self, ConfigOrigin, Settings, When};
use super::environment::Environment;
use super::usage::{typed, usage_error};
use super::values::backend_of;
use super::{
    diff_args, filter_args, manual, metrics_args, recording_args, run_args, usage_args, zones_file,
};
use crate::filter::{FilterPlan, Term};
use crate::model::peer_zone::ZoneTable;
use crate::options::{
    CaptureOptions, Config, ConfigFile, Output, StreamOptions, TableOptions, TimingOptions,
};
use crate::text::sanitize::{sanitize, sanitize_lines};
use crate::view::{Column, Group, SortKey};

/// Width of a line from which on plain text is wide, in columns.
const WIDE: u16 = 140;

/// The action that a command line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Count this machine, or show recordings.
    Run(Box<Config>),
    /// Print this text, and end.
    Print(String),
    /// Check whether such a run would work.
    Doctor(Box<Config>),
}

/// Parses arguments, the program's name first.
///
/// # Errors
/// Help, version and usage errors, those of the configuration file included: print the error and
/// exit with its code, which is 0 for help and version and 2 for an error.
pub fn parse<I, T>(args: I, environment: &Environment) -> Result<Request, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if args.get(1).is_some_and(|word| word == run_args::WORD) {
        return run_args::parse(&args).map(Request::Run);
    }
    let mut args = typed(args)?;
    if args.man {
        return Ok(Request::Print(manual::page(Args::command())));
    }
    if let Some(shell) = args.completions {
        return Ok(Request::Print(manual::completions(Args::command(), shell)));
    }
    if args.no_sandbox && environment.is_lent {
        return Err(usage_error(
            ErrorKind::ArgumentConflict,
            "--no-sandbox needs a privilege of your own, and here the file of flowtop lends it \
             (capabilities, or a set-user-ID bit): leave --no-sandbox out, or run flowtop as root",
        ));
    }
    // In a recording, PIDs are those that columns show.
    let pid_namespace = environment
        .pid_namespace
        .filter(|_| !args.reads_recordings());
    let plan = filter_args::plan(&mut args, pid_namespace)?;
    let diff = diff_args::diff(&args)?;
    let usage = usage_args::usage(&args)?;
    let (record, replay) = (
        recording_args::record(&args)?,
        recording_args::replay(&args)?,
    );
    if args.explain_filter {
        let text = filter_args::explained(&plan, pid_namespace);
        return Ok(Request::Print(sanitize_lines(&text)));
    }
    metrics_args::require_output(&args)?;
    let output = match (args.json, args.csv, args.batch || !environment.terminal) {
        _ if args.quiet => Output::Quiet,
        (true, _, _) => Output::Json,
        (_, true, _) => Output::Csv,
        // A single interval is text: the live table would vanish at its end.
        _ if args.once || diff.is_some() || usage.is_some() => Output::Text,
        (_, _, true) => Output::Text,
        (_, _, false) => Output::Table,
    };
    if !args.print_config && !args.doctor && output != Output::Table {
        only_in_the_table(&args, output)?;
    }
    if output == Output::Table {
        recording_args::must_be_files(replay.as_ref())?;
    }
    let (settings, config_file) = settings(&args, environment)?;
    if args.print_config {
        return Ok(Request::Print(settings.to_string()));
    }
    let zones = zones(&args, &settings, config_file.as_ref(), &plan)?;
    refuse_unread_names(&args, &plan)?;
    let stream = stream(&args, &settings, environment);
    let shown_group = match output {
        Output::Table => table_group(&args, &settings),
        Output::Text | Output::Json | Output::Csv | Output::Quiet => stream.group,
    };
    let config = Box::new(Config {
        output,
        capture: capture(&args, plan, shown_group, zones),
        timing: timing(&args),
        listen: metrics_args::listen(&args, stream.top_n),
        stream,
        table: table(&args, settings, environment),
        record,
        publish: args.publish,
        snapshot_dir: args.snapshot_dir,
        config_file,
        replay,
        command: None,
        diff,
        usage,
        keep_privileges: args.no_sandbox,
        verbose: args.verbose > 0,
    });
    Ok(match args.doctor {
        true => Request::Doctor(config),
        false => Request::Run(config),
    })
}

fn capture(
    args: &Args,
    plan: FilterPlan,
    shown_group: Group,
    zones: Option<Arc<ZoneTable>>,
) -> CaptureOptions {
    CaptureOptions {
        backend: backend_of(&args.backend),
        by_thread: plan.needs_threads() || shown_group == Group::Thread,
        filter: plan,
        zones,
        dns_names: !args.no_dns_names,
        max_flows: args.max_flows,
        libbpf_log: args.verbose > 1,
    }
}

/// Returns the user's zones. Those of the configuration file are for this machine: recordings have
/// their own.
fn zones(
    args: &Args,
    settings: &Settings,
    config_file: Option<&ConfigFile>,
    plan: &FilterPlan,
) -> Result<Option<Arc<ZoneTable>>, clap::Error> {
    let is_recorded = !args.replay.is_empty() || !args.diff.is_empty();
    let of_file = |zones: &PathBuf| match config_file.and_then(|file| file.path.parent()) {
        Some(folder) => folder.join(zones),
        None => zones.clone(),
    };
    let (option, path) = match (&args.zones, &settings.zones) {
        (Some(path), _) => ("--zones", path.clone()),
        (None, Some(path)) if !is_recorded => ("zones in the configuration file", of_file(path)),
        _ => {
            let uses_zones = |filter: &crate::filter::Expr| {
                filter
                    .terms()
                    .iter()
                    .any(|term| matches!(term, Term::Zone(_)))
            };
            let user = match plan.filter.as_ref().is_some_and(uses_zones) {
                true => Some("the filter word zone"),
                false => (args.group == Some(Group::Zone)).then_some("-g zone"),
            };
            return match user.filter(|_| !is_recorded) {
                Some(user) => Err(usage_error(
                    ErrorKind::MissingRequiredArgument,
                    format!(
                        "{user} needs --zones FILE, a file of own zones, as in office 10.0.0.0/8 on each line"
                    ),
                )),
                None => Ok(None),
            };
        }
    };
    match zones_file::read(&path) {
        Ok(zones) => Ok(Some(Arc::new(zones))),
        Err(error) => Err(usage_error(
            ErrorKind::ValueValidation,
            format!("{option}: {error}"),
        )),
    }
}

/// Nothing has a host name if no answer is read.
fn refuse_unread_names(args: &Args, plan: &FilterPlan) -> Result<(), clap::Error> {
    let is_by_name = |term: &&Term| matches!(term, Term::HostNames(_) | Term::Domains(_));
    let user = match plan.filter.as_ref().map(crate::filter::Expr::terms) {
        Some(terms) if terms.iter().any(is_by_name) => Some("a filter by host names"),
        _ => (args.group == Some(Group::Host)).then_some("-g host"),
    };
    match user.filter(|_| args.no_dns_names) {
        Some(user) => Err(usage_error(
            ErrorKind::ArgumentConflict,
            format!("{user} needs the answers of name servers: leave --no-dns-names out"),
        )),
        None => Ok(()),
    }
}

fn timing(args: &Args) -> TimingOptions {
    TimingOptions {
        interval: args.interval.unwrap_or(TimingOptions::default().interval),
        count: args.once.then_some(1).or(args.count),
        duration: args.duration,
        exit_when: args.exit_when.clone(),
    }
}

/// Returns the grouping of the live table: that of the arguments, else of the file, else of the
/// view.
fn table_group(args: &Args, settings: &Settings) -> Group {
    match args.group {
        None if settings.group == Group::Flow => settings.view.spec().group,
        _ => settings.group,
    }
}

fn table(args: &Args, settings: Settings, environment: &Environment) -> TableOptions {
    TableOptions {
        rows: args.top_n.filter(|&most| most > 0),
        group: table_group(args, &settings),
        columns: settings.columns,
        view: settings.view,
        sort: match args.sort {
            None if settings.sort == SortKey::default() => settings.view.spec().sort,
            _ => settings.sort,
        },
        units: settings.units,
        host_names: args.host_name,
        color: match settings.color {
            When::Auto => environment.terminal && !environment.no_color,
            When::Always => true,
            When::Never => false,
        },
        ascii: match settings.ascii {
            When::Auto => !environment.draws_unicode,
            When::Always => true,
            When::Never => false,
        },
        palette: settings.palette,
        keys: settings.keys,
        prompt_file: environment.prompt_file.clone(),
    }
}

/// Returns the options of text, JSON and CSV. Programs read these too, so group and order come from
/// the arguments alone, never from the configuration file of a user.
fn stream(args: &Args, settings: &Settings, environment: &Environment) -> StreamOptions {
    StreamOptions {
        top_n: match args.top_n {
            None => StreamOptions::default().top_n,
            Some(most) => (most > 0).then_some(most),
        },
        group: args.group.unwrap_or_default(),
        sort: args.sort,
        units: settings.units,
        host_names: args.host_name,
        wide: args.wide || environment.columns.is_some_and(|columns| columns >= WIDE),
    }
}

/// Returns the settings of the configuration file, overridden by the arguments.
fn settings(
    args: &Args,
    environment: &Environment,
) -> Result<(Settings, Option<ConfigFile>), clap::Error> {
    let explicit = args.config.as_ref().map(|path| ConfigOrigin {
        path: path.clone(),
        owner: None,
        explicit: true,
    });
    let config_files = explicit.map_or_else(|| environment.config_files.clone(), |file| vec![file]);
    let (mut settings, file) = config_file::read(&config_files).map_err(|error| {
        let text = format!("{error:#}");
        usage_error(ErrorKind::InvalidValue, sanitize(&text))
    })?;
    if let Some(columns) = &args.columns {
        let mut unique: Vec<Column> = Vec::new();
        for &column in columns {
            if !unique.contains(&column) {
                unique.push(column);
            }
        }
        settings.columns = Some(unique);
    }
    settings.view = args.view.unwrap_or(settings.view);
    settings.units = args.units.unwrap_or(settings.units);
    settings.sort = args.sort.unwrap_or(settings.sort);
    settings.group = args.group.unwrap_or(settings.group);
    settings.color = args.color.unwrap_or(settings.color);
    if args.ascii {
        settings.ascii = When::Always;
    }
    Ok((settings, file))
}

/// Rejects options of the live table for text, JSON and CSV, which have columns of their own and no
/// history to sort by. Settings of the configuration file are ignored instead.
fn only_in_the_table(args: &Args, output: Output) -> Result<(), clap::Error> {
    let conflict = |text| Err(usage_error(ErrorKind::ArgumentConflict, text));
    let flag = match (&args.columns, args.view, args.sort) {
        (Some(_), _, _) => Some("--columns"),
        (None, Some(_), _) => Some("--view"),
        (None, None, Some(_)) if output == Output::Quiet => Some("--sort"),
        _ => None,
    };
    if let Some(flag) = flag {
        return conflict(match output {
            Output::Quiet => {
                format!("{flag} changes what is shown, and --quiet shows nothing: leave one out")
            }
            _ => format!(
                "{flag} is for the live table, and the output is text, JSON or CSV: leave {flag} \
                 out, or run flowtop on a terminal without --batch, --json and --csv"
            ),
        });
    }
    match args.sort.map(|sort| sort.column) {
        Some(column) if !column.is_of_one_interval() => {
            let known = Column::ALL
                .into_iter()
                .filter(|column| column.is_of_one_interval());
            let known: Vec<&str> = known.map(Column::as_str).collect();
            conflict(format!(
                "--sort {}: only the live table has this column; sort text, JSON and CSV by {}",
                column.as_str(),
                known.join(", ")
            ))
        }
        _ => Ok(()),
    }
}
