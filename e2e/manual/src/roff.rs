//! The little of roff's man macros that a page of a command line needs.

/// Text as roff takes it literally, within a line.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// A page that grows from top to bottom.
#[derive(Default)]
pub(crate) struct Roff(String);

impl Roff {
    /// A macro with its arguments, each of them escaped and quoted.
    pub(crate) fn call(&mut self, name: &str, arguments: &[&str]) {
        self.0.push('.');
        self.0.push_str(name);
        for argument in arguments {
            let argument = escaped(argument).replace('"', "\\(dq");
            self.0.push_str(&format!(" \"{argument}\""));
        }
        self.0.push('\n');
    }

    /// A line of text, in which fonts may have been chosen: it is not escaped.
    pub(crate) fn line(&mut self, line: &str) {
        // A dot or an apostrophe in front would make it a macro.
        if line.starts_with(['.', '\'']) {
            self.0.push_str("\\&");
        }
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Running text; empty lines part paragraphs.
    pub(crate) fn prose(&mut self, text: &str) {
        for (number, paragraph) in text.split("\n\n").enumerate() {
            if number > 0 {
                self.call("PP", &[]);
            }
            for line in paragraph.lines() {
                self.line(&escaped(line.trim()));
            }
        }
    }

    /// Lines that stay as they are.
    pub(crate) fn literal<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        self.call("nf", &[]);
        for line in lines {
            self.line(&escaped(line));
        }
        self.call("fi", &[]);
    }

    /// What is written in roff already.
    pub(crate) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// A word to be typed as it is.
pub(crate) fn bold(word: &str) -> String {
    format!("\\fB{}\\fR", escaped(word))
}

/// A word that stands for something.
pub(crate) fn italic(word: &str) -> String {
    format!("\\fI{}\\fR", escaped(word))
}
