//! Text from images made safe to show: no image writes to a terminal or a report.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Shows bytes from an image: printable UTF-8 stays. Everything that could steer a terminal or
/// mislead a reader (control characters, bidirectional and invisible formatting, bytes that
/// are not UTF-8) becomes `\n`, `\x1b` or `\u{202e}`. A backslash stays as it is, so what
/// was escaped once stays the same.
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&escape_text(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// The same of text.
pub fn escape_text(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_plain(character) {
            shown.push(character);
        } else {
            push_escaped(&mut shown, character);
        }
    }
    Cow::Owned(shown)
}

fn push_escaped(shown: &mut String, character: char) {
    // Writing to a string does not fail.
    let _ = match (character, u8::try_from(character)) {
        ('\n', _) => write!(shown, "\\n"),
        ('\t', _) => write!(shown, "\\t"),
        ('\r', _) => write!(shown, "\\r"),
        (_, Ok(code)) => write!(shown, "\\x{code:02x}"),
        (_, Err(_)) => write!(shown, "\\u{{{:x}}}", u32::from(character)),
    };
}

/// A word of the image in double quotes, escaped.
pub fn quote(text: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", escape(text.as_ref()))
}

/// A path of the image as shown to a reader: a leading slash, escaped.
pub fn show_path(path: &[u8]) -> String {
    format!("/{}", escape(path))
}

/// Whether a character is shown as it is: no control character (C0, DEL, C1), no line or
/// paragraph separator, no mark of direction, nothing invisible and no noncharacter.
pub fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(u32::from(character),
            0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xfffe | 0xffff | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_sent() {
        assert_eq!(escape(b"a\x1b[31mb\n"), "a\\x1b[31mb\\n");
        assert_eq!(escape("ä\u{202e}ok\u{9b}".as_bytes()), "ä\\u{202e}ok\\x9b");
        assert_eq!(escape(b"\xff\xfepause"), "\\xff\\xfepause");
        assert_eq!(escape(escape(b"\x1b").as_bytes()), "\\x1b");
    }
}
