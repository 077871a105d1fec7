//! A program's headers, and `binary:FILE` over them.

use conformance::subject::elf::Elf;
use conformance::subject::{Kind, Transport};

use super::held;

/// Every string that is read stands in the file, and what is static needs nothing else.
pub fn run(bytes: &[u8]) {
    let within = |text: &[u8]| {
        bytes
            .windows(text.len().max(1))
            .any(|part| part.starts_with(text))
    };
    match Elf::parse(bytes) {
        Ok(elf) => {
            let strings = elf
                .needed
                .iter()
                .chain(&elf.interpreter)
                .chain(&elf.library_paths);
            for text in strings {
                assert!(within(text), "{text:?}");
            }
            assert_eq!(
                elf.is_static(),
                elf.interpreter.is_none() && elf.needed.is_empty()
            );
            assert!(elf.debug_sections.len() <= 64 && elf.needed.len() <= 256);
            elf.debug_sections
                .iter()
                .for_each(|name| held::legible(name));
            held::legible(&elf.architecture.words);
        }
        Err(why) => held::legible(&why),
    }
    held::with_file(bytes, |path| {
        let path = path.to_owned();
        for subject in held::loaded(Transport::Binary { path }).unwrap_or_default() {
            assert_eq!(subject.kind, Kind::Binary);
        }
    });
}
