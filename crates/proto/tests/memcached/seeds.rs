//! The bodies of the fuzz targets, run on the seeds a fuzzer starts from.

use proto::memcached::fuzz;

use crate::testdata;

fn run_on(seeds: &str, body: fn(&[u8])) {
    let folder = testdata(seeds);
    let mut ran = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of seeds") {
        let path = entry.expect("a seed").path();
        println!("{}", path.display());
        body(&std::fs::read(&path).expect("a seed can be read"));
        ran += 1;
    }
    assert!(ran > 50, "{folder} holds {ran} seeds only");
}

#[test]
fn the_request_fuzz_target_holds_on_its_seeds() {
    run_on("seeds/request", fuzz::fuzz_request);
}

#[test]
fn the_reply_fuzz_target_holds_on_its_seeds() {
    run_on("seeds/reply", fuzz::fuzz_reply);
}

#[test]
fn each_fuzz_target_holds_on_the_seeds_of_the_other() {
    run_on("seeds/request", fuzz::fuzz_reply);
    run_on("seeds/reply", fuzz::fuzz_request);
}
