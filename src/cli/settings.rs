//! One list of settings, four places to set them: flag, environment variable, configuration file, default.
//!
//! The flags that clap knows are the list. From a flag's long name come its environment variable (`--ping-interval` is
//! `LOOPWIRE_PING_INTERVAL`) and its key in the file (`ping-interval`), and one parser reads all of them. The file's
//! values become clap's defaults, which gives the order: flag, then environment, then file, then default.
//!
//! In the file, a key at the top counts for every command that has it; a key in a command's own table (`[echo]`,
//! `[autobahn.client]`) for that one, and before the top's.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::{env, fs};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::BoolishValueParser};
use toml::{Table, Value};

/// The prefix of every environment variable.
const PREFIX: &str = "LOOPWIRE_";

/// Flags that say something about one invocation and are no settings.
const NO_SETTING: [&str; 4] = ["config", "help", "print-config", "version"];

/// What was asked for, whichever way.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) matches: ArgMatches,
    /// The command with everything that was set outside the flags as its defaults.
    command: Command,
    from_file: Vec<String>,
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
    pub(crate) fn read(root: Command, arguments: Vec<OsString>, default: &str) -> Result<Self, SettingsError> {
        let plain = each_setting(root, &as_switch);
        let with_environment = each_setting(plain.clone(), &|arg: Arg| match environment_name(&arg) {
            // clap keeps names for as long as the program runs, and there is one of each.
            // Their values may be secrets, which a help text is not to repeat.
            Some(name) => arg.env(&*name.leak()).hide_env_values(true),
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
            return Ok(Self { matches, command: with_environment, from_file: Vec::new() });
        };
        let values = File::read(file.clone())?.values_for(&plain, &path)?;
        let command = each_setting(with_environment, &|arg: Arg| match values.get(arg.get_id().as_str()) {
            Some(texts) => arg.default_values(texts.iter().map(|text| &*text.clone().leak()).collect::<Vec<_>>()),
            None => arg,
        });
        let matches = command.clone().try_get_matches_from(&arguments)?;
        Ok(Self { matches, command, from_file: values.into_keys().collect() })
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
        lines.into_values().collect()
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
        let texts: Vec<String> = match Kind::of(arg) {
            // The environment may say `yes`.
            Kind::Switch => vec![matches.get_flag(id).to_string()],
            Kind::Number => raw.map(|text| text.to_string_lossy().into_owned()).collect(),
            Kind::Measure | Kind::Text => raw.map(|text| Value::from(&*text.to_string_lossy()).to_string()).collect(),
        };
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ if self.from_file.iter().any(|name| name == id) => "file",
            _ => "default",
        };
        if takes_many(arg) {
            format!("{key} = [{}] # {source}\n", texts.join(", "))
        } else {
            format!("{key} = {} # {source}\n", texts.concat())
        }
    }
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

    /// The values for the command at `path`, by argument id. All of the file is checked, whichever command runs.
    fn values_for(&self, root: &Command, path: &[String]) -> Result<BTreeMap<String, Vec<String>>, SettingsError> {
        let mut values = BTreeMap::new();
        self.walk(&self.table, root, "", Some(path), &mut values)?;
        Ok(values)
    }

    /// `path` is what of the command's path lies below this table, or `None` in the tables of other commands.
    fn walk(
        &self,
        table: &Table,
        command: &Command,
        prefix: &str,
        path: Option<&[String]>,
        values: &mut BTreeMap<String, Vec<String>>,
    ) -> Result<(), SettingsError> {
        for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let name = format!("{prefix}{key}");
            let arguments = settings_named(command, key);
            if arguments.is_empty() {
                return Err(self.error(&name, "no such setting; `loopwire COMMAND --help` lists them"));
            }
            let mut texts = Vec::new();
            for arg in &arguments {
                texts = self.texts(arg, &name, value)?;
            }
            if path.is_some() {
                values.extend(arguments.into_iter().map(|arg| (arg.get_id().to_string(), texts.clone())));
            }
        }
        // The commands' own tables come after the keys above them, so that they win.
        for (key, value) in table {
            let Value::Table(inner) = value else { continue };
            let name = format!("{prefix}{key}");
            let subcommand =
                command.find_subcommand(key).ok_or_else(|| self.error(&name, "no such setting or command"))?;
            let below = path.and_then(<[String]>::split_first).filter(|(first, _)| *first == key).map(|(_, rest)| rest);
            self.walk(inner, subcommand, &format!("{name}."), below, values)?;
        }
        Ok(())
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
    /// Sizes and times: a bare number counts bytes or seconds.
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
        } else if is(&[TypeId::of::<Size>(), TypeId::of::<Span>(), TypeId::of::<OrOff<Span>>()])
            || is(&[TypeId::of::<OrOff<Size>>()])
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
    let alone = Command::new("loopwire").no_binary_name(true).arg(arg.clone().required(false).global(false));
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
