//! The twelve hash functions of twemproxy 0.5, each giving 32 bits.
//!
//! The names promise more than the functions keep: several are historical variants (truncated, unmasked, reading
//! bytes as signed) whose exact results decide where existing data lives. Each file below says how its function
//! differs from the algorithm it is named after.
//!
//! COMPAT: twemproxy 0.5 on x86-64. Where it reads `char`, bytes from 0x80 up are negative there; that meaning is kept
//! on every platform, also where the original read them unsigned.

mod crc;
mod fnv;
mod hsieh;
mod jenkins;
mod md5;
mod murmur;

pub(crate) use md5::words as md5_words;

/// One of the twelve hash functions (`hash:` of a pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// `one_at_a_time`: Bob Jenkins' one-at-a-time, signed bytes.
    OneAtATime,
    /// `md5`: the first four digest bytes, little-endian.
    Md5,
    /// `crc16`: CRC-16/CCITT whose register is never cut to 16 bits.
    Crc16,
    /// `crc32`: bits 16 to 30 of the ordinary CRC-32. With ketama practically every key lands on one server.
    Crc32,
    /// `crc32a`: the ordinary CRC-32.
    Crc32a,
    /// `fnv1_64`: low half of the 64-bit FNV-1, signed bytes.
    Fnv1x64,
    /// `fnv1a_64`, the default: low half of the 64-bit FNV-1a, signed bytes.
    Fnv1a64,
    /// `fnv1_32`: FNV-1, signed bytes.
    Fnv1x32,
    /// `fnv1a_32`: FNV-1a, signed bytes.
    Fnv1a32,
    /// `hsieh`: SuperFastHash seeded with 0.
    Hsieh,
    /// `murmur`: MurmurHash2 seeded from the length.
    Murmur,
    /// `jenkins`: Bob Jenkins' lookup3, seed 13.
    Jenkins,
}

impl Hash {
    /// Every hash function, in the order of their declaration.
    pub const ALL: [Hash; 12] = [
        Hash::OneAtATime,
        Hash::Md5,
        Hash::Crc16,
        Hash::Crc32,
        Hash::Crc32a,
        Hash::Fnv1x64,
        Hash::Fnv1a64,
        Hash::Fnv1x32,
        Hash::Fnv1a32,
        Hash::Hsieh,
        Hash::Murmur,
        Hash::Jenkins,
    ];

    /// The spelling in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Hash::OneAtATime => "one_at_a_time",
            Hash::Md5 => "md5",
            Hash::Crc16 => "crc16",
            Hash::Crc32 => "crc32",
            Hash::Crc32a => "crc32a",
            Hash::Fnv1x64 => "fnv1_64",
            Hash::Fnv1a64 => "fnv1a_64",
            Hash::Fnv1x32 => "fnv1_32",
            Hash::Fnv1a32 => "fnv1a_32",
            Hash::Hsieh => "hsieh",
            Hash::Murmur => "murmur",
            Hash::Jenkins => "jenkins",
        }
    }

    /// The hash of `key`, any bytes, also none.
    ///
    /// A pool never hashes an empty key, see [`Sharder::shard`](crate::Sharder::shard).
    #[inline]
    pub fn of(self, key: &[u8]) -> u32 {
        self.function()(key)
    }

    #[inline]
    fn function(self) -> fn(&[u8]) -> u32 {
        match self {
            Hash::OneAtATime => jenkins::one_at_a_time,
            Hash::Md5 => |key| md5_words(key)[0],
            Hash::Crc16 => crc::crc16,
            Hash::Crc32 => crc::crc32,
            Hash::Crc32a => crc::crc32a,
            Hash::Fnv1x64 => fnv::fnv1_64,
            Hash::Fnv1a64 => fnv::fnv1a_64,
            Hash::Fnv1x32 => fnv::fnv1_32,
            Hash::Fnv1a32 => fnv::fnv1a_32,
            Hash::Hsieh => hsieh::hsieh,
            Hash::Murmur => murmur::murmur,
            Hash::Jenkins => jenkins::lookup3,
        }
    }
}

/// The byte as x86-64 C code sees a `char`: signed, widened to 32 bits.
#[inline]
const fn signed(byte: u8) -> u32 {
    byte.cast_signed() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apple_hashes_as_in_libmemcached() {
        let expected = [
            2297466611, 3195025439, 3662830516, 10542, 2838417488, 473199127, 1488911807, 67176023,
            280767167, 3738850110, 4142305122, 1442444624,
        ];
        assert_eq!(Hash::ALL.map(|hash| hash.of(b"apple")), expected);
    }

    #[test]
    fn the_default_function_gives_the_published_values() {
        assert_eq!(Hash::Fnv1a64.of(b"foo"), 4275688823);
        assert_eq!(Hash::Fnv1a64.of(b"bar"), 322520602);
        assert_eq!(Hash::Fnv1a64.of(b"key-1"), 2515697318);
        assert_eq!(Hash::Fnv1a64.of(b"user:{1}"), 3519647327);
    }

    #[test]
    fn bytes_above_ascii_count_as_negative() {
        assert_eq!(Hash::Fnv1a64.of("user:é".as_bytes()), 3703430232);
        assert_eq!(Hash::Fnv1a64.of("キー".as_bytes()), 1364815027);
        assert_eq!(Hash::OneAtATime.of("user:é".as_bytes()), 2190993345);
    }
}
