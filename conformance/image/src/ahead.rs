//! Reads a stream ahead in a thread of its own: while one processor uncompresses a big layer, the
//! other takes in what has come of it.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// How much is handed over at a time.
const PIECE: usize = 64 << 10;
/// How many pieces there are, so that reading ahead has a bound.
const PIECES: usize = 4;

/// Calls `consume` with what `reader` gives, which is read ahead. Where no thread is to be had, it
/// is read as `consume` asks for it.
///
/// An error is handed over in its turn. What `consume` leaves is not read.
pub(crate) fn read_ahead<T>(
    reader: &mut (impl Read + Send),
    consume: impl FnOnce(&mut dyn Read) -> T,
) -> T {
    let source = &mut *reader;
    let consumed = thread::scope(|scope| {
        let (full, receive) = channel();
        let (give_back, empty) = channel();
        for _ in 0..PIECES {
            // The other end is open.
            let _ = give_back.send(Vec::new());
        }
        let read = move || read_all(source, &empty, &full);
        let thread = thread::Builder::new().name("uncompress".to_owned());
        // It ends when `consume` has returned: its channels are closed then.
        match thread.spawn_scoped(scope, read) {
            Ok(_) => Ok(consume(&mut Ahead {
                receive,
                give_back,
                piece: Vec::new(),
                taken: 0,
            })),
            Err(_) => Err(consume),
        }
    });
    consumed.unwrap_or_else(|consume| consume(reader))
}

type Piece = io::Result<Vec<u8>>;

/// Fills pieces until the end, an error, or until nobody wants more.
fn read_all(reader: &mut impl Read, empty: &Receiver<Vec<u8>>, full: &Sender<Piece>) {
    for mut piece in empty {
        piece.clear();
        let read = reader.take(PIECE as u64).read_to_end(&mut piece);
        // What came before an error is handed over before it.
        let ends = !matches!(read, Ok(PIECE));
        if !piece.is_empty() && full.send(Ok(piece)).is_err() {
            return;
        }
        if let Err(error) = read {
            let _ = full.send(Err(error));
        }
        if ends {
            return;
        }
    }
}

/// The other end: what was read.
struct Ahead {
    receive: Receiver<Piece>,
    give_back: Sender<Vec<u8>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            let used = std::mem::take(&mut self.piece);
            self.taken = 0;
            if used.capacity() > 0 {
                // After the end nobody takes it.
                let _ = self.give_back.send(used);
            }
            match self.receive.recv() {
                Ok(piece) => self.piece = piece?,
                Err(_) => return Ok(0),
            }
        }
        let left = &self.piece[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes, then an error.
    struct Breaks<'a>(&'a [u8]);

    impl Read for Breaks<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("broken")),
                count => Ok(count),
            }
        }
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn what_is_read_ahead_is_the_same() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE + 5] {
            let wanted = bytes(length);
            let mut out = Vec::new();
            let read = read_ahead(&mut &wanted[..], |ahead| ahead.read_to_end(&mut out));
            assert_eq!(read.expect("it can be read"), length);
            assert!(out == wanted, "{length}");
        }
    }

    #[test]
    fn an_error_comes_after_what_was_read_before_it() {
        let wanted = bytes(2 * PIECE + 7);
        let mut out = Vec::new();
        let read = read_ahead(&mut Breaks(&wanted), |ahead| ahead.read_to_end(&mut out));
        assert_eq!(read.expect_err("it breaks").to_string(), "broken");
        assert!(out == wanted);
    }

    #[test]
    fn what_nobody_wants_is_not_read_to_its_end() {
        let mut endless = io::repeat(7);
        let first = read_ahead(&mut endless, |ahead| {
            let mut first = [0; 3];
            ahead.read_exact(&mut first).map(|()| first)
        });
        assert_eq!(first.expect("it can be read"), [7; 3]);
    }
}
