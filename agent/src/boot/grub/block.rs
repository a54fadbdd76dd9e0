//! GRUB's environment block: what `load_env`, `save_env` and `grub-editenv` read and write.
//!
//! ```text
//! # GRUB Environment Block\n
//! name=value\n               a backslash takes the meaning from the next byte
//! ####...                    up to 1024 bytes
//! ```
//!
//! Source: GRUB 2.06, `grub-core/lib/envblk.c` and runs of `save_env` on FAT and ext4.

/// The size of a block. GRUB takes others too, but this one is written everywhere.
pub(super) const SIZE: usize = 1024;

const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// How much the variables may take. With the signature they stay in the first sector, so that a
/// write that is torn between two sectors is harmless.
const ROOM: usize = 480;

/// The variables of a block, in their order, with the values as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The variables take more room than a block that cannot be torn offers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooBig;

impl Block {
    /// Reads a block; `None` when GRUB would not, or when it has another size.
    pub(super) fn parse(bytes: &[u8]) -> Option<Block> {
        let mut rest = bytes.strip_prefix(SIGNATURE)?;
        if bytes.len() != SIZE {
            return None;
        }
        let mut variables = Vec::new();
        while let Some((line, next)) = line(rest) {
            rest = next;
            if line.first() == Some(&b'#') {
                continue;
            }
            if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
                let (name, value) = line.split_at(equals);
                variables.push((name.to_vec(), value.get(1..)?.to_vec()));
            }
        }
        Some(Block { variables })
    }

    /// The value of a variable, if it is there and is text.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .variables
            .iter()
            .find(|(known, _)| known == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// Sets a variable. Neither name nor value has anything in it that a block cannot hold.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let value = value.as_bytes().to_vec();
        match self
            .variables
            .iter_mut()
            .find(|(known, _)| known == name.as_bytes())
        {
            Some(known) => known.1 = value,
            None => self.variables.push((name.as_bytes().to_vec(), value)),
        }
    }

    /// All variables that are text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().filter_map(|(name, value)| {
            Some((
                std::str::from_utf8(name).ok()?,
                std::str::from_utf8(value).ok()?,
            ))
        })
    }

    /// The block's bytes.
    ///
    /// # Errors
    /// When the variables do not stay in the first sector.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, TooBig> {
        let mut lines = Vec::new();
        for (name, value) in &self.variables {
            lines.extend_from_slice(name);
            lines.push(b'=');
            lines.extend_from_slice(value);
            lines.push(b'\n');
        }
        if lines.len() > ROOM {
            return Err(TooBig);
        }
        Ok(block(&lines))
    }
}

/// A block of these lines, which fit.
pub(super) fn block(lines: &[u8]) -> Vec<u8> {
    let mut bytes = [SIGNATURE, lines].concat();
    bytes.resize(SIZE, b'#');
    bytes
}

/// The next line, up to a line feed that no backslash hides, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut hidden = false;
    let end = bytes.iter().position(|byte| {
        let ends = *byte == b'\n' && !hidden;
        hidden = *byte == b'\\' && !hidden;
        ends
    })?;
    Some((bytes.get(..end)?, bytes.get(end.checked_add(1)?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_what_it_does_not_understand() {
        let bytes = block(b"a=1\nb=x\\\\y\\\nz=2\nmender_boot_part=2\n");
        let mut parsed = Block::parse(&bytes).unwrap();
        assert_eq!(parsed.get("b"), Some("x\\\\y\\\nz=2"));
        assert_eq!(parsed.get("z"), None);
        assert_eq!(parsed.to_bytes().unwrap(), bytes);
        parsed.set("mender_boot_part", "3");
        parsed.set("new", "");
        assert_eq!(
            parsed.to_bytes().unwrap(),
            block(b"a=1\nb=x\\\\y\\\nz=2\nmender_boot_part=3\nnew=\n")
        );
    }

    #[test]
    fn comments_and_the_padding_are_no_variables() {
        let parsed = Block::parse(&block(b"# WARNING: x=1\na=1\n")).unwrap();
        assert_eq!(parsed.iter().collect::<Vec<_>>(), [("a", "1")]);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        assert_eq!(Block::parse(&[]), None);
        assert_eq!(Block::parse(&[0; SIZE]), None);
        let mut long = block(b"a=1\n");
        long.push(b'#');
        assert_eq!(Block::parse(&long), None);
    }

    #[test]
    fn variables_stay_in_the_first_sector() {
        let mut big = Block::default();
        big.set("a", &"x".repeat(477));
        let bytes = big.to_bytes().unwrap();
        assert_eq!(bytes.len(), SIZE);
        assert!(bytes.iter().skip(512).all(|byte| *byte == b'#'));
        big.set("a", &"x".repeat(478));
        assert_eq!(big.to_bytes(), Err(TooBig));
    }
}
