//! `cargo fuzz run resp_reply fuzz/corpus/resp_reply testdata/resp/seeds/reply`
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proto::resp::fuzz::fuzz_reply(bytes));
