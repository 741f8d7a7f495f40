//! `cargo fuzz run resp_request fuzz/corpus/resp_request testdata/resp/seeds/request`
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proto::resp::fuzz::fuzz_request(bytes));
