//! How many clients come from each address, for the limit by address: shared by the workers, touched only when a client
//! comes or goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The clients of one pool by address. Holds an entry for each address that has a client, and none without a limit.
#[derive(Debug, Default)]
pub struct Addresses {
    /// 0 for any number.
    max: u32,
    clients: Mutex<HashMap<IpAddr, u32>>,
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
        Arc::new(Addresses { max, clients: Mutex::default() })
    }

    /// Clients of an address at once, 0 for any number.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// A place for a client from `ip`; none is needed where there is no limit. An IPv4 address counts together with its
    /// IPv6-mapped form.
    pub(super) fn admit(self: &Arc<Addresses>, ip: IpAddr) -> Result<Option<Place>, Full> {
        if self.max == 0 {
            return Ok(None);
        }
        let ip = ip.to_canonical();
        let mut clients = self.lock();
        let count = clients.entry(ip).or_default();
        if *count >= self.max {
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

/// Entries kept allocated while there is no client.
const ENTRIES_KEPT: usize = 64;

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
    fn a_mapped_address_shares_the_places_of_its_ipv4_address() {
        let addresses = Addresses::new(1);
        let _place = place(&addresses, "::ffff:10.0.0.1");
        assert_eq!(addresses.admit(ip("10.0.0.1")).unwrap_err(), Full);
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
