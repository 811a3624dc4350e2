//! The agent's program, carried in the emulator.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

/// The agent: a static ELF program for this computer's architecture.
pub const ELF: &[u8] = include_bytes!(env!("MIOSA_AGENT_ELF"));

/// Twelve hex digits that name this agent and no other.
pub fn fingerprint() -> &'static str {
    static FINGERPRINT: OnceLock<String> = OnceLock::new();
    FINGERPRINT.get_or_init(|| {
        let mut hex = format!("{:x}", Sha256::digest(ELF));
        hex.truncate(12);
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(at: usize, width: usize) -> usize {
        ELF[at..at + width].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    }

    #[test]
    fn the_agent_needs_no_interpreter_and_is_small() {
        const PT_DYNAMIC: usize = 2;
        const PT_INTERP: usize = 3;
        assert_eq!(&ELF[..6], b"\x7fELF\x02\x01", "64-bit little-endian ELF");
        let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
        assert!(count > 0);
        for header in 0..count {
            let kind = number(table + header * size, 4);
            assert!(kind != PT_INTERP && kind != PT_DYNAMIC, "segment of kind {kind}");
        }
        assert!(ELF.len() < 4 * 1024 * 1024, "{} bytes", ELF.len());
    }

    #[test]
    fn the_fingerprint_is_fit_for_a_name() {
        assert_eq!(fingerprint().len(), 12);
        assert!(fingerprint().bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
