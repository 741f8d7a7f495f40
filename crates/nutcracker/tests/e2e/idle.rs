//! A proxy with nothing to do uses no processor time, whatever state its connections are stuck in.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, eventually, request, spread,
    unused_port, within,
};

/// How long a quiet proxy is watched. One that spins uses as many cores as it has workers that do.
const WATCHED: Duration = Duration::from_secs(2);

/// The share of one core that `proxy` uses while nothing happens.
fn share_of_a_core(proxy: &mut Proxy) -> f64 {
    let (used, begun) = (proxy.process().processor_time(), Instant::now());
    assert!(!within(WATCHED, || proxy.process().ended().is_some()));
    (proxy.process().processor_time() - used).as_secs_f64() / begun.elapsed().as_secs_f64()
}

#[track_caller]
fn assert_quiet(proxy: &mut Proxy) {
    let share = share_of_a_core(proxy);
    assert!(share < 0.2, "an idle proxy uses {:.0} % of a core", share * 100.0);
}

#[test]
fn idle_paused_and_half_closed_clients_and_dead_servers_cost_no_processor_time() {
    let mut servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let pools = [
            Pool::redis(&servers),
            Pool::redis(&[format!("127.0.0.1:{}", unused_port())])
                .named("dead")
                .listen(1)
                .set("preconnect", true)
                .set("server_retry_timeout", 100),
        ];
        let mut proxy =
            Proxy::with(pools.map(|pool| pool.to_string()).concat()).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 1);
        let (served, frozen) = (&keys[0][0], &keys[1][0]);
        assert_eq!(client.call(&["SET", served, &"v".repeat(2000)]), Reply::ok());
        let mut idle: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
        idle.iter_mut().for_each(Client::expect_usable);
        let mut unlucky = proxy.client_of(1);
        assert!(unlucky.call(&["GET", "a"]).is_error());
        // These do not take their replies: one still sends, the other has ended its direction.
        let gets = request(&["GET", served]).repeat(20_000);
        let mut paused: Vec<Client> = (0..2).map(|_| proxy.client()).collect();
        for client in &mut paused {
            client.shrink_receive_buffer(4096);
            client.send_until_blocked(&gets, Duration::from_millis(300));
        }
        paused[1].half_close();
        // And these wait for a server that does not answer, one of them has half-closed and one has gone.
        servers[1].freeze();
        let mut waiting: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
        for client in &mut waiting {
            client.send_request(&["GET", frozen]);
        }
        waiting[1].half_close();
        waiting.remove(2).reset();
        assert_quiet(&mut proxy);
        servers[1].thaw();
        assert_eq!(waiting[0].reply(), Reply::Nil);
        waiting[1].expect_then_closed(b"$-1\r\n");
        idle.iter_mut().for_each(Client::expect_usable);
    }
}

#[test]
fn clients_that_cannot_be_accepted_cost_no_processor_time() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let mut proxy =
            Proxy::with(Pool::redis(&[&server])).workers(workers).under("ulimit -n 96").start();
        let mut first = proxy.client();
        assert_eq!(first.call(&["SET", "k", "v"]), Reply::ok());
        let mut crowd: Vec<Client> =
            (0..300).filter_map(|_| Client::try_connect(proxy.address(0)).ok()).collect();
        eventually("the newcomers are dealt with", || {
            first.expect_usable();
            (proxy.process().open_files() > 48).then_some(())
        });
        assert_quiet(&mut proxy);
        crowd.clear();
        assert_eq!(first.call(&["GET", "k"]), Reply::bulk("v"));
    }
}
