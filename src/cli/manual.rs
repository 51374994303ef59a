//! The manual page and the completions for shells, made from the definitions of the arguments.

use clap::builder::PossibleValuesParser;
use clap::{Command, ValueEnum, ValueHint};
use clap_complete::aot::{Bash, Fish, Zsh};
use clap_mangen::Man;

use crate::cli::config_file::When;
use crate::filter;
use crate::text::units::Units;
use crate::view::{Column, Group, Preset};

/// The manual page without its title and its options.
const PAGE: &str = include_str!("flowtop.8");
/// Day of the page, which manual pages have in their title: that of the last change for users.
const DATE: &str = "2026-11-30";
/// The lines of [`PAGE`] that the options replace.
const OPTIONS: &str = ".SH OPTIONS\n@OPTIONS@\n";

/// Shells there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Returns the manual page in roff, for section 8.
pub(super) fn page(command: Command) -> String {
    let version = command.get_version().unwrap_or_default().to_owned();
    let mut options = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command).render_options_section(&mut options);
    let options = as_subsections(&String::from_utf8_lossy(&options));
    let (before, after) = PAGE.split_once(OPTIONS).unwrap_or((PAGE, ""));
    let title = format!(".TH FLOWTOP 8 {DATE} \"flowtop {version}\" \"System Administration\"\n");
    format!("{title}{before}{options}{after}")
}

/// Turns the sections of options after the first into subsections of it, and line breaks beside an
/// empty line, which roff skips, into the space that they are meant as.
fn as_subsections(options: &str) -> String {
    let line = |line: &str| match line.strip_prefix(".SH ") {
        Some(title) if title != "OPTIONS" => {
            let title = title.trim_matches('"').to_lowercase();
            let (first, rest) = title.split_at(1);
            format!(".SS {}{rest}\n", first.to_uppercase())
        }
        _ => format!("{line}\n"),
    };
    let options: String = options.lines().map(line).collect();
    options.replace(".br\n\n.br\n", ".sp\n")
}

/// Returns a completion script.
pub(super) fn completions(command: Command, shell: Shell) -> String {
    let mut command = with_values(command);
    let name = command.get_name().to_owned();
    let mut out = Vec::new();
    match shell {
        Shell::Bash => clap_complete::generate(Bash, &mut command, name, &mut out),
        Shell::Fish => clap_complete::generate(Fish, &mut command, name, &mut out),
        Shell::Zsh => clap_complete::generate(Zsh, &mut command, name, &mut out),
    }
    let mut script = String::from_utf8_lossy(&out).into_owned();
    if shell == Shell::Fish {
        // clap_complete leaves positional arguments to fish, which would offer files.
        let words = filter::WORDS.join(" ");
        script.push_str(&format!("complete -c flowtop -f -a \"{words}\"\n"));
    }
    with_lists(&script, shell).unwrap_or(script)
}

/// Makes a script complete the words of `--columns` after a comma too, which clap_complete does for
/// no option.
fn with_lists(script: &str, shell: Shell) -> Option<String> {
    let words = Column::ALL.map(Column::as_str).join(" ");
    let (option, usual, list) = match shell {
        // What is typed up to the last comma stays.
        Shell::Bash => (
            "--columns)\n",
            format!("compgen -W \"{words}\" -- \"${{cur}}\""),
            format!("compgen -P \"${{cur%\"${{cur##*,}}\"}}\" -W \"{words}\" -- \"${{cur##*,}}\""),
        ),
        // Without the space _arguments would add arguments of its own.
        Shell::Zsh => (
            "--columns=[",
            format!(":COLUMNS:({words})"),
            format!(":COLUMNS: _values -s , column {words}"),
        ),
        Shell::Fish => (
            "complete -c flowtop -l columns ",
            format!("-a \"{}\"", words.replace(' ', "\\t''\n") + "\\t''"),
            format!("-a \"(__fish_append , {words})\""),
        ),
    };
    let (before, after) = script.split_once(option)?;
    let (description, rest) = after.split_once(&usual)?;
    Some(format!("{before}{option}{description}{list}{rest}"))
}

/// Adds to the arguments the words that they take. Types of flowtop parse these words, because
/// their errors name what was probably meant, and clap cannot list the words of such a type.
fn with_values(command: Command) -> Command {
    let columns = Column::ALL.map(Column::as_str);
    let groups = Group::ALL.map(|group| match group {
        Group::Net(_) => "net/24",
        group => group.rows(1),
    });
    command
        .mut_arg("group", |arg| arg.value_parser(words(groups)))
        .mut_arg("view", |arg| {
            arg.value_parser(words(Preset::ALL.map(Preset::as_str)))
        })
        .mut_arg("sort", |arg| arg.value_parser(words(columns)))
        .mut_arg("columns", |arg| arg.value_parser(words(columns)))
        .mut_arg("units", |arg| {
            arg.value_parser(words(Units::ALL.map(Units::as_str)))
        })
        .mut_arg("color", |arg| {
            arg.value_parser(words(When::ALL.map(When::as_str)))
        })
        .mut_arg("filter", |arg| arg.value_parser(words(filter::WORDS)))
        .mut_arg("config", |arg| arg.value_hint(ValueHint::FilePath))
}

fn words(words: impl IntoIterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(words)
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Args;
    use crate::filter::WORDS;

    #[test]
    fn the_page_has_the_options_in_their_place() {
        assert_eq!(PAGE.matches(OPTIONS).count(), 1);
        let page = page(Args::command());
        assert!(!page.contains("@OPTIONS@"));
        let headings: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with(".SH "))
            .collect();
        let position = headings
            .iter()
            .position(|heading| *heading == ".SH OPTIONS");
        assert_eq!(position, Some(3), "{headings:?}");
    }

    #[test]
    fn the_page_explains_every_word_of_a_filter() {
        let (_, filters) = PAGE.split_once(".SH FILTERS").unwrap();
        let (filters, _) = filters.split_once(".SH OUTPUT").unwrap();
        // Heads of entries, and the words in bold after them.
        for word in WORDS {
            let mut bold = filters.lines().filter(|line| line.starts_with(".B"));
            assert!(
                bold.any(|line| line.split([' ', ',']).any(|part| part == word)),
                "{word}"
            );
        }
    }

    #[test]
    fn lists_are_completed_after_a_comma() {
        for (shell, list) in [
            (Shell::Bash, "compgen -P"),
            (Shell::Zsh, "_values -s , column process pid"),
            (Shell::Fish, "(__fish_append , process pid"),
        ] {
            let script = completions(Args::command(), shell);
            assert_eq!(script.matches(list).count(), 1, "{shell:?}: {script}");
        }
        let script = completions(Args::command(), Shell::Bash);
        let completed = |typed: &str| {
            let requested =
                format!("{script}\n_flowtop flowtop '{typed}' --columns; echo ${{COMPREPLY[@]}}");
            let requested =
                format!("COMP_WORDS=(flowtop --columns '{typed}') COMP_CWORD=2\n{requested}");
            let output = Process::new("bash")
                .args(["-c", &requested])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(completed("pi"), "pid");
        assert_eq!(completed("rate,pi"), "rate,pid");
        assert_eq!(
            completed("rate,rx,p"),
            "rate,rx,process rate,rx,pid rate,rx,peak rate,rx,proto rate,rx,packets"
        );
        assert_eq!(completed("rate,x"), "");
    }

    #[test]
    fn completions_know_the_words_of_every_choice() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = completions(Args::command(), shell);
            let choices = Column::ALL
                .map(|column| column.as_str().to_owned())
                .into_iter();
            let choices = choices
                .chain(Units::ALL.map(|units| units.as_str().to_owned()))
                .chain(Group::ALL.map(|group| group.to_string()))
                .chain(WORDS.map(str::to_owned));
            for choice in choices {
                assert!(script.contains(&choice), "{shell:?}: {choice}");
            }
        }
    }
}
