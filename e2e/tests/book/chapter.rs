//! A file of Markdown, as far as it is of interest here: its blocks of code.

use std::fs;
use std::path::Path;

/// A chapter.
pub(crate) struct Chapter {
    /// The name of its file.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
    /// Its blocks, in order.
    pub(crate) blocks: Vec<Block>,
}

/// What stands between two lines of ```` ``` ````.
pub(crate) struct Block {
    /// What stands behind the first of them.
    pub(crate) kind: String,
    /// What stands between.
    pub(crate) text: String,
    /// The number of its first line and that of the line behind it.
    lines: (usize, usize),
}

impl Chapter {
    pub(crate) fn read(path: &Path) -> Chapter {
        let text = fs::read_to_string(path).unwrap();
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_open = false;
        for (number, line) in (1..).zip(text.lines()) {
            match (line.strip_prefix("```"), is_open) {
                (Some(kind), false) => blocks.push(Block {
                    kind: kind.trim().to_owned(),
                    text: String::new(),
                    lines: (number + 1, usize::MAX),
                }),
                (Some(_), true) => blocks.last_mut().unwrap().lines.1 = number,
                (None, true) => {
                    let block = &mut blocks.last_mut().unwrap().text;
                    block.push_str(line);
                    block.push('\n');
                }
                (None, false) => continue,
            }
            is_open = is_open != line.starts_with("```");
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!is_open, "{name}: a block has no end");
        Chapter { name, text, blocks }
    }

    /// Whether a line is in a block.
    pub(crate) fn is_block(&self, line: usize) -> bool {
        self.blocks
            .iter()
            .any(|block| (block.lines.0..block.lines.1).contains(&line))
    }

    /// Whether it is made by these tests.
    pub(crate) fn is_generated(&self) -> bool {
        self.name.starts_with("reference-") && self.name != "reference-states.md"
    }
}
