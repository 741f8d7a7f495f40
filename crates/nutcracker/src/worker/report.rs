//! What happened in a worker, in the words that operators of twemproxy grep for.

use std::net::SocketAddr;

use engine::Event;
use engine::topology::Pool;
use proto::resp::Reason;

/// What an operator should know about a client that begins as a load balancer does.
const HINT: &str = "; if this is the PROXY header of a load balancer, see 'proxy_protocol'";

/// Logs one event of `pool`, which has this index.
pub(super) fn log(event: &Event, index: u32, pool: &Pool) {
    let name = &pool.name;
    match *event {
        Event::Failed { .. } | Event::Replied { .. } => {}
        Event::Ejected { server, .. }
        | Event::Trial { server, .. }
        | Event::StillDown { server, .. }
        | Event::EjectionPrevented { server, .. }
        | Event::Readmitted { server, .. } => {
            log_standing(event, index, pool, server);
        }
        Event::Restored { servers, .. } => {
            log::warn!("update pool {index} '{name}' to add {servers} servers");
        }
        Event::LinkBroken { server, text, requests, timed_out, .. } => {
            let requests = requests + timed_out;
            let server = server_at(pool, server);
            log::warn!("close s '{server}' in pool '{name}', {requests} requests failed: {text}");
        }
        Event::HandshakeRefused { server, step, reply, .. } => {
            let server = server_at(pool, server);
            let reply = reply.as_str().trim_start_matches('-');
            let fix = match step {
                "SELECT" => format!(
                    "check redis_db: {} against the server's number of databases",
                    pool.redis_db
                ),
                _ => "check redis_auth against the server's password".into(),
            };
            log::error!(
                "{step} failed on {name} | {server}: {reply}; nothing is sent to this server, {fix}"
            );
        }
        Event::PasswordNotNeeded { server, .. } => {
            let server = server_at(pool, server);
            log::warn!("AUTH on {name} | {server}: the server has no password, it is used without");
        }
        Event::CrossShard { command, .. } => {
            log::warn!(
                "'{command}' in pool '{name}' has keys on several shards and goes to the shard of the first; \
                 set 'cross_shard: error' to refuse it"
            );
        }
        Event::UnsupportedCommand { peer, command, .. } => {
            let command = command.as_str();
            // The binary header begins with a blank line.
            let hint = if matches!(command, "PROXY" | "") { HINT } else { "" };
            log::warn!(
                "parsed unsupported command '{command}' in pool '{name}' from {}{hint}",
                client(peer)
            );
        }
        Event::Malformed { peer, reason, .. } => {
            let hint = if reason == Reason::EmptyRequest.text() { HINT } else { "" };
            log::warn!("close {} in pool '{name}': {reason}{hint}", client(peer));
        }
        Event::BinaryProtocol { peer, .. } => {
            log::warn!(
                "close {} in pool '{name}': it speaks memcached's binary protocol, which is not served; \
                 switch the client to the text protocol",
                client(peer)
            );
        }
        Event::IncompleteRequest { peer, bytes, .. } => {
            log::warn!(
                "eof {} in pool '{name}' discarding incomplete req len {bytes}",
                client(peer)
            );
        }
    }
}

/// Logs that a client is served. One that a load balancer announced came through the address of that.
pub(super) fn accepted(peer: Option<SocketAddr>, pool: &str, balancer: Option<SocketAddr>) {
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    let through = balancer.map(|balancer| format!(" through '{balancer}'"));
    log::info!("accepted {} in pool '{pool}'{}", client(peer), through.unwrap_or_default());
}

/// Logs that an address has as many clients as it may.
pub(super) fn refused(peer: Option<SocketAddr>, pool: &str, max: u32) {
    log::warn!(
        "refused {} in pool '{pool}': its address has {max} clients, the most that 'max_clients_per_address' allows",
        client(peer)
    );
}

/// A client as twemproxy writes it: `c`, and its address where it has one.
pub(super) fn client(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "c".into(), |peer| format!("c '{peer}'"))
}

/// Logs how an ejected server fares.
fn log_standing(event: &Event, index: u32, pool: &Pool, server: u32) {
    let (name, server) = (&pool.name, server_at(pool, server));
    let seconds = pool.ejection.map_or(0, |ejection| ejection.retry_timeout.as_secs());
    match event {
        Event::Ejected { .. } => log::warn!(
            "update pool {index} '{name}' to delete server '{server}' for next {seconds} secs"
        ),
        Event::Trial { .. } => {
            log::warn!("one request of pool '{name}' tries the deleted server '{server}'");
        }
        Event::StillDown { reason, .. } => log::warn!(
            "server '{server}' of pool {index} '{name}' stays deleted for next {seconds} secs: {}",
            reason.as_str()
        ),
        Event::EjectionPrevented { .. } => log::warn!(
            "server '{server}' of pool {index} '{name}' keeps failing and is not deleted, for too many are \
             (max_ejected_percent)"
        ),
        Event::Readmitted { .. } => {
            log::warn!("update pool {index} '{name}' to add 1 servers: '{server}' answers again");
        }
        _ => {}
    }
}

fn server_at(pool: &Pool, server: u32) -> &str {
    &pool.servers[server as usize].display_name
}
