//! A copy of the U-Boot environment with a right checksum, a script of fw_setenv, and fw_env.config.

#![no_main]

use std::cell::RefCell;

use tandem_uboot_env::{Change, Config, Env, image};

fn check_copy(bytes: &[u8], redundant: bool) {
    let mut bytes = bytes.to_vec();
    let header = if redundant { 5 } else { 4 };
    if let Some(content) = bytes.get(header..) {
        let sum = crc32fast::hash(content).to_le_bytes();
        bytes[..4].copy_from_slice(&sum);
    }
    let Ok(data) = image::data(&bytes, redundant) else {
        return;
    };
    let env = Env::parse(data);
    // What is read can be written, and is the same when read again.
    let again = Env::parse(&env.to_bytes());
    assert!(env.iter().eq(again.iter()));
    if let Ok(built) = image::build(&env, bytes.len(), redundant.then_some(1)) {
        assert_eq!(built.len(), bytes.len());
        let data = image::data(&built, redundant).expect("what was built is right");
        assert!(Env::parse(data).iter().eq(env.iter()));
    }
}

thread_local! {
    static FILE: RefCell<Option<std::path::PathBuf>> = const { RefCell::new(None) };
}

fn check_config(bytes: &[u8]) {
    FILE.with_borrow_mut(|file| {
        let path = file.get_or_insert_with(|| {
            let name = format!("tandem-fuzz-{}.config", std::process::id());
            std::path::Path::new("/dev/shm").join(name)
        });
        std::fs::write(&*path, bytes).expect("/dev/shm can be written to");
        if let Ok(config) = Config::load(path) {
            assert!((1..=2).contains(&config.places().count()));
            assert!(config.size() > 0);
        }
    });
}

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (what, bytes) = input;
    match what % 4 {
        0 => check_copy(bytes, false),
        1 => check_copy(bytes, true),
        2 => {
            let _ = Change::parse_script(bytes);
            let _ = Env::from_text(bytes);
        }
        _ => check_config(bytes),
    }
});
