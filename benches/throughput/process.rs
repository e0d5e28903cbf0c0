//! Processes of the bench: paused, so that two that share a core are measured in turns, asked, and ended.

use crate::bed::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process of ours that can be paused, so that two that share a core are measured in turns. Ended when dropped.
pub struct Process(Child, End);

/// What a process ends by.
#[derive(PartialEq, Eq)]
pub enum End {
    Signal,
    /// Of its input, which was closed before.
    Input,
}

impl Process {
    pub fn new(child: Child, end: End) -> Self {
        Self(child, end)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
    pub fn pause(&self) -> Outcome<()> {
        Ok(kill(self.pid(), Signal::SIGSTOP)?)
    }
    pub fn go_on(&self) -> Outcome<()> {
        Ok(kill(self.pid(), Signal::SIGCONT)?)
    }

    /// CPU time of the thread of that name, in nanoseconds: the first field of its `schedstat`.
    pub fn cpu_time(&self, thread: &str) -> Outcome<u64> {
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let task = task?.path();
            if std::fs::read_to_string(task.join("comm"))?.trim() == thread {
                let stat = std::fs::read_to_string(task.join("schedstat"))?;
                return Ok(stat.split(' ').next().unwrap_or("").parse()?);
            }
        }
        Err(format!("no thread is named {thread}").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM is delivered once it goes on.
        if self.1 == End::Signal {
            let _ = kill(self.pid(), Signal::SIGTERM);
        }
        let _ = self.go_on();
        let _ = self.0.wait();
    }
}

/// A process of this bench's own, which answers a line with a line and ends with its input.
pub struct Asked {
    // In this order: the input is closed before the process is waited for.
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub process: Process,
}

impl Asked {
    /// Starts it and waits until it is ready.
    pub fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ends = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes to the process")?;
        let mut asked =
            Self { ask: ends.0, answers: BufReader::new(ends.1), process: Process::new(child, End::Input) };
        asked.line()?;
        Ok(asked)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() { Err("the process has ended early".into()) } else { Ok(line) }
    }

    /// What it answers to that line.
    pub fn tell(&mut self, what: &str) -> Outcome<String> {
        writeln!(self.ask, "{what}")?;
        self.line()
    }

    /// (CPU time of that thread of its, what it answers).
    pub fn ask(&mut self, thread: &str) -> Outcome<(u64, String)> {
        Ok((self.process.cpu_time(thread)?, self.tell("")?))
    }
}
