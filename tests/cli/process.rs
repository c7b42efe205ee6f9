//! Runs the real command, and never waits forever: what does not come within the deadline fails the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Far beyond what anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// `loopwire` with these arguments, and nothing of this process's own settings.
pub(crate) fn loopwire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopwire"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOOPWIRE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// The same with so few file descriptors.
pub(crate) fn with_descriptors(limit: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    limited
}

/// A process whose output is read as it comes.
pub(crate) struct Process {
    pid: u32,
    ended: Receiver<ExitStatus>,
    has_ended: bool,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    stdin: Option<std::process::ChildStdin>,
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child: Child = command.spawn().expect("the command starts");
        let stdin = child.stdin.take();
        let stdout = lines_of(child.stdout.take().unwrap());
        let stderr = lines_of(child.stderr.take().unwrap());
        let pid = child.id();
        let (sender, ended) = channel();
        thread::spawn(move || sender.send(child.wait().unwrap()));
        Self { pid, ended, has_ended: false, stdout, stderr, stdin }
    }

    /// The address after `listening on`, in the server's first line.
    pub(crate) fn server(arguments: &[&str]) -> (Self, String) {
        let mut server = Self::start(loopwire(arguments));
        let line = server.line();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        (server, url)
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        let line = self.stdout.recv_timeout(DEADLINE);
        let line = line.unwrap_or_else(|_| panic!("no line; standard error: {}", self.stderr_so_far()));
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// The next line of standard error that contains `part`.
    pub(crate) fn error_line(&mut self, part: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line with {part:?}"));
            let line = String::from_utf8(line).unwrap();
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn end_output(&mut self) {
        let (_, nothing) = channel();
        self.stdout = nothing;
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid.to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        self.stdin = None;
        let status = self.ended.recv_timeout(DEADLINE);
        let status = status.unwrap_or_else(|_| panic!("still running; standard error: {}", self.stderr_so_far()));
        self.has_ended = true;
        let stdout = self.stdout.iter().flatten().collect();
        Ended {
            code: status.code(),
            stdout,
            stderr: self.stderr.iter().map(|l| String::from_utf8(l).unwrap()).collect(),
        }
    }

    fn stderr_so_far(&self) -> String {
        self.stderr.try_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended && self.ended.try_recv().is_err() {
            let _ = Command::new("kill").args(["-s", "KILL", &self.pid.to_string()]).status();
        }
    }
}

/// Runs to the end with `input` as standard input.
pub(crate) fn run(command: Command, input: &[u8]) -> Ended {
    let mut process = Process::start(command);
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end without reading all, which is no failure.
    thread::spawn(move || stdin.write_all(&input));
    process.ended()
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(1..) if sender.send(line).is_ok() => {}
                _ => break,
            }
        }
    });
    receiver
}
