//! FNV-1a: short, and the same in every version and on every machine. For names and shares, where nobody gains from a collision.

/// The 32-bit hash.
pub fn fnv1a_32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The 64-bit hash.
pub fn fnv1a_64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes that its authors publish. If these changed, names and shares in a running cluster would change too.
    #[test]
    fn texts_have_the_published_hashes() {
        let hashes = |text| (fnv1a_32(text), fnv1a_64(text));
        assert_eq!(hashes(""), (0x811c_9dc5, 0xcbf2_9ce4_8422_2325));
        assert_eq!(hashes("a"), (0xe40c_292c, 0xaf63_dc4c_8601_ec8c));
        assert_eq!(hashes("foobar"), (0xbf9c_f968, 0x8594_4171_f739_67e8));
    }
}
