//! Where a client comes from, in the few bytes that a record of a client can spare.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The address of a client, or none: 18 bytes where the type of the standard library takes 32.
///
/// An IPv4 address and its IPv6-mapped form are the same client and read back as IPv4. Flow label and zone of an IPv6
/// address are not kept. The unspecified address at port 0, from which nobody connects, stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    ip: [u8; 16],
    port: u16,
}

impl From<Option<SocketAddr>> for PeerAddress {
    fn from(address: Option<SocketAddr>) -> PeerAddress {
        let Some(address) = address else { return PeerAddress::default() };
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        PeerAddress { ip: ip.octets(), port: address.port() }
    }
}

impl From<PeerAddress> for Option<SocketAddr> {
    fn from(address: PeerAddress) -> Option<SocketAddr> {
        let PeerAddress { ip, port } = address;
        if address == PeerAddress::default() {
            return None;
        }
        let ip = Ipv6Addr::from(ip);
        Some(match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::from((ip, port)),
            None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, 0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(address: &str) -> Option<SocketAddr> {
        PeerAddress::from(Some(address.parse().expect("an address"))).into()
    }

    #[test]
    fn addresses_read_back_as_they_were_kept() {
        for address in ["127.0.0.1:1", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:6379"] {
            assert_eq!(kept(address), address.parse().ok());
        }
        assert_eq!(Option::<SocketAddr>::from(PeerAddress::from(None)), None);
    }

    #[test]
    fn a_mapped_address_reads_back_as_the_ipv4_address_that_it_is() {
        assert_eq!(kept("[::ffff:10.0.0.7]:5"), "10.0.0.7:5".parse().ok());
    }

    #[test]
    fn an_address_takes_18_bytes() {
        assert_eq!(size_of::<PeerAddress>(), 18);
    }
}
