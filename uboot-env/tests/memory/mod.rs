//! Devices in memory that are stricter than real ones, that record what is asked of them, and that
//! lose power at any point of it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use tandem_uboot_env::medium::{Access, Geometry, Kind, Medium};

use crate::peers::Random;

/// Something that was asked of a device and changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Write { at: usize, bytes: Vec<u8> },
    Erase(Range<usize>),
    Sync,
    Protect(bool),
}

/// A device. Clones are the same device.
#[derive(Clone, Debug)]
pub(crate) struct Device(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    pub(crate) content: Vec<u8>,
    /// First bytes of bad blocks.
    pub(crate) bad: BTreeSet<u64>,
    /// Told apart from other devices by this.
    pub(crate) identity: u64,
    /// Bytes that cannot be read: those of torn pages, the first of a volume being updated.
    pub(crate) torn: BTreeSet<usize>,
    pub(crate) protected: bool,
    pub(crate) log: Vec<Operation>,
    /// The operation (counted from 0) that fails, and all after it.
    pub(crate) fails_at: Option<usize>,
}

impl Device {
    pub(crate) fn new(kind: Kind, content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State {
            kind,
            content,
            bad: BTreeSet::new(),
            identity: 0,
            torn: BTreeSet::new(),
            protected: false,
            log: Vec::new(),
            fails_at: None,
        })))
    }

    /// A device of its own in the same state.
    pub(crate) fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn open(&self, access: Access) -> Handle {
        let replacement = (access == Access::Replace).then(|| self.state().content);
        Handle {
            device: self.clone(),
            access,
            replacement,
        }
    }
}

/// The device, opened once.
pub(crate) struct Handle {
    device: Device,
    access: Access,
    /// What is beside the file until the next sync.
    replacement: Option<Vec<u8>>,
}

impl Medium for Handle {
    fn geometry(&self) -> Geometry {
        let state = self.device.lock();
        Geometry {
            kind: state.kind,
            length: state.content.len() as u64,
            identity: (0, state.identity),
        }
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.device.lock();
        let range = offset as usize..offset as usize + buffer.len();
        if state.torn.range(range.clone()).next().is_some() {
            return Err(io::Error::other("uncorrectable bit errors"));
        }
        let content = self.replacement.as_ref().unwrap_or(&state.content);
        let found = content.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert_ne!(self.access, Access::Read);
        let at = offset as usize;
        if let Some(replacement) = &mut self.replacement {
            replacement[at..at + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        self.perform(Operation::Write {
            at,
            bytes: bytes.to_vec(),
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(content) = self.replacement.clone() {
            // Between the rename and the sync of the directory either file may be there.
            self.perform(Operation::Sync)?;
            self.device.change(|state| state.content = content);
            return Ok(());
        }
        self.perform(Operation::Sync)
    }

    fn erase(&mut self, range: Range<u64>) -> io::Result<()> {
        assert_ne!(self.access, Access::Read);
        self.perform(Operation::Erase(range.start as usize..range.end as usize))
    }

    fn is_bad(&mut self, block: u64) -> io::Result<bool> {
        Ok(self.device.lock().bad.contains(&block))
    }

    fn set_protected(&mut self, _range: Range<u64>, protected: bool) -> io::Result<bool> {
        let before = self.device.lock().protected;
        if before != protected {
            self.perform(Operation::Protect(protected))?;
        }
        Ok(before)
    }
}

impl Handle {
    fn perform(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.device.lock();
        let number = state.log.len();
        if state.fails_at.is_some_and(|failing| number >= failing) {
            return Err(io::Error::other("the device failed"));
        }
        state.apply(&operation);
        state.log.push(operation);
        Ok(())
    }
}

impl State {
    /// Carries an operation out, and panics where real flash would quietly spoil something.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Sync => {}
            Operation::Protect(protected) => self.protected = *protected,
            Operation::Erase(range) => {
                assert!(!self.protected, "erasing a protected device");
                match self.kind {
                    Kind::Nor { erase_size } | Kind::Nand { erase_size, .. } => {
                        let erase_size = erase_size as usize;
                        assert_eq!((range.start % erase_size, range.end % erase_size), (0, 0));
                        self.assert_good(range.clone());
                        self.torn.retain(|byte| !range.contains(byte));
                    }
                    Kind::Volume => {
                        self.torn.insert(range.start);
                    }
                    Kind::File | Kind::Block => return,
                }
                self.content[range.clone()].fill(0xFF);
            }
            Operation::Write { at, bytes } => {
                assert!(!self.protected, "writing to a protected device");
                let range = *at..at + bytes.len();
                let old = &self.content[range.clone()];
                match self.kind {
                    Kind::File | Kind::Block => {}
                    // The last byte of an update takes the mark away.
                    Kind::Volume => self.torn.clear(),
                    Kind::Nor { .. } => assert!(
                        old.iter().zip(bytes).all(|(old, new)| old & new == *new),
                        "NOR cannot write ones"
                    ),
                    Kind::Nand { page_size, .. } => {
                        let page_size = page_size as usize;
                        assert_eq!((range.start % page_size, range.end % page_size), (0, 0));
                        assert!(
                            old.iter().all(|byte| *byte == 0xFF),
                            "NAND page written twice"
                        );
                        self.assert_good(range.clone());
                    }
                }
                self.content[range].copy_from_slice(bytes);
            }
        }
    }

    fn assert_good(&self, range: Range<usize>) {
        let touched = self
            .bad
            .iter()
            .find(|bad| range.contains(&(**bad as usize)));
        assert_eq!(touched, None, "a bad block was touched");
    }

    /// Every state in which a power cut during the operation can leave the device, as far as that
    /// can be enumerated, and some samples of the rest.
    pub(crate) fn torn_by(&self, operation: &Operation, random: &mut Random) -> Vec<Self> {
        let mut states = Vec::new();
        let mut with = |at: usize, bytes: &[u8], unreadable: Option<usize>| {
            let mut state = self.clone();
            state.content[at..at + bytes.len()].copy_from_slice(bytes);
            state.torn.extend(unreadable);
            states.push(state);
        };
        match (operation, self.kind) {
            (Operation::Sync | Operation::Protect(_), _) => {}
            (Operation::Write { at, bytes }, Kind::Volume) => {
                for cut in (0..bytes.len()).step_by(512) {
                    with(*at, &bytes[..cut], None);
                }
            }
            (Operation::Write { at, bytes }, Kind::File | Kind::Block) => {
                let sectors: Vec<usize> = (0..bytes.len()).step_by(512).collect();
                for &cut in &sectors {
                    with(*at, &bytes[..cut], None);
                    with(at + cut, &bytes[cut..], None);
                }
                // Sectors reach the medium in any order.
                for _ in 0..SAMPLES {
                    let mut mixed = self.content[*at..at + bytes.len()].to_vec();
                    for &sector in sectors.iter().filter(|_| random.below(2) == 0) {
                        let end = (sector + 512).min(bytes.len());
                        mixed[sector..end].copy_from_slice(&bytes[sector..end]);
                    }
                    with(*at, &mixed, None);
                }
            }
            (Operation::Write { at, bytes }, Kind::Nor { .. }) => {
                for cut in 0..bytes.len() {
                    // The byte at the cut has some of its bits.
                    let half = bytes[cut] | (random.next() as u8 & self.content[at + cut]);
                    with(*at, &[&bytes[..cut], &[half]].concat(), None);
                    with(at + cut, &bytes[cut..], None);
                }
            }
            (Operation::Write { at, bytes }, Kind::Nand { page_size, .. }) => {
                for page in (0..bytes.len()).step_by(page_size as usize) {
                    with(*at, &bytes[..page], None);
                    with(*at, &bytes[..page], Some(at + page));
                    let garbage: Vec<u8> = (0..page_size).map(|_| random.next() as u8).collect();
                    with(*at, &[&bytes[..page], &garbage].concat(), None);
                }
            }
            (Operation::Erase(_), Kind::File | Kind::Block) => {}
            // A volume that is being updated cannot be read.
            (Operation::Erase(range), Kind::Volume) => with(range.start, &[], Some(range.start)),
            (Operation::Erase(range), Kind::Nand { page_size, .. }) => {
                for cut in range.clone().step_by(page_size as usize) {
                    with(range.start, &vec![0xFF; cut - range.start], Some(cut));
                    with(cut, &vec![0xFF; range.end - cut], Some(range.start));
                }
                let garbage: Vec<u8> = range.clone().map(|_| random.next() as u8).collect();
                with(range.start, &garbage, None);
            }
            (Operation::Erase(range), Kind::Nor { .. }) => {
                let length = range.len();
                for cut in 0..length {
                    with(range.start, &vec![0xFF; cut], None);
                    with(range.start + cut, &vec![0xFF; length - cut], None);
                }
                // Chips write zeros before they erase.
                with(range.start, &vec![0; length], None);
                for _ in 0..SAMPLES {
                    let some_ones: Vec<u8> = self.content[range.clone()]
                        .iter()
                        .map(|byte| byte | random.next() as u8)
                        .collect();
                    with(range.start, &some_ones, None);
                }
            }
        }
        states
    }
}

/// How many random states are tried where there are too many to try all.
const SAMPLES: usize = 16;
