//! The Decryption Secrets Block (4.7).

/// Type of the block, and of its secrets: "TLSK".
const BLOCK: u32 = 0x0A;
const KEY_LOG: u32 = 0x544c_534b;

/// Appends a block with a key log.
pub(super) fn push_block(blocks: &mut Vec<u8>, log: &[u8]) {
    let padding = log.len().next_multiple_of(4) - log.len();
    let total = (20 + log.len() + padding) as u32;
    for word in [BLOCK, total, KEY_LOG, log.len() as u32] {
        blocks.extend_from_slice(&word.to_le_bytes());
    }
    blocks.extend_from_slice(log);
    blocks.resize(blocks.len() + padding, 0);
    blocks.extend_from_slice(&total.to_le_bytes());
}
