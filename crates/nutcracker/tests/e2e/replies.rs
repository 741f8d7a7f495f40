//! Replies of servers, sane and insane: nobody ever receives somebody else's.

use crate::harness::{FakeServer, Gate, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, requests};

#[test]
fn an_error_reply_of_one_word_belongs_to_its_request_alone() {
    let together = Gate::closed();
    let gate = together.clone();
    let server = FakeServer::start(move |connection| {
        connection.requests(2);
        gate.pass();
        connection.send(b"-keyalreadyexists\r\n$8\r\nbananas!\r\n");
        connection.never_answer();
    });
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut first = proxy.client();
    let mut second = proxy.client();
    first.send_request(&["EVAL", "return 1", "1", "k"]);
    crate::harness::eventually("the first request arrives", || {
        (!server.received().is_empty()).then_some(())
    });
    second.send_request(&["GET", "banana"]);
    together.open();
    first.expect(b"-keyalreadyexists\r\n");
    second.expect(b"$8\r\nbananas!\r\n");
}
