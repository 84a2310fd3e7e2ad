//! Counts and hashes a list as it is read.

use std::io::{self, BufRead, BufReader, Read};

use sha2::{Digest as _, Sha256};

use crate::digest::hex;

/// A reader that knows how much went by, and its hash.
pub struct Hashed<R> {
    input: BufReader<R>,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    /// Of an input.
    pub fn new(input: R) -> Self {
        Self { input: BufReader::new(input), hash: Sha256::new(), bytes: 0 }
    }

    /// Reads what is left; the bytes of all, and their SHA-256 in lower-case hexadecimal.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn finish(mut self) -> io::Result<(u64, String)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.bytes, hex(&self.hash.finalize())))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        self.hash.update(&buffer[..bytes]);
        self.bytes += bytes as u64;
        Ok(bytes)
    }
}

impl<R: Read> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.hash.update(&self.input.buffer()[..bytes]);
        self.bytes += bytes as u64;
        self.input.consume(bytes);
    }
}
