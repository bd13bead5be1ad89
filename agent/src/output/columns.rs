//! Aligned text: columns that are chosen and sized for the width there is.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::screen::{Screen, Tone};

/// Which way a column's text leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One column of rows of `T`.
pub struct Column<T> {
    /// Heading.
    pub title: &'static str,
    /// Least width, and the width that it grows to where there is room.
    pub width: (usize, usize),
    /// Which way its text leans.
    pub align: Align,
    /// Columns of a higher number are left out first.
    pub rank: u8,
    /// The text, given the width, and its tone. Text that is longer pushes the rest of its line to the right.
    pub cell: fn(&T, &Screen, usize) -> (String, Tone),
}

impl<T> Column<T> {
    /// Whether its text is numbers.
    pub fn is_number(&self) -> bool {
        self.align == Align::Right
    }
}

/// Columns chosen for one width.
pub struct Layout<T: 'static> {
    columns: Vec<(&'static Column<T>, usize)>,
}

impl<T> Layout<T> {
    /// Chooses from `all` what fits into `width`, by rank, and gives the room that is left to those that grow.
    pub fn new(all: &'static [Column<T>], width: usize) -> Self {
        let least = |rank: u8| all.iter().filter(|c| c.rank <= rank).map(|c| c.width.0 + 1).sum::<usize>();
        let rank = all.iter().map(|c| c.rank).filter(|&rank| rank == 0 || least(rank) <= width + 1).max().unwrap_or(0);
        let mut room = (width + 1).saturating_sub(least(rank));
        let columns = all
            .iter()
            .filter(|c| c.rank <= rank)
            .map(|column| {
                let more = room.min(column.width.1.saturating_sub(column.width.0));
                room -= more;
                (column, column.width.0 + more)
            })
            .collect();
        Self { columns }
    }

    /// Writes the headings.
    pub fn head(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        for (column, width) in &self.columns {
            push(&mut line, column.title, column.title, *width, column.align);
        }
        writeln!(out, "{}", screen.paint(line.trim_end(), Tone::Heading))
    }

    /// Writes one row.
    pub fn row(&self, row: &T, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        for (column, width) in &self.columns {
            let (text, tone) = (column.cell)(row, screen, *width);
            push(&mut line, &text, &screen.paint(&text, tone), *width, column.align);
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Appends a cell: `painted` is `text` with its colour, which takes no room.
fn push(line: &mut String, text: &str, painted: &str, width: usize, align: Align) {
    if !line.is_empty() {
        line.push(' ');
    }
    let fill = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => line.extend([painted, &fill]),
        Align::Right => line.extend([&fill, painted]),
    }
}

/// `text` cut to `width` columns, with "…" for what is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(row: &u32, _: &Screen, _: usize) -> (String, Tone) {
        (row.to_string(), Tone::Bad)
    }

    static COLUMNS: &[Column<u32>] = &[
        Column { title: "NAME", width: (6, 10), align: Align::Left, rank: 0, cell: number },
        Column { title: "N", width: (4, 4), align: Align::Right, rank: 1, cell: number },
        Column { title: "MORE", width: (20, 20), align: Align::Left, rank: 2, cell: number },
    ];

    fn text(width: usize, colour: bool) -> String {
        let screen = Screen { colour, width, zone: jiff::tz::TimeZone::UTC, rows: 9 };
        let layout = Layout::new(COLUMNS, width);
        let mut out = Vec::new();
        layout.head(&screen, &mut out).unwrap();
        layout.row(&7, &screen, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_fit_the_width() {
        assert_eq!(text(11, false), "NAME      N\n7         7\n");
        assert_eq!(text(13, false), "NAME        N\n7           7\n");
        assert_eq!(text(5, false), "NAME\n7\n");
        assert_eq!(text(40, false), "NAME          N MORE\n7             7 7\n");
        assert!(text(11, true).contains("\u{1b}[31m7\u{1b}[0m     "));
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(
            (cut("abcdef", 6), cut("abcdef", 4), cut("日本語", 4)),
            ("abcdef".into(), "abc…".into(), "日…".into())
        );
    }
}
