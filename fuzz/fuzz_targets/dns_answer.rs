//! Fuzzes answers of DNS servers that processes received: see `flowtop::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flowtop::fuzz::dns_answer(bytes));
