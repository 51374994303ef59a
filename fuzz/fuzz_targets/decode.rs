//! Fuzzes the bytes that the kernel side writes: see `flowtop::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flowtop::fuzz::decode(bytes));
