//! How many clients come from each address, for the limit by address: shared by the workers, touched only when a client
//! comes or goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::sync::{AtomicU32, Mutex, MutexGuard};

/// Entries kept allocated while there is no client.
const ENTRIES_KEPT: usize = 64;

/// The clients of one pool by address. Holds an entry for each address that has a client, and none without a limit.
#[derive(Debug, Default)]
pub struct Addresses {
    /// 0 for any number.
    max: AtomicU32,
    clients: Mutex<HashMap<IpAddr, u32>>,
}

/// An address as logs and limits know it: an IPv4 client of a listener for both families is an IPv4 client.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The place of one client; dropping it leaves the place to others.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    ip: IpAddr,
}

/// The address has as many clients as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Addresses {
    /// Admits up to `max` clients of an address at once, 0 for any number.
    #[must_use]
    pub fn new(max: u32) -> Arc<Addresses> {
        Arc::new(Addresses { max: max.into(), clients: Mutex::default() })
    }

    /// Clients of an address at once, 0 for any number.
    pub(super) fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// Changes the limit for clients to come. Those that came while there was none stay uncounted.
    pub(super) fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A place for a client from `ip`, which is [`canonical`]; none is needed where there is no limit.
    pub(super) fn admit(self: &Arc<Addresses>, ip: IpAddr) -> Result<Option<Place>, Full> {
        let max = self.max();
        if max == 0 {
            return Ok(None);
        }
        let mut clients = self.lock();
        let count = clients.entry(ip).or_default();
        if *count >= max {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(Place { addresses: Arc::clone(self), ip }))
    }

    /// A worker that panicked in here left the counts in order: each change is a single one.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.addresses.lock();
        if let Entry::Occupied(mut count) = clients.entry(self.ip) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        // What a crowd of addresses left behind.
        if clients.is_empty() {
            clients.shrink_to(ENTRIES_KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn place(addresses: &Arc<Addresses>, from: &str) -> Place {
        addresses.admit(ip(from)).expect("a free place").expect("a limit")
    }

    #[test]
    fn an_address_has_as_many_places_as_the_limit_says() {
        let addresses = Addresses::new(2);
        let first = place(&addresses, "10.0.0.1");
        let _second = place(&addresses, "10.0.0.1");
        assert_eq!(addresses.admit(ip("10.0.0.1")).unwrap_err(), Full);
        let _other = place(&addresses, "10.0.0.2");
        drop(first);
        let _third = place(&addresses, "10.0.0.1");
        assert_eq!(addresses.admit(ip("10.0.0.1")).unwrap_err(), Full);
    }

    #[test]
    fn a_new_limit_counts_the_clients_that_are_there() {
        let addresses = Addresses::new(2);
        let _places = [place(&addresses, "10.0.0.1"), place(&addresses, "10.0.0.1")];
        addresses.set_max(1);
        assert_eq!(addresses.admit(ip("10.0.0.1")).unwrap_err(), Full);
        addresses.set_max(3);
        let _third = place(&addresses, "10.0.0.1");
        assert_eq!(addresses.admit(ip("10.0.0.1")).unwrap_err(), Full);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_that_it_means() {
        for (address, meant) in [
            ("[::ffff:10.0.0.1]:7", "10.0.0.1:7"),
            ("10.0.0.1:7", "10.0.0.1:7"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ] {
            assert_eq!(canonical(address.parse().expect("an address")).to_string(), meant);
        }
    }

    #[test]
    fn addresses_without_clients_are_forgotten() {
        let addresses = Addresses::new(3);
        let places: Vec<Place> = (0..50_000_u32)
            .map(|n| place(&addresses, &std::net::Ipv4Addr::from(n).to_string()))
            .collect();
        assert_eq!(addresses.lock().len(), 50_000);
        drop(places);
        assert_eq!(addresses.lock().len(), 0);
        assert!(addresses.lock().capacity() < 1000);
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let addresses = Addresses::new(0);
        assert!(matches!(addresses.admit(ip("10.0.0.1")), Ok(None)));
        assert_eq!(addresses.lock().capacity(), 0);
    }
}
