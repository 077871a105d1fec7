//! Digests as of the OCI image specification's descriptor.md: parsed, and computed while content streams past.

use std::fmt::{self, Write as _};
use std::io::{self, Read};

use sha2::digest::DynDigest;
use sha2::{Digest as _, Sha256, Sha512};

use super::limits::Budget;

/// Registered algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Sha512,
}

/// A well-formed digest of a registered algorithm; safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Reads `sha256:…` or `sha512:…` with lower-case hexadecimal digits of the right length.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (algorithm, digits, hex) = match text.split_once(':') {
            Some(("sha256", hex)) => (Algorithm::Sha256, 64, hex),
            Some(("sha512", hex)) => (Algorithm::Sha512, 128, hex),
            _ => return Err(format!("'{text}' is not a sha256 or sha512 digest")),
        };
        if hex.len() == digits
            && hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            Ok(Self {
                algorithm,
                hex: hex.to_owned(),
            })
        } else {
            Err(format!(
                "digest '{text}' is not {digits} lower-case hexadecimal digits"
            ))
        }
    }

    /// The digest of some bytes by SHA-256.
    pub(crate) fn sha256(bytes: &[u8]) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: hex(&Sha256::digest(bytes)),
        }
    }

    /// `sha256`.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The hexadecimal digits.
    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }

    fn hasher(&self) -> Box<dyn DynDigest + Send> {
        match self.algorithm {
            Algorithm::Sha256 => Box::new(Sha256::new()),
            Algorithm::Sha512 => Box::new(Sha512::new()),
        }
    }

    /// The digest of some bytes by the same algorithm.
    pub(crate) fn of(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        Self {
            algorithm: self.algorithm,
            hex: hex(&hasher.finalize()),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A reader that hashes and counts what passes, within a budget.
pub(crate) struct Hashed<'a, R> {
    inner: R,
    algorithm: Algorithm,
    hasher: Box<dyn DynDigest + Send>,
    count: u64,
    budget: &'a mut Budget,
}

impl<'a, R: Read> Hashed<'a, R> {
    /// Hashes by the algorithm of `like`, by SHA-256 where there is none.
    pub(crate) fn new(inner: R, like: Option<&Digest>, budget: &'a mut Budget) -> Self {
        let (algorithm, hasher) = match like {
            Some(digest) => (digest.algorithm, digest.hasher()),
            None => (
                Algorithm::Sha256,
                Box::new(Sha256::new()) as Box<dyn DynDigest + Send>,
            ),
        };
        Self {
            inner,
            algorithm,
            hasher,
            count: 0,
            budget,
        }
    }

    /// Reads what is left, and says the digest and the number of bytes of all.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64)> {
        let mut buffer = [0; 16 * 1024];
        while self.read(&mut buffer)? > 0 {}
        let digest = Digest {
            algorithm: self.algorithm,
            hex: hex(&self.hasher.finalize()),
        };
        Ok((digest, self.count))
    }
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.budget.take(count as u64)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        for text in [
            "sha256:../../../etc/passwd",
            "sha256:",
            "md5:00",
            "",
            "sha256:ABCD",
            "sha256",
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
        let empty = Digest::sha256(b"");
        assert_eq!(Digest::parse(&empty.to_string()), Ok(empty));
    }
}
