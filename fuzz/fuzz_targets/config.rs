//! `cargo fuzz run config fuzz/corpus/config testdata/config/corpus`
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nutcracker::config::fuzz_config(bytes));
