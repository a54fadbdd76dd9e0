//! The device program.

fn main() {}
