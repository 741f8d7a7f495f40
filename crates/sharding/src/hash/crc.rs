//! The CRC family. `crc32a` is the catalogued CRC-32; the other two are what libmemcached made of their namesakes.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// PERF: sixteen lookup tables take keys 16 bytes at a time (bench `lookup`).
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The ordinary CRC-32 (IEEE 802.3).
pub(super) fn crc32a(key: &[u8]) -> u32 {
    CRC32.checksum(key)
}

/// Bits 16 to 30 of the CRC-32: never more than 32767.
pub(super) fn crc32(key: &[u8]) -> u32 {
    (crc32a(key) >> 16) & 0x7fff
}

/// CRC-16/CCITT (polynomial 0x1021, most significant bit first, starting at 0) in a register of 32 bits.
///
/// COMPAT: twemproxy 0.5 never masks the register to 16 bits, so what a CRC-16 shifts out stays in the result.
pub(super) fn crc16(key: &[u8]) -> u32 {
    key.iter().fold(0, |crc: u32, &byte| {
        let index = ((crc >> 8) as u8) ^ byte;
        (crc << 8) ^ u32::from(CRC16_TABLE[usize::from(index)])
    })
}

static CRC16_TABLE: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_half_of_crc16_is_the_catalogued_xmodem_crc() {
        let catalogued = Crc::<u16>::new(&crc::CRC_16_XMODEM);
        for key in [&b""[..], b"1", b"123456789", b"\xff\x80 binary \x00"] {
            assert_eq!(crc16(key) as u16, catalogued.checksum(key));
        }
    }
}
