//! `cargo fuzz run memcached_reply fuzz/corpus/memcached_reply testdata/memcached/seeds/reply`
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proto::memcached::fuzz::fuzz_reply(bytes));
