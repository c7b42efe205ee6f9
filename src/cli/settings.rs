//! One list of settings, four places to set them: flag, environment variable, configuration file, default.
//!
//! The flags that clap knows are the list. From a flag's long name come its environment variable (`--ping-interval` is
//! `LOOPWIRE_PING_INTERVAL`) and its key in the file (`ping-interval`), and one parser reads all of them. The file's
//! values become clap's defaults, which gives the order: flag, then environment, then file, then default.
//!
//! In the file, a key at the top counts for every command that has it; a key in a command's own table (`[echo]`,
//! `[autobahn.client]`) for that one, and before the top's. One kind of setting has no flag: tables by name, each with the
//! same keys ([`Tables`]), such as `[serve.namespaces.chat]`.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use toml::{Table, Value};

/// The prefix of every environment variable.
const PREFIX: &str = "LOOPWIRE_";

/// Flags that say something about one invocation and are no settings.
const NO_SETTING: [&str; 4] = ["config", "help", "print-config", "version"];

/// Settings that are not shown.
const SECRETS: [&str; 4] = ["api-key", "hook-header", "token", "token-hmac-secret"];

/// What was asked for, whichever way.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) matches: ArgMatches,
    /// The command with everything that was set outside the flags as its defaults.
    command: Command,
    file: Option<Values>,
    tables: Tables,
}

/// Tables of a command that the file names as it likes, each with the same keys: `[COMMAND.KEY.NAME]`, or `[KEY.NAME]` for
/// every command.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) command: &'static str,
    pub(crate) key: &'static str,
    /// The keys, as flags.
    pub(crate) keys: Command,
    /// Why a table cannot be called that.
    pub(crate) judge_name: fn(&str) -> Result<(), String>,
}

/// What a file sets for one command, by argument id; and the same for each of its tables, by name.
#[derive(Debug, Default)]
struct Values {
    settings: BTreeMap<String, Vec<String>>,
    tables: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// Why nothing was started.
#[derive(Debug)]
pub(crate) enum SettingsError {
    /// clap's own: a bad flag, or that help was asked for.
    Usage(clap::Error),
    /// A bad value or key in the environment or the file.
    Setting(String),
}

impl Settings {
    /// Reads the command line, the environment and the file that they name. Without a subcommand, `default` is run.
    pub(crate) fn read(
        root: Command,
        arguments: Vec<OsString>,
        default: &str,
        tables: Tables,
    ) -> Result<Self, SettingsError> {
        let tables = Tables { keys: each_setting(tables.keys, &as_switch), ..tables };
        let plain = each_setting(root, &as_switch);
        let with_environment = each_setting(plain.clone(), &|arg: Arg| match environment_name(&arg) {
            // Their values may be secrets, which a help text is not to repeat.
            Some(name) => arg.env(kept(&name)).hide_env_values(true),
            None => arg,
        });
        let mut arguments = arguments;
        // First without the environment, to learn which command's variables to judge, and to name the bad one. What is
        // wrong here already, or asks for help, is left to the command that knows the variables' names.
        let parsed = plain.clone().try_get_matches_from(&arguments);
        let flags_of_default = parsed.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnknownArgument)
            && arguments.iter().all(|argument| plain.find_subcommand(argument).is_none());
        if flags_of_default || parsed.as_ref().is_ok_and(|matches| matches.subcommand().is_none()) {
            arguments.insert(1, default.into());
        }
        if let Ok(matches) = plain.clone().try_get_matches_from(&arguments) {
            check_environment(&plain, &command_path(&matches))?;
        }
        let matches = with_environment.clone().try_get_matches_from(&arguments)?;
        let path = command_path(&matches);
        let Some(file) = matches.get_one::<PathBuf>("config") else {
            return Ok(Self { matches, command: with_environment, file: None, tables });
        };
        let values = File::read(file.clone())?.values_for(&plain, &path, &tables)?;
        let command = with_defaults(with_environment, &values.settings);
        let matches = command.clone().try_get_matches_from(&arguments)?;
        Ok(Self { matches, command, file: Some(values), tables })
    }

    /// Whether a file is read.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the setting with this argument id has been set, by whichever way.
    pub(crate) fn is_set(&self, id: &str) -> bool {
        let mut matches = &self.matches;
        loop {
            if matches.try_contains_id(id).is_ok() && self.source(id, matches) != "default" {
                return true;
            }
            let Some((_, inner)) = matches.subcommand() else { return false };
            matches = inner;
        }
    }

    /// The tables that the file has, by their names.
    pub(crate) fn tables(&self) -> Result<BTreeMap<String, ArgMatches>, SettingsError> {
        let tables = self.file.iter().flat_map(|file| &file.tables);
        let read = |(name, values)| {
            let command = with_defaults(self.tables.keys.clone(), values).no_binary_name(true);
            Ok((String::clone(name), command.try_get_matches_from::<_, &str>([])?))
        };
        tables.map(read).collect()
    }

    /// The keys that are not set as they are in `old`.
    pub(crate) fn changed_from(&self, old: &Self) -> Vec<String> {
        let (new, old) = (self.values(), old.values());
        let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
        keys.into_iter().filter(|key| new.get(*key) != old.get(*key)).cloned().collect()
    }

    /// All settings by their keys, secrets included.
    fn values(&self) -> BTreeMap<String, Vec<OsString>> {
        let (mut command, mut matches) = (&self.command, &self.matches);
        let mut values = BTreeMap::new();
        loop {
            for arg in command.get_arguments().filter(|arg| is_setting(arg)) {
                let raw = matches.get_raw(arg.get_id().as_str());
                let texts = raw.into_iter().flatten().map(OsString::from).collect();
                values.insert(arg.get_long().unwrap_or_default().to_owned(), texts);
            }
            let Some((name, inner)) = matches.subcommand() else { break };
            let Some(subcommand) = command.find_subcommand(name) else { break };
            (command, matches) = (subcommand, inner);
        }
        for (name, keys) in self.file.iter().flat_map(|file| &file.tables) {
            // A table without keys is one, too.
            values.insert(format!("{}.{name}", self.tables.key), Vec::new());
            let key = |id: &str| format!("{}.{name}.{}", self.tables.key, id.replace('_', "-"));
            values.extend(keys.iter().map(|(id, texts)| (key(id), texts.iter().map(OsString::from).collect())));
        }
        values
    }

    /// The settings in force as a configuration file, each with where it comes from.
    pub(crate) fn to_toml(&self) -> String {
        let (mut command, mut matches) = (&self.command, &self.matches);
        let mut lines = BTreeMap::new();
        loop {
            for arg in command.get_arguments().filter(|arg| is_setting(arg)) {
                lines.insert(arg.get_long().unwrap_or_default().to_owned(), self.line(arg, matches));
            }
            let Some((name, inner)) = matches.subcommand() else { break };
            let Some(subcommand) = command.find_subcommand(name) else { break };
            (command, matches) = (subcommand, inner);
        }
        let mut text: String = lines.into_values().collect();
        for (name, values) in self.file.iter().flat_map(|file| &file.tables) {
            let _ = write!(text, "\n[{}.{}]\n", self.tables.key, quoted(name));
            for arg in self.tables.keys.get_arguments().filter(|arg| is_setting(arg)) {
                if let (Some(key), Some(texts)) = (arg.get_long(), values.get(arg.get_id().as_str())) {
                    text += &assignment(arg, key, texts.iter().map(String::as_str), "file");
                }
            }
        }
        text
    }

    /// Variables that look like settings and are none. They are no errors, unlike keys in the file: a cluster's scheduler
    /// names variables after its services, and one of these may be called loopwire.
    pub(crate) fn unknown_variables(&self) -> Vec<String> {
        let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        names.filter(|name| name.starts_with(PREFIX) && !is_variable(&self.command, name)).collect()
    }

    fn line(&self, arg: &Arg, matches: &ArgMatches) -> String {
        let key = arg.get_long().unwrap_or_default();
        let id = arg.get_id().as_str();
        let Some(raw) = matches.get_raw(id) else { return format!("# {key} is not set\n") };
        let source = self.source(id, matches);
        if SECRETS.contains(&key) {
            return format!("# {key} is set, and not shown # {source}\n");
        }
        if Kind::of(arg) == Kind::Switch {
            // The environment may say `yes`.
            return assignment(arg, key, [&*matches.get_flag(id).to_string()], source);
        }
        let texts: Vec<_> = raw.map(|text| text.to_string_lossy()).collect();
        assignment(arg, key, texts.iter().map(|text| &**text), source)
    }

    fn source(&self, id: &str, matches: &ArgMatches) -> &'static str {
        match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ if self.file.as_ref().is_some_and(|file| file.settings.contains_key(id)) => "file",
            _ => "default",
        }
    }
}

/// A line of a configuration file.
fn assignment<'t>(arg: &Arg, key: &str, texts: impl IntoIterator<Item = &'t str>, source: &str) -> String {
    let texts = texts.into_iter().map(|text| match Kind::of(arg) {
        Kind::Switch | Kind::Number => text.to_owned(),
        Kind::Measure | Kind::Text => Value::from(text).to_string(),
    });
    let texts: Vec<String> = texts.collect();
    if takes_many(arg) {
        format!("{key} = [{}] # {source}\n", texts.join(", "))
    } else {
        format!("{key} = {} # {source}\n", texts.concat())
    }
}

/// A key of a TOML table, in quotes if it needs them.
fn quoted(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { Value::from(key).to_string() }
}

/// The command with these values as its defaults.
fn with_defaults(command: Command, values: &BTreeMap<String, Vec<String>>) -> Command {
    each_setting(command, &|arg: Arg| match values.get(arg.get_id().as_str()) {
        Some(texts) => arg.default_values(texts.iter().map(|text| kept(text)).collect::<Vec<_>>()),
        None => arg,
    })
}

/// `text` for as long as the program runs, which is how clap wants names and defaults. Each text is kept once, however
/// often a server reads its settings again.
fn kept(text: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(text) {
        return known;
    }
    let new: &'static str = text.to_owned().leak();
    all.insert(new);
    new
}

/// A configuration file, parsed.
struct File {
    path: PathBuf,
    table: Table,
}

impl File {
    fn read(path: PathBuf) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(&path)
            .map_err(|error| SettingsError::Setting(format!("cannot read {}: {error}", path.display())))?;
        let table =
            text.parse().map_err(|error| SettingsError::Setting(format!("{} is not TOML: {error}", path.display())))?;
        Ok(Self { path, table })
    }

    /// The values for the command at `path`. All of the file is checked, whichever command runs.
    fn values_for(&self, root: &Command, path: &[String], tables: &Tables) -> Result<Values, SettingsError> {
        let mut values = Values::default();
        self.walk(&self.table, root, "", Some(path), tables, &mut values)?;
        Ok(values)
    }

    /// `path` is what of the command's path lies below this table, or `None` in the tables of other commands.
    fn walk(
        &self,
        table: &Table,
        command: &Command,
        prefix: &str,
        path: Option<&[String]>,
        tables: &Tables,
        values: &mut Values,
    ) -> Result<(), SettingsError> {
        for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let set = self.setting(key, value, command, prefix)?;
            if path.is_some() {
                values.settings.extend(set);
            }
        }
        // The commands' own tables come after the keys above them, so that they win.
        for (key, value) in table {
            let Value::Table(inner) = value else { continue };
            let name = format!("{prefix}{key}");
            let has_tables = command.get_name() == tables.command || command.find_subcommand(tables.command).is_some();
            if has_tables && key == tables.key {
                self.named_tables(inner, &format!("{name}."), tables, path.is_some(), values)?;
                continue;
            }
            let subcommand =
                command.find_subcommand(key).ok_or_else(|| self.error(&name, "no such setting or command"))?;
            let below = path.and_then(<[String]>::split_first).filter(|(first, _)| *first == key).map(|(_, rest)| rest);
            self.walk(inner, subcommand, &format!("{name}."), below, tables, values)?;
        }
        Ok(())
    }

    fn named_tables(
        &self,
        table: &Table,
        prefix: &str,
        tables: &Tables,
        is_wanted: bool,
        values: &mut Values,
    ) -> Result<(), SettingsError> {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            (tables.judge_name)(name).map_err(|reason| self.error(&path, &reason))?;
            let Value::Table(inner) = value else {
                return Err(
                    self.error(&path, &format!("it is {} and should be a table", with_article(value.type_str())))
                );
            };
            let mut set = BTreeMap::new();
            for (key, value) in inner {
                set.extend(self.setting(key, value, &tables.keys, &format!("{path}."))?);
            }
            if is_wanted {
                values.tables.entry(name.clone()).or_default().extend(set);
            }
        }
        Ok(())
    }

    /// What a key sets: the texts that its flags would take, by their ids.
    fn setting(
        &self,
        key: &str,
        value: &Value,
        command: &Command,
        prefix: &str,
    ) -> Result<BTreeMap<String, Vec<String>>, SettingsError> {
        let name = format!("{prefix}{key}");
        let arguments = settings_named(command, key);
        if arguments.is_empty() {
            let dashed = key.replace('_', "-");
            return Err(match settings_named(command, &dashed).first() {
                Some(_) => self.error(&name, &format!("no such setting; it is called `{dashed}`")),
                None => self.error(&name, "no such setting; `loopwire COMMAND --help` lists them"),
            });
        }
        arguments.into_iter().map(|arg| Ok((arg.get_id().to_string(), self.texts(arg, &name, value)?))).collect()
    }

    /// The value as texts that the flag would take, judged as the flag judges them.
    fn texts(&self, arg: &Arg, name: &str, value: &Value) -> Result<Vec<String>, SettingsError> {
        let values = match value {
            Value::Array(values) if takes_many(arg) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let mut texts = Vec::new();
        for value in values {
            let text = scalar(arg, value).map_err(|expected| {
                self.error(name, &format!("it is {} and should be {expected}", with_article(value.type_str())))
            })?;
            judge(arg, &text).map_err(|reason| self.error(name, &reason))?;
            texts.push(text);
        }
        Ok(texts)
    }

    fn error(&self, key: &str, what: &str) -> SettingsError {
        SettingsError::Setting(format!("{}: key `{key}`: {what}", self.path.display()))
    }
}

/// Refuses environment variables that their settings cannot be, naming them.
fn check_environment(root: &Command, path: &[String]) -> Result<(), SettingsError> {
    let mut command = Some(root);
    let mut names = path.iter();
    while let Some(current) = command {
        for arg in current.get_arguments() {
            let Some(name) = environment_name(arg) else { continue };
            let Some(value) = env::var_os(&name) else { continue };
            judge(arg, &value.to_string_lossy())
                .map_err(|reason| SettingsError::Setting(format!("environment variable {name}: {reason}")))?;
        }
        command = names.next().and_then(|name| current.find_subcommand(name));
    }
    Ok(())
}

/// Applies `change` to every setting of a command and of the commands below it.
fn each_setting(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command
        .mut_args(|arg| if arg.is_positional() { arg } else { change(arg) })
        .mut_subcommands(|subcommand| each_setting(subcommand, change))
}

/// A switch that can also be switched off again, which a flag must be to come before a file: `--no-deflate=false`.
fn as_switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) || !is_setting(&arg) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_parser(BoolishValueParser::new())
        .value_name("BOOL")
        .default_missing_value("true")
        .default_value("false")
        .hide_possible_values(true)
}

/// The settings called `key` of a command and of those below it.
fn settings_named<'c>(command: &'c Command, key: &str) -> Vec<&'c Arg> {
    let own = command.get_arguments().filter(|arg| is_setting(arg) && arg.get_long() == Some(key));
    own.chain(command.get_subcommands().flat_map(|subcommand| settings_named(subcommand, key))).collect()
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|name| !NO_SETTING.contains(&name))
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// `LOOPWIRE_` and the flag's name. The configuration file itself may be named there too.
fn environment_name(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|name| *name == "config" || is_setting(arg))?;
    Some(format!("{PREFIX}{}", long.replace('-', "_").to_uppercase()))
}

/// Whether `name` is the variable of any setting of a command or of those below it.
fn is_variable(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| environment_name(arg).is_some_and(|known| known == name))
        || command.get_subcommands().any(|subcommand| is_variable(subcommand, name))
}

/// The names of the commands chosen, outermost first.
fn command_path(matches: &ArgMatches) -> Vec<String> {
    let mut path = Vec::new();
    let mut matches = matches;
    while let Some((name, inner)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = inner;
    }
    path
}

/// What kind of TOML value a setting is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    /// Sizes, times, and numbers that can be off: a bare number counts bytes or seconds.
    Measure,
    Text,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        use super::values::{OrOff, Size, Span};
        let parser = arg.get_value_parser().type_id();
        let is = |types: &[TypeId]| types.iter().any(|id| parser == *id);
        if is(&[TypeId::of::<bool>()]) {
            Self::Switch
        } else if is(&[TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<usize>()])
            || is(&[TypeId::of::<i32>()])
        {
            Self::Number
        } else if is(&[TypeId::of::<Size>(), TypeId::of::<Span>()])
            || is(&[TypeId::of::<OrOff<Size>>(), TypeId::of::<OrOff<Span>>(), TypeId::of::<OrOff<u32>>()])
        {
            Self::Measure
        } else {
            Self::Text
        }
    }
}

/// A TOML value as the text that a flag would have, or what it should have been.
fn scalar(arg: &Arg, value: &Value) -> Result<String, &'static str> {
    match (Kind::of(arg), value) {
        (Kind::Switch, Value::Boolean(value)) => Ok(value.to_string()),
        (Kind::Number | Kind::Measure, Value::Integer(value)) => Ok(value.to_string()),
        (Kind::Measure, Value::Float(value)) => Ok(value.to_string()),
        (Kind::Measure | Kind::Text, Value::String(value)) => Ok(value.clone()),
        (Kind::Switch, _) => Err("true or false"),
        (Kind::Number, _) => Err("a whole number"),
        (Kind::Measure, _) => Err("a number, or a string with a unit"),
        (Kind::Text, _) if takes_many(arg) => Err("a string or an array of strings"),
        (Kind::Text, _) => Err("a string"),
    }
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// Has the flag's own parser judge `text`, alone: why it will not do.
fn judge(arg: &Arg, text: &str) -> Result<(), String> {
    let long = arg.get_long().unwrap_or_default();
    // Those that it goes or does not go with are not there.
    let alone = arg
        .clone()
        .required(false)
        .global(false)
        .conflicts_with(Resettable::<Id>::Reset)
        .requires(Resettable::<Id>::Reset);
    let alone = Command::new("loopwire").no_binary_name(true).arg(alone);
    let Err(error) = alone.try_get_matches_from([format!("--{long}={text}")]) else { return Ok(()) };
    let text = error.to_string();
    let sentence = text.lines().next().unwrap_or_default();
    let mut reason = sentence.strip_prefix("error: ").unwrap_or(sentence).to_owned();
    if let Some(possible) = text.lines().find_map(|line| line.trim().strip_prefix("[possible values: ")) {
        let _ = write!(reason, ": use one of {}", possible.trim_end_matches(']'));
    }
    Err(reason)
}

impl From<clap::Error> for SettingsError {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Setting(what) => f.write_str(what),
        }
    }
}
