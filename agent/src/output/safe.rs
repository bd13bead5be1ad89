//! Names that processes choose, made harmless for terminals: they may hold control sequences and turned-around text.

use std::{borrow::Cow, fmt::Write as _, io};

use serde_json::ser::Formatter;

/// Whether a terminal could take `c` for a command, or show the text around it in another order.
fn is_dangerous(c: char) -> bool {
    // Arabic letter mark, zero widths and marks, separators and embeddings, isolates, byte order mark.
    let turns = ['\u{61c}', '\u{feff}'].contains(&c)
        || ('\u{200b}'..='\u{200f}').contains(&c)
        || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2060}'..='\u{2069}').contains(&c);
    c.is_control() || turns
}

/// Whether no character of `text` is dangerous. Nearly all text is plain, which many bytes at a time can tell.
fn is_safe(text: &str) -> bool {
    let is_plain = |byte: u8| byte.wrapping_sub(b' ') < 0x7f - b' ';
    text.bytes().fold(true, |all, byte| all & is_plain(byte)) || !text.contains(is_dangerous)
}

/// `text` with each dangerous character written as `\u{…}`.
pub fn safe(text: &str) -> Cow<'_, str> {
    if is_safe(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_dangerous(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// JSON that says the same text with dangerous characters as `\uXXXX`.
pub struct SafeJson;

impl Formatter for SafeJson {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if is_safe(fragment) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut out = String::with_capacity(fragment.len() + 8);
        for c in fragment.chars() {
            if is_dangerous(c) {
                // All dangerous characters are in the basic multilingual plane: one unit each.
                write!(out, "\\u{:04x}", u32::from(c)).map_err(io::Error::other)?;
            } else {
                out.push(c);
            }
        }
        writer.write_all(out.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize as _;

    use super::*;

    #[test]
    fn control_and_direction_characters_are_written_out() {
        assert!(matches!(safe("nginx: wörker"), Cow::Borrowed(_)));
        assert_eq!(safe("a\u{1b}[31mb\u{9b}\u{202e}c\n"), "a\\u{1b}[31mb\\u{9b}\\u{202e}c\\u{a}");
    }

    #[test]
    fn json_keeps_the_value() {
        let text = "a\u{1b}\u{7f}\u{9b}\u{202e}\"ö";
        let mut out = Vec::new();
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut out, SafeJson)).unwrap();
        let json = String::from_utf8(out).unwrap();
        assert!(!json.contains(is_dangerous), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
