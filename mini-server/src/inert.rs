//! Text from outside as it may be shown anywhere: nothing in it moves the cursor of a terminal, turns or hides other
//! text, or makes up lines of its own. Pure.

/// A character, or the picture of one that cannot be seen.
#[must_use]
pub fn visible(c: char) -> char {
    match c {
        '\u{0}'..='\u{1f}' => u32::from(c)
            .checked_add(0x2400)
            .and_then(char::from_u32)
            .unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        // Further control characters, what changes the direction of text or joins and hides characters, line breaks of
        // other kinds, the byte order mark, tags, and what no text may have.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}'
        | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        c => c,
    }
}

/// Whether a character shows as itself.
#[must_use]
pub fn is_visible(c: char) -> bool {
    visible(c) == c
}

/// JSON with the same meaning in which all that is not visible is escaped. JSON itself escapes only the first 32
/// characters, and some terminals take U+009B for the beginning of a command.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut units = [0_u16; 2];
    for c in text.chars() {
        // Between the values there are none but this one.
        if c == '\n' || is_visible(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_means_the_same_and_has_nothing_in_it_that_acts() {
        let hostile = "\u{1b}[2J \u{9b}31m \u{202e}gpj \u{7f} \u{e0041} \u{1f600} ä\n\t\"\\";
        let value = serde_json::json!({hostile: [hostile]});
        for text in [
            serde_json::to_string(&value).unwrap(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            let shown = json(&text);
            assert!(shown.chars().all(|c| c == '\n' || is_visible(c)), "{shown}");
            assert!(
                shown.contains("\\u009b") && shown.contains("\\u202e"),
                "{shown}"
            );
            let back: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(back, value);
        }
    }
}
