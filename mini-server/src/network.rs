//! By what callers are told apart where there is no other way.

use std::net::IpAddr;

/// Where somebody comes from: an IPv4 address, or the network that one customer has in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// IPv4.
    V4([u8; 4]),
    /// The first 64 bits of IPv6.
    V6([u16; 4]),
}

impl Network {
    /// Where `address` belongs.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}
