//! Settings of a configuration file, and errors about a wrong one.

use super::*;
use crate::cli::config_path;
use crate::options::{KeyCode, PaletteColor};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

fn wrong(text: &str) -> String {
    Settings::parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(Settings::parse("").unwrap(), Settings::default());
    assert_eq!(
        Settings::parse("# only this\n").unwrap(),
        Settings::default()
    );
    let empty = "[colors]\n[keys]\n";
    assert_eq!(Settings::parse(empty).unwrap(), Settings::default());
}

/// Settings that all differ from their defaults.
fn unusual() -> Settings {
    let keys = |keys: &[&str]| keys.iter().map(|key| key.parse().unwrap()).collect();
    Settings {
        columns: Some(vec![Column::Process, Column::Avg10, Column::Rate]),
        units: Units::BitsIec,
        sort: SortKey::by(Column::Process).reversed(),
        group: Group::Container,
        view: Preset::Peers,
        zones: Some("own/zones".into()),
        color: When::Never,
        ascii: When::Always,
        palette: Palette {
            rx: Some(PaletteColor::Indexed(1)),
            tx: Some(PaletteColor::Rgb(1, 2, 255)),
            trouble: Some(PaletteColor::Indexed(200)),
            selection: None,
            process: Some(PaletteColor::Indexed(7)),
        },
        keys: vec![
            Binding {
                command: "up",
                keys: keys(&["\"", "\\", "ctrl-p", "alt-f12"]),
            },
            Binding {
                command: "suspend",
                keys: Vec::new(),
            },
            Binding {
                command: "quit",
                keys: keys(&["Q", "space", "ctrl-c"]),
            },
        ],
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    for settings in [Settings::default(), unusual()] {
        let text = settings.to_string();
        assert_eq!(Settings::parse(&text).unwrap(), settings, "{text}");
    }
}

#[test]
fn every_example_in_the_written_file_is_right() {
    // A default that is commented out is valid without the comment sign.
    let text = Settings::default().to_string();
    let is_example = |line: &&str| line.starts_with("# ") && line.contains(" = ");
    let examples = text.lines().filter(is_example).count();
    // The file of zones is one more.
    assert_eq!(examples, 1 + PAINTED.len() + COMMANDS.len());
    let all: Vec<&str> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|_| is_example(&line))
                .unwrap_or(line)
        })
        .collect();
    let settings = Settings::parse(&all.join("\n")).unwrap();
    assert_eq!(settings.zones.as_deref(), Some("zones".as_ref()));
    assert_eq!(settings.palette.rx, Some(PaletteColor::Indexed(6)));
    assert_eq!(settings.keys.len(), COMMANDS.len());
    for (binding, command) in settings.keys.iter().zip(COMMANDS) {
        assert_eq!(binding.command, command.name);
        assert_eq!(binding.keys.len(), command.keys.len());
    }
}

#[test]
fn a_wrong_file_is_answered_with_line_key_and_fix() {
    for (text, expected) in [
        (
            "units = \"bits\"\nsrot = \"rate\"\n",
            "line 2: srot: unknown setting \"srot\": did you mean \"sort\"?",
        ),
        (
            "zzzzzz = 1",
            "line 1: zzzzzz: unknown setting \"zzzzzz\": use columns, units, view, sort, group, zones, color, \
             ascii, colors, keys",
        ),
        (
            "# x\n\nunits = 8\n",
            "line 3: units: the value is an integer: write a string in quotes",
        ),
        (
            "units = \"Bits\"",
            "line 1: units: unknown unit \"Bits\": did you mean \"bits\"?",
        ),
        (
            "columns = \"all\"",
            "line 1: columns: the value is a string: write a list as in [\"rate\", \"process\"], or \
             \"auto\"",
        ),
        ("columns = []", "line 1: columns: the list is empty"),
        (
            "columns = [\n  \"rate\",\n  \"prozess\",\n]",
            "line 3: columns: unknown column \"prozess\": did you mean \"process\"?",
        ),
        (
            "columns = [\"rate\", \"rate\"]",
            "line 1: columns: \"rate\" is listed twice",
        ),
        ("columns = [1]", "line 1: columns: the value is an integer"),
        (
            "[colors]\nrx = \"pink\"",
            "line 2: colors.rx: unknown colour \"pink\"",
        ),
        (
            "[colors]\nrxx = \"red\"",
            "line 2: colors.rxx: unknown setting \"rxx\": did you mean \"rx\"?",
        ),
        (
            "colors = \"red\"",
            "line 1: colors: the value is a string: write a table, as in [colors]",
        ),
        (
            "[keys]\nqiut = \"q\"",
            "line 2: keys.qiut: unknown setting \"qiut\": did you mean \"quit\"?",
        ),
        (
            "[keys]\nquit = \"esc\"",
            "line 2: keys.quit: unknown key \"esc\"",
        ),
        (
            "[keys]\nup = [\"x\"]\ndown = [\"y\", \"x\"]",
            "line 3: keys.down: \"x\" is a key of \"up\" too",
        ),
        (
            "[keys]\nup = \"ctrl-C\"",
            "line 2: keys.up: \"ctrl-c\" always quits: use another key",
        ),
        ("color = true", "line 1: color: the value is a boolean"),
    ] {
        let message = wrong(text);
        assert!(message.starts_with(expected), "{text:?}: {message}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_line_and_not_repeated() {
    for (text, line) in [
        ("units = \"bits\"\nsort: rate\n", "line 2: "),
        ("\n\nroot:$6$secret:19000:0:99999:7:::\n", "line 3: "),
        ("units = \"bits\"\nunits = \"bytes\"\n", "line 2: "),
        ("columns = [\"rate\"\n", "line "),
    ] {
        let message = wrong(text);
        assert!(message.starts_with(line), "{text:?}: {message}");
        assert!(!message.contains("secret"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn one_key_needs_no_list_and_twice_is_once() {
    let settings = Settings::parse("[keys]\npause = \"f5\"\nhelp = [\"h\", \"h\"]").unwrap();
    assert_eq!(settings.keys.len(), 2);
    let pause = settings.keys.iter().find(|b| b.command == "pause").unwrap();
    assert_eq!(pause.keys[0].code, KeyCode::Function(5));
    let help = settings.keys.iter().find(|b| b.command == "help").unwrap();
    assert_eq!(help.keys.len(), 1);
}

fn paths(vars: &PathVariables) -> Vec<(String, Option<u32>)> {
    let candidates = candidate_paths(vars);
    assert!(candidates.iter().all(|candidate| !candidate.explicit));
    candidates
        .into_iter()
        .map(|candidate| (candidate.path.to_str().unwrap().to_owned(), candidate.owner))
        .collect()
}

fn set(path: &str) -> Option<OsString> {
    Some(OsString::from(path))
}

#[test]
fn the_file_is_in_the_folder_of_configurations() {
    let mut vars = PathVariables {
        home: set("/home/ada"),
        ..PathVariables::default()
    };
    let file = |path: &str, owner| (path.to_owned(), owner);
    assert_eq!(
        paths(&vars),
        [file("/home/ada/.config/flowtop/config.toml", None)]
    );
    vars.xdg_config_home = set("/cfg");
    assert_eq!(paths(&vars), [file("/cfg/flowtop/config.toml", None)]);
    vars.xdg_config_home = set("relative");
    assert_eq!(
        paths(&vars),
        [file("/home/ada/.config/flowtop/config.toml", None)]
    );
    assert_eq!(paths(&PathVariables::default()), []);
}

#[test]
fn under_sudo_it_is_the_file_of_who_called_it_before_that_of_root() {
    let vars = PathVariables {
        home: set("/root"),
        called_sudo: Some((1000, Some("/home/ada".into()))),
        ..PathVariables::default()
    };
    assert_eq!(
        paths(&vars),
        [
            (
                "/home/ada/.config/flowtop/config.toml".to_owned(),
                Some(1000)
            ),
            ("/root/.config/flowtop/config.toml".to_owned(), None),
        ]
    );
}

#[test]
fn texts_of_prompts_are_in_the_folder_for_state_of_who_called_sudo() {
    let path = |vars: &PathVariables| {
        let path = super::prompt_path(vars);
        path.map(|path| path.display().to_string())
    };
    let mut vars = PathVariables {
        home: set("/root"),
        ..PathVariables::default()
    };
    let at = |folder: &str| Some(format!("{folder}/flowtop/prompts"));
    assert_eq!(path(&vars), at("/root/.local/state"));
    vars.called_sudo = Some((1000, Some("/home/ada".into())));
    assert_eq!(path(&vars), at("/home/ada/.local/state"));
    vars.xdg_state_home = set("relative");
    assert_eq!(path(&vars), at("/home/ada/.local/state"));
    vars.xdg_state_home = set("/state");
    assert_eq!(path(&vars), at("/state"));
    assert_eq!(path(&PathVariables::default()), None);
}

/// A temporary folder, removed when the value is dropped.
struct ConfigFolder(PathBuf);

impl ConfigFolder {
    fn new(name: &str) -> Self {
        let name = format!("flowtop-settings-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> ConfigOrigin {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        origin(&path)
    }
}

impl Drop for ConfigFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(candidates: &[ConfigOrigin]) -> anyhow::Result<Settings> {
    config_path::read(candidates).map(|(settings, _)| settings)
}

#[test]
fn settings_are_saved_in_the_file_that_was_read_or_in_the_first_that_could_be() {
    let folder = ConfigFolder::new("saved");
    let missing = origin(&folder.0.join("missing.toml"));
    let bits = folder.file("a.toml", "units = \"bits\"");
    let file = |candidates: &[ConfigOrigin]| {
        let (_, file) = config_path::read(candidates).unwrap();
        file.map(|file| file.path)
    };
    assert_eq!(file(&[]), None);
    let first = Some(missing.path.clone());
    assert_eq!(file(std::slice::from_ref(&missing)), first);
    assert_eq!(file(&[missing, bits.clone()]), Some(bits.path));
}

fn origin(path: &Path) -> ConfigOrigin {
    ConfigOrigin {
        path: path.to_owned(),
        owner: None,
        explicit: false,
    }
}

#[test]
fn the_first_file_that_is_there_counts() {
    let folder = ConfigFolder::new("first");
    let missing = origin(&folder.0.join("missing.toml"));
    let below_a_file = origin(&folder.0.join("a.toml/b.toml"));
    let bits = folder.file("a.toml", "units = \"bits\"");
    let iec = folder.file("b.toml", "units = \"bytes-iec\"");
    assert_eq!(read(&[]).unwrap(), Settings::default());
    let none = read(std::slice::from_ref(&missing)).unwrap();
    assert_eq!(none, Settings::default());
    let found = read(&[missing, below_a_file, bits, iec]).unwrap();
    assert_eq!(found.units, Units::Bits);
}

#[test]
fn a_file_that_is_wrong_is_named_and_no_other_is_taken() {
    let folder = ConfigFolder::new("wrong");
    let wrong = folder.file("wrong.toml", "\nunit = \"bits\"");
    let right = folder.file("right.toml", "");
    let message = format!("{:#}", read(&[wrong.clone(), right]).unwrap_err());
    assert_eq!(
        message,
        format!(
            "{}: line 2: unit: unknown setting \"unit\": did you mean \"units\"?",
            wrong.path.display()
        )
    );
}

#[test]
fn what_was_asked_for_must_be_a_file_of_sensible_size() {
    let folder = ConfigFolder::new("explicit");
    let as_explicit = |origin: ConfigOrigin| ConfigOrigin {
        explicit: true,
        ..origin
    };
    let error = |origin: ConfigOrigin| format!("{:#}", read(&[origin]).unwrap_err());
    assert!(error(as_explicit(origin(&folder.0.join("x")))).contains("No such file"));
    assert!(error(as_explicit(origin(&folder.0))).contains("name a file"));
    let large = folder.file("large", &"#".repeat((1 << 20) + 1));
    assert!(error(large).contains("too large"));
    let binary = folder.file("binary", "");
    fs::write(&binary.path, b"\xff\xfe").unwrap();
    assert!(error(binary).contains("UTF-8"));
}

#[test]
fn a_link_to_the_file_of_another_is_not_followed_for_root() {
    let folder = ConfigFolder::new("link");
    let own = folder.file("own.toml", "units = \"bits\"");
    let uid = rustix::process::geteuid().as_raw();
    let link = folder.0.join("link.toml");
    symlink("/proc/self/status", &link).unwrap();
    let of = |path: &Path, owner| ConfigOrigin {
        owner: Some(owner),
        ..origin(path)
    };
    // A file of another user is ignored, whatever its contents.
    assert_eq!(
        read(&[of(&own.path, uid + 1)]).unwrap(),
        Settings::default()
    );
    assert_eq!(read(&[of(&link, uid + 1)]).unwrap(), Settings::default());
    assert_eq!(read(&[of(&own.path, uid)]).unwrap().units, Units::Bits);
}

#[test]
fn a_pipe_in_its_place_does_not_hang() {
    let folder = ConfigFolder::new("pipe");
    let pipe = folder.0.join("config.toml");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(read(&[origin(&pipe)]).unwrap(), Settings::default());
}
