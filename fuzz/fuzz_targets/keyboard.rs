//! Fuzzes bytes of a terminal: see `flowtop::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flowtop::fuzz::keyboard(bytes));
