//! `segments_end`, which finds the end of an ELF program, on any input.

use rstest::rstest;
use xtask::link::segments_end;

/// A 64-bit program of one segment: class, byte order, then the header fields that are read.
fn program(offset: u64, size: u64) -> Vec<u8> {
    let mut elf = vec![0; 120];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[32] = 64;
    elf[54] = 56;
    elf[56] = 1;
    elf[72..80].copy_from_slice(&offset.to_le_bytes());
    elf[96..104].copy_from_slice(&size.to_le_bytes());
    elf
}

#[test]
fn what_follows_the_last_segment_is_not_the_programs() {
    let mut elf = program(0, 130);
    elf.resize(400, 0);
    assert_eq!(segments_end(&elf), Some(130));
}

#[test]
fn the_table_of_segments_is_kept_whatever_they_hold() {
    let mut elf = program(0, 10);
    elf.resize(400, 0);
    assert_eq!(segments_end(&elf), Some(120));
}

#[rstest]
#[case::empty(Vec::new())]
#[case::script(b"#!/bin/sh\n".to_vec())]
#[case::header_alone(program(0, 100)[..64].to_vec())]
#[case::cut_short(program(0, 4096))]
#[case::overflow(program(u64::MAX, 2))]
fn what_is_no_whole_program_has_no_end(#[case] elf: Vec<u8>) {
    assert_eq!(segments_end(&elf), None);
}

#[test]
fn every_value_of_every_byte_of_the_header_is_survived() {
    for at in 4..120 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut elf = program(0, 120);
            for byte in elf.iter_mut().skip(at).take(8) {
                *byte = value;
            }
            let _ = segments_end(&elf);
        }
    }
}
