//! Files that are broken, missing, half written, replaced or watched.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::yaml;
use crate::harness::{Client, Pool, Proxy, RealServer, Reply, eventually};

/// Sends the signal and waits until the reload has failed.
#[track_caller]
fn fail_to_reload(proxy: &mut Proxy) {
    let (succeeded, failed) = proxy.reloads();
    proxy.signal(Signal::USR1);
    eventually("the reload fails", || (proxy.reloads() == (succeeded, failed + 1)).then_some(()));
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_the_log_says_all_that_is_wrong() {
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server]);
    let mut proxy = Proxy::with(&pool).workers(2).start();
    let mut client = proxy.client();
    client.expect_usable();
    let path = proxy.dir().join("conf.yml");
    let good = fs::read_to_string(&path).expect("the configuration");
    let cases: [(&str, &[&str]); 5] = [
        (
            &good.replace("redis: true", "redis: maybe\n  hash: none"),
            &["conf.yml:3:", "conf.yml:4:"],
        ),
        ("alpha:\n  listen: 127.0.0.1:1\n", &["conf.yml:", "servers"]),
        ("", &["conf.yml"]),
        ("{", &["conf.yml"]),
        ("\0\u{1}", &["conf.yml"]),
    ];
    for (content, places) in cases {
        let before = proxy.log().len();
        fs::write(&path, content).expect("rewrite the configuration");
        fail_to_reload(&mut proxy);
        let log = proxy.log()[before..].to_owned();
        for place in places {
            assert!(log.contains(place), "{place} in {log}");
        }
        assert!(log.contains("not reloaded; the running configuration stays"), "{log}");
        assert_eq!(client.call(&["SET", "a", "b"]), Reply::ok());
        proxy.client().expect_usable();
    }
    fs::remove_file(&path).expect("remove the configuration");
    fail_to_reload(&mut proxy);
    fs::create_dir(&path).expect("a folder");
    fail_to_reload(&mut proxy);
    fs::remove_dir(&path).expect("remove the folder");
    let info = client.call(&["INFO", "proxy"]).text();
    assert!(info.contains("config_last_reload_status:err"), "{info}");
    fs::write(&path, good.replace("redis: true", "redis: true\n  timeout: 1000")).expect("a file");
    proxy.reload_by(Signal::HUP);
    assert!(proxy.log().contains("reloaded: pool changed: 'alpha'"));
    assert_eq!(proxy.metric("nutcracker_config_last_reload_successful"), 1);
}

#[test]
fn a_file_in_the_making_is_waited_for() {
    let server = RealServer::redis();
    let pools = [Pool::redis(&[&server]), Pool::redis(&[&server]).named("beta").listen(1)];
    let mut proxy = Proxy::with(&pools[0]).workers(2).start();
    let path = proxy.dir().join("conf.yml");
    for round in 1..=5 {
        let pools = pools.clone().map(|pool| pool.set("timeout", 1000 + round));
        proxy.rewrite(yaml(&pools));
        let whole = fs::read(&path).expect("the configuration");
        // The first half breaks off within a word.
        fs::write(&path, &whole[..whole.len() - 12]).expect("half of it");
        let before = proxy.reloads();
        proxy.signal(Signal::USR1);
        fs::write(&path, &whole).expect("all of it");
        eventually("the reload", || (proxy.reloads() == (before.0 + 1, 0)).then_some(()));
        proxy.client_of(1).expect_usable();
    }
}

/// A folder as Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is replaced as a whole.
fn mount(proxy: &Proxy, version: &str, content: &str) {
    let dir = proxy.dir().join("mounted");
    let data = dir.join(format!("..{version}"));
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("nutcracker.yml"), content).expect("a file");
    let new = dir.join("..data_tmp");
    symlink(format!("..{version}"), &new).expect("a link");
    fs::rename(new, dir.join("..data")).expect("a link that is replaced");
}

#[test]
fn a_watched_file_is_loaded_when_it_is_replaced_or_rewritten() {
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server]);
    let mut proxy =
        Proxy::with(format!("global:\n  reload_on_change: true\n{pool}")).workers(2).start();
    let path = proxy.dir().join("conf.yml");
    let first = fs::read_to_string(&path).expect("the configuration");
    mount(&proxy, "1", &first);
    fs::remove_file(&path).expect("remove the file");
    symlink("mounted/..data/nutcracker.yml", &path).expect("a link");
    let loaded = |proxy: &Proxy, count| {
        eventually("the change is noticed", || (proxy.reloads() == (count, 0)).then_some(()));
    };
    loaded(&proxy, 1);
    let mut client = proxy.client();
    let second = first.replace("alpha:", "alpha:\n  timeout: 1000");
    mount(&proxy, "2", &second);
    loaded(&proxy, 2);
    assert!(proxy.log().contains("reloaded: pool changed: 'alpha'"), "{}", proxy.log());
    fs::write(&path, second.replace("1000", "2000")).expect("rewrite it in place");
    loaded(&proxy, 3);
    fs::write(&path, first.replace("true", "false").replace("redis: false", "redis: true"))
        .expect("rewrite it in place");
    loaded(&proxy, 4);
    client.expect_usable();
    proxy.reload_by(Signal::USR1);
    assert_eq!(proxy.reloads(), (5, 0));
}

#[test]
fn a_reload_does_not_keep_the_process_from_ending() {
    let server = RealServer::redis();
    let mut proxy = Proxy::with(Pool::redis(&[&server])).workers(2).start();
    let mut client = proxy.client();
    client.expect_usable();
    fs::write(proxy.dir().join("conf.yml"), "{").expect("a broken file");
    proxy.signal(Signal::USR1);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait_for_end().code(), Some(0));
    assert!(Client::try_connect(proxy.address(0)).is_err());
}
