//! Layers as bytes: headers, extended headers, sparse maps, compression.
//!
//! The first byte counts the blocks of 512 bytes in the lowest layer, the second those in
//! the next; the third layer is what is left.

use conformance::subject::build::Packing;

use super::refold;

const BLOCK: usize = 512;

/// Whatever can be folded holds what the fold promises, and folds again to itself.
pub fn run(bytes: &[u8]) {
    let [first, second, rest @ ..] = bytes else {
        return;
    };
    let mut rest = rest.to_vec();
    mend(&mut rest);
    let mut layers = Vec::new();
    for blocks in [first, second] {
        let end = rest.len().min(usize::from(blocks % 32) * BLOCK);
        let after = rest.split_off(end);
        layers.push((rest, Packing::Plain));
        rest = after;
    }
    layers.push((rest, Packing::Plain));
    layers.retain(|(layer, _)| !layer.is_empty());
    if let Some(subject) = refold::image(layers) {
        refold::check(&subject, Packing::Plain);
    }
}

/// Makes checksums hold, without which nothing behind a header is reached.
fn mend(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
