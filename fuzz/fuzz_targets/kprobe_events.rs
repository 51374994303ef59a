//! Fuzzes lists of kprobe events: see `flowtop::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flowtop::fuzz::kprobe_events(bytes));
