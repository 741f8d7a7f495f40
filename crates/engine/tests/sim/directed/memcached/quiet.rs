//! Meta commands, and their flag `q`: what is not answered, and that `mn` comes after all of it.

use engine::topology::{Ejection, OnEject, Pool};

use super::{Cache, REFUSED, TIMED_OUT, pool};
use crate::network::Door;

#[test]
fn meta_commands_are_forwarded_byte_for_byte() {
    let mut cache = Cache::new(2);
    let key = cache.keys[1].clone();
    let exchanges = [
        ("mg KEY\r\n", "HD\r\n"),
        ("mg  KEY v k Oabc t  \r\n", "VA 2 kKEY Oabc t-1\r\n\r\n\r\n"),
        ("ms KEY 2 T0 Oq\r\nqq\r\n", "HD Oq\r\n"),
        ("md KEY I T30\r\n", "NF\r\n"),
        ("ma KEY v D7\r\n", "VA 2\r\n17\r\n"),
        ("me KEY\r\n", "ME KEY exp=-1 la=0 cas=1 fetch=no cls=1 size=63\r\n"),
        ("me KEY\r\n", "EN\r\n"),
    ];
    for (request, reply) in exchanges {
        let (request, reply) = (request.replace("KEY", &key), reply.replace("KEY", &key));
        cache.ask(&request);
        assert_eq!(cache.heard(1), request);
        cache.answer(1, &reply);
        assert_eq!(cache.got(), reply);
    }
    cache.assert_in_step();
}

#[test]
fn a_key_in_base64_lives_where_the_key_itself_lives() {
    // `YWJjZA==` is `abcd`.
    let mut cache = Cache::new(3);
    cache.ask("mg abcd v\r\n");
    let shard = (0..3).find(|shard| cache.heard(*shard) == "mg abcd v\r\n").expect("a server");
    cache.answer(shard, "EN\r\n");
    cache.ask("mg YWJjZA== b v\r\n");
    assert_eq!(cache.heard(shard), "mg YWJjZA== b v\r\n");
    cache.answer(shard, "EN b\r\n");
    assert_eq!(cache.got(), "EN\r\nEN b\r\n");
    cache.assert_in_step();
}

#[test]
fn quiet_requests_over_several_servers_are_answered_in_order_and_ended_by_mn() {
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
    for order in orders {
        let mut cache = Cache::new(3);
        let [a, b, c] = [0, 1, 2].map(|shard| cache.keys[shard].clone());
        cache.ask(format!(
            "mg {c} v k q\r\nms {a} 1 q\r\nx\r\nmg {a} v k q\r\nmd {b} q\r\nmd {c} q O7\r\nmg {b} q v k\r\nmn\r\n"
        ));
        // The flag is blanked out: a server that always answers can be matched by position.
        assert_eq!(cache.heard(0), format!("ms {a} 1  \r\nx\r\nmg {a} v k  \r\n"));
        assert_eq!(cache.heard(1), format!("md {b}  \r\nmg {b}   v k\r\n"));
        assert_eq!(cache.heard(2), format!("mg {c} v k  \r\nmd {c}   O7\r\n"));
        // A miss of `mg` and the success of the others are what `q` suppresses.
        let answers = [
            format!("HD\r\nVA 1 k{a}\r\nx\r\n"),
            format!("NF\r\nEN k{b}\r\n"),
            format!("VA 2 k{c}\r\n\r\n\r\nHD O7\r\n"),
        ];
        for shard in order {
            cache.answer(shard, &answers[shard]);
        }
        assert_eq!(cache.got(), format!("VA 2 k{c}\r\n\r\n\r\nVA 1 k{a}\r\nx\r\nNF\r\nMN\r\n"));
        cache.assert_in_step();
    }
}

#[test]
fn mn_waits_for_every_quiet_request_before_it() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.ask(format!("mg {a} q\r\nmg {b} q\r\nmn\r\nmn\r\n"));
    cache.answer(0, "EN\r\n");
    assert_eq!(cache.got(), "");
    cache.answer(1, "EN\r\n");
    assert_eq!(cache.got(), "MN\r\nMN\r\n");
    cache.assert_in_step();
}

#[test]
fn a_suppressed_reply_outlives_the_kept_replies_around_it() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.ask(format!("mg {a}\r\nmg {b} v\r\nmg {a}\r\nmg {b} q\r\nmg {b}\r\n"));
    cache.answer(1, "VA 9\r\nninebytes\r\nEN\r\n");
    cache.answer(0, "HD\r\n");
    // Nothing but the suppressed one is kept now.
    assert_eq!(cache.got(), "HD\r\nVA 9\r\nninebytes\r\n");
    cache.answer(1, "NF\r\n");
    cache.answer(0, "EX\r\n");
    assert_eq!(cache.got(), "EX\r\nNF\r\n");
    cache.assert_in_step();
}

#[test]
fn a_client_that_ends_with_a_suppressed_reply_is_closed() {
    for quits in [true, false] {
        let mut cache = Cache::new(1);
        let key = cache.keys[0].clone();
        let other = cache.rig.client();
        cache.ask(format!("mg {key} q\r\n"));
        if quits {
            cache.ask("quit\r\n");
        } else {
            cache.rig.half_close(cache.client);
        }
        cache.answer(0, "EN\r\n");
        assert_eq!(cache.got(), "");
        assert!(cache.rig.is_closed(cache.client), "quits: {quits}");
        cache.heard(0);
        cache.client = other;
        cache.assert_in_step();
    }
}

#[test]
fn quiet_requests_say_all_that_is_neither_success_nor_a_miss() {
    let cases = [
        ("ms KEY 1 q\r\nx\r\n", "NS\r\n"),
        ("ms KEY 1 q C3\r\nx\r\n", "EX\r\n"),
        ("md KEY q\r\n", "NF\r\n"),
        ("ma KEY q\r\n", "NF\r\n"),
        ("mg KEY q\r\n", "HD\r\n"),
        ("mg KEY q\r\n", "SERVER_ERROR busy\r\n"),
        ("ms KEY 1 q\r\nx\r\n", "CLIENT_ERROR bad data chunk\r\n"),
    ];
    for (request, reply) in cases {
        let mut cache = Cache::new(1);
        let request = request.replace("KEY", &cache.keys[0]);
        cache.ask(request + "mn\r\n");
        cache.answer(0, reply);
        assert_eq!(cache.got(), reply.to_owned() + "MN\r\n");
        cache.assert_in_step();
    }
}

#[test]
fn what_becomes_of_a_quiet_request_at_a_dead_server_is_said() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    let pipeline = format!("mg {a} q\r\nmg {b} q v\r\nms {a} 1 q\r\nx\r\nmn\r\n");
    cache.ask(&pipeline);
    cache.answer(1, "VA 1\r\ny\r\n");
    cache.rig.pass_ms(400);
    assert_eq!(cache.got(), format!("{TIMED_OUT}VA 1\r\ny\r\n{TIMED_OUT}MN\r\n"));
    // Late answers of quiet requests are dropped like any others.
    cache.heard(0);
    cache.heard(1);
    cache.answer(0, "HD\r\nHD\r\n");
    assert_eq!(cache.got(), "");
    cache.assert_in_step();
    cache.rig.close(cache.servers[0]);
    cache.rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    cache.ask(&pipeline);
    cache.answer(1, "VA 1\r\ny\r\n");
    assert_eq!(cache.got(), format!("{REFUSED}VA 1\r\ny\r\n{REFUSED}MN\r\n"));
}

#[test]
fn a_miss_in_place_of_an_ejected_server_is_suppressed_as_well() {
    let ejection = Ejection { failure_limit: 1, on_eject: OnEject::Miss, ..Ejection::default() };
    let mut cache = Cache::of(Pool { ejection: Some(ejection), ..pool(2) });
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    cache.rig.set_door(0, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    cache.rig.close(cache.servers[0]);
    cache.ask(format!("mg {a}\r\n"));
    assert_eq!(cache.got(), REFUSED);
    cache.ask(format!("mg {a} q k\r\nmg {b} q\r\nmg {a} k\r\nmn\r\n"));
    cache.answer(1, "HD\r\n");
    assert_eq!(cache.got(), format!("HD\r\nEN k{a}\r\nMN\r\n"));
}

#[test]
fn a_client_that_vanishes_amid_quiet_requests_leaves_nothing_behind() {
    let mut cache = Cache::new(2);
    let (a, b) = (cache.keys[0].clone(), cache.keys[1].clone());
    let other = cache.rig.client();
    cache.ask(format!("mg {a} q\r\nmg {b} q\r\nmg {a} v\r\nmn\r\n"));
    cache.answer(1, "EN\r\n");
    cache.rig.reset(cache.client);
    cache.heard(0);
    cache.heard(1);
    cache.answer(0, "EN\r\nVA 3\r\nabc\r\n");
    cache.client = other;
    cache.assert_in_step();
}

#[test]
fn a_reply_that_is_kept_quiet_early_takes_no_room_among_those_that_wait() {
    let mut cache = Cache::new(3);
    let [a, b, c] = [0, 1, 2].map(|shard| cache.keys[shard].clone());
    cache.ask(format!("mg {a} v\r\nmg {b} v\r\nmg {c} v\r\nmg {b} q\r\n"));
    cache.answer(1, "VA 5\r\nfirst\r\nEN\r\n");
    cache.answer(0, "EN\r\n");
    assert_eq!(cache.got(), "EN\r\nVA 5\r\nfirst\r\n");
    cache.answer(2, "EN\r\n");
    assert_eq!(cache.got(), "EN\r\n");
    cache.assert_in_step();
}

#[test]
fn a_client_that_ends_with_a_request_that_is_kept_quiet_is_closed() {
    for last in ["", "quit\r\n"] {
        let mut cache = Cache::new(1);
        let key = cache.keys[0].clone();
        cache.ask(format!("mg {key} q\r\nmd {key} q\r\n{last}"));
        cache.rig.half_close(cache.client);
        cache.answer(0, "EN\r\n");
        assert!(!cache.rig.is_closed(cache.client));
        cache.answer(0, "HD\r\n");
        assert!(cache.rig.is_closed(cache.client), "{last:?}");
        cache.rig.assert_at_rest();
        assert_eq!(cache.rig.worker.engine.clients(), 0);
    }
}
