//! Rust code without what is not code: comments, and where wanted the contents of strings. Lines stay where they are.

/// `text` with comments blanked.
pub fn without_comments(text: &str) -> String {
    blank(text, false)
}

/// `text` with comments and the contents of strings blanked.
pub fn bare(text: &str) -> String {
    blank(text, true)
}

/// Only the comments and strings of `text`: its words, the rest blanked.
pub fn prose(text: &str) -> String {
    let pairs = text.bytes().zip(blank(text, true).into_bytes());
    let bytes = pairs.map(|(own, bare)| if own == bare && own != b'\n' { b' ' } else { own }).collect();
    // Comments and strings are kept or blanked as wholes, so no character is torn.
    String::from_utf8(bytes).unwrap_or_default()
}

/// The number of the line that `offset` is in.
pub fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

fn blank(text: &str, strings: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (len, hide) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment(rest), true)
        } else if let Some(len) = string(rest, &out) {
            (len, strings)
        } else if first == '\'' {
            (character(rest), strings)
        } else {
            (first.len_utf8(), false)
        };
        let (token, after) = rest.split_at(len);
        if hide {
            // Bytes, not characters: offsets stay those of the text.
            out.extend(token.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(token);
        }
        rest = after;
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of the string literal at the start of `text`, if there is one; `before` is what stands before it.
fn string(text: &str, before: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| {
        let after_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !after_word && text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#']))
    });
    if let Some(prefix) = prefix {
        let body = &text[prefix.len()..];
        let hashes = body.len() - body.trim_start_matches('#').len();
        // `r#name` is a raw identifier.
        body[hashes..].starts_with('"').then_some(())?;
        let end = format!("\"{}", "#".repeat(hashes));
        let start = prefix.len() + hashes + 1;
        return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
    }
    text.starts_with('"').then(|| {
        let mut escaped = false;
        let close = text.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        close.map_or(text.len(), |(at, _)| at + 1)
    })
}

/// The length of a character literal, or of the apostrophe of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1)
        }
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_that_look_like_them_stay() {
        assert_eq!(without_comments("a // b\nc /* d /* e */ */ f"), format!("a     \nc {} f", " ".repeat(15)));
        assert_eq!(without_comments("x(\"http://y\") // z"), "x(\"http://y\")     ");
        assert_eq!(without_comments("r#\"a \" // b\"# // c"), "r#\"a \" // b\"#     ");
        assert_eq!(without_comments("'\"' // a"), "'\"'     ");
        assert_eq!(without_comments("'\\'' // a"), "'\\''     ");
        assert_eq!(without_comments("fn f<'a>(x: &'a str) // b"), "fn f<'a>(x: &'a str)     ");
    }

    #[test]
    fn bare_code_has_no_strings() {
        assert_eq!(bare("f(\"a\\\"b\", c)"), "f(      , c)");
        assert_eq!(bare("r#type"), "r#type");
    }

    #[test]
    fn prose_is_what_bare_code_lacks() {
        assert_eq!(
            prose("fn ä(x: &str) { f(\"ö\") } // ü\n"),
            format!("{}\"ö\"{}// ü\n", " ".repeat(19), " ".repeat(4))
        );
    }

    #[test]
    fn offsets_and_lines_stay() {
        let text = "/* ä\n */ x";
        assert_eq!(bare(text).len(), text.len());
        assert_eq!(line(&bare(text), bare(text).find('x').unwrap()), 2);
    }
}
