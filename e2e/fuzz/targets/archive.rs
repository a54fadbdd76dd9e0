//! Any bytes as an artifact. The test vectors are what it begins with.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tandem_fuzz::check(bytes));
