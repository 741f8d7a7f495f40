//! `cargo fuzz run memcached_request fuzz/corpus/memcached_request testdata/memcached/seeds/request`
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proto::memcached::fuzz::fuzz_request(bytes));
