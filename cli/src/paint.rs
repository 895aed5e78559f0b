//! Colours of what is printed, unless `--color`, NO_COLOR or a pipe says otherwise.

use std::{
    env,
    io::{IsTerminal, stderr, stdout},
    sync::OnceLock,
};

use clap::ValueEnum;

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Whether one stream gets colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

/// `--color`, as the process was started.
static CHOSEN: OnceLock<When> = OnceLock::new();

impl Paint {
    /// Sets `--color` for the whole process; only the first call counts.
    pub(crate) fn choose(when: When) {
        let _ = CHOSEN.set(when);
    }

    pub(crate) fn of_stdout() -> Self {
        Self::of(stdout().is_terminal())
    }

    pub(crate) fn of_stderr() -> Self {
        Self::of(stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::new(CHOSEN.get().copied().unwrap_or_default(), terminal && !set("NO_COLOR") && !dumb)
    }

    /// `able`: whether the stream is a terminal that takes colours.
    pub(crate) fn new(when: When, able: bool) -> Self {
        Self(match when {
            When::Auto => able,
            When::Always => true,
            When::Never => false,
        })
    }

    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}
