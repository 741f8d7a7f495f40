//! `cargo fuzz run proxy_header fuzz/corpus/proxy_header`
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nutcracker::worker::fuzz_proxy_header(bytes));
