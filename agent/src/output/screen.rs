//! What is known of the place that text goes to: width, colour, time zone.

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

/// Width where there is no terminal that tells one.
const DEFAULT_WIDTH: usize = 120;

/// Least width that text is laid out for.
const MIN_WIDTH: usize = 80;

/// How a piece of text is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// A heading.
    Heading,
    /// Something went wrong.
    Bad,
    /// Something is less than it could be.
    Doubtful,
    /// All is well.
    Good,
}

/// Where text goes.
#[derive(Clone, Debug)]
pub struct Screen {
    /// Whether colours may be used.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// The time zone for times of day.
    pub zone: TimeZone,
    /// How many rows a table shows at most.
    pub rows: usize,
}

impl Screen {
    /// The standard output: coloured on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb.
    pub fn of_stdout(rows: usize) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self {
            colour: terminal && !no_color && !dumb,
            width: width.unwrap_or(DEFAULT_WIDTH).max(MIN_WIDTH),
            zone: TimeZone::system(),
            rows,
        }
    }

    /// `text` in its colour.
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Heading => Style::new().bold(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Doubtful => AnsiColor::Yellow.on_default(),
            Tone::Good => AnsiColor::Green.on_default(),
        };
        if self.colour && tone != Tone::Plain { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
