//! Fuzzes all outputs of foreign text: see `flowtop::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flowtop::fuzz::shown(bytes));
