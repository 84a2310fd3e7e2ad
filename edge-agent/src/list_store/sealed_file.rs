//! A large file, sealed in frames: each is sealed by itself, in the context of its place, so that a file
//! can be read from its beginning, or one frame at a time, and no frame can stand in another's place.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::sealing::{KeyUse, Keyring, SealingError, blob};

/// Plain bytes of a frame of a stream.
const FRAME: usize = 1 << 20;

/// Length in front of a frame of a stream.
const LENGTH: usize = 4;

/// Context of one frame.
fn context(name: &str, frame: u64) -> Vec<u8> {
    format!("list {name} {frame}").into_bytes()
}

fn sealing(error: SealingError) -> io::Error {
    io::Error::other(error)
}

/// A file that is written from its beginning to its end.
pub struct Writer {
    keyring: Keyring,
    name: String,
    file: BufWriter<File>,
    plain: Vec<u8>,
    frame: u64,
}

impl Writer {
    /// A new file; `name` is what it is, and must be given again to read it.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn create(path: &Path, keyring: &Keyring, name: &str) -> io::Result<Self> {
        let file = BufWriter::new(File::create_new(path)?);
        Ok(Self {
            keyring: keyring.clone(),
            name: name.into(),
            file,
            plain: Vec::with_capacity(FRAME),
            frame: 0,
        })
    }

    /// Goes on with a file that may have been cut off: what is whole of it stays.
    ///
    /// # Errors
    /// Where it can't be read or written.
    pub fn resume(path: &Path, keyring: &Keyring, name: &str) -> io::Result<Self> {
        if !path.exists() {
            return Self::create(path, keyring, name);
        }
        let mut reader = Reader::open(path, keyring, name)?;
        let (mut frames, mut whole) = (0, 0);
        while reader.unseal().is_ok() && !reader.ended {
            (frames, whole) = (reader.frame, reader.file.stream_position()?);
        }
        let mut file = File::options().write(true).open(path)?;
        file.set_len(whole)?;
        file.seek(io::SeekFrom::End(0))?;
        let (file, plain) = (BufWriter::new(file), Vec::new());
        Ok(Self { keyring: keyring.clone(), name: name.into(), file, plain, frame: frames })
    }

    /// How many frames it has.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frame
    }

    /// Writes a frame of its own.
    ///
    /// # Errors
    /// Where it can't be sealed or written.
    pub fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        self.plain.extend(frame);
        self.seal()?;
        self.file.flush()
    }

    fn seal(&mut self) -> io::Result<()> {
        let context = context(&self.name, self.frame);
        let sealed = self.keyring.seal_for(KeyUse::List, &context, &self.plain);
        let sealed = sealed.map_err(sealing)?;
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(&sealed)?;
        self.frame += 1;
        self.plain.clear();
        Ok(())
    }

    /// Ends it with an empty frame, durably.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.plain.is_empty() {
            self.seal()?;
        }
        self.seal()?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(FRAME - self.plain.len());
        self.plain.extend(&bytes[..some]);
        if self.plain.len() == FRAME {
            self.seal()?;
        }
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what a [`Writer`] wrote; a file that was cut short is an error.
pub struct Reader<'a> {
    keyring: &'a Keyring,
    name: String,
    file: BufReader<File>,
    plain: Vec<u8>,
    at: usize,
    frame: u64,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Opens one.
    ///
    /// # Errors
    /// Where it can't be.
    pub fn open(path: &Path, keyring: &'a Keyring, name: &str) -> io::Result<Self> {
        let file = BufReader::new(File::open(path)?);
        let (plain, at, frame, ended) = (Vec::new(), 0, 0, false);
        Ok(Self { keyring, name: name.into(), file, plain, at, frame, ended })
    }

    fn unseal(&mut self) -> io::Result<()> {
        let mut length = [0; LENGTH];
        self.file.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME + blob::OVERHEAD_BYTES {
            return Err(io::Error::other("a frame is too long"));
        }
        let mut sealed = vec![0; length];
        self.file.read_exact(&mut sealed)?;
        self.plain =
            self.keyring.unseal(&context(&self.name, self.frame), &sealed).map_err(sealing)?;
        (self.at, self.ended) = (0, self.plain.is_empty());
        self.frame += 1;
        Ok(())
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at == self.plain.len() && !self.ended {
            self.unseal()?;
        }
        let some = bytes.len().min(self.plain.len() - self.at);
        bytes[..some].copy_from_slice(&self.plain[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

/// A file whose frames are of any length and are read one at a time; their lengths are kept elsewhere.
pub struct Chunks {
    name: String,
    file: BufWriter<File>,
    lengths: Vec<u32>,
}

impl Chunks {
    /// A new file.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn create(path: &Path, name: &str) -> io::Result<Self> {
        // Written in large pieces the system keeps it in large pieces too: of reads from its cache, one in a hundred
        // took 150 µs where the file had come 8 kB at a time.
        let file = BufWriter::with_capacity(FRAME, File::create_new(path)?);
        Ok(Self { name: name.into(), file, lengths: Vec::new() })
    }

    /// The next frame.
    ///
    /// # Errors
    /// Where it can't be sealed or written.
    pub fn push(&mut self, keyring: &Keyring, plain: &[u8]) -> io::Result<()> {
        let context = context(&self.name, self.lengths.len() as u64);
        let sealed = keyring.seal_for(KeyUse::List, &context, plain);
        let sealed = sealed.map_err(sealing)?;
        self.lengths.push(u32::try_from(sealed.len()).map_err(io::Error::other)?);
        self.file.write_all(&sealed)
    }

    /// Ends it durably; the lengths of its frames.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn finish(self) -> io::Result<Vec<u32>> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(self.lengths)
    }
}

/// Frames that can be read.
#[derive(Debug)]
pub struct ReadableChunks {
    name: String,
    file: File,
    /// Where each begins, and the end of the last.
    starts: Vec<u64>,
}

impl ReadableChunks {
    /// Opens what [`Chunks`] wrote.
    ///
    /// # Errors
    /// Where it can't be, or is not as long as its frames together.
    pub fn open(path: &Path, name: &str, lengths: &[u32]) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        starts.push(0);
        let mut end = 0;
        for length in lengths {
            end += u64::from(*length);
            starts.push(end);
        }
        if file.metadata()?.len() != end {
            return Err(io::Error::other("it is not as long as it was written"));
        }
        Ok(Self { name: name.into(), file, starts })
    }

    /// How many frames there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bytes of all of them, sealed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// One frame.
    ///
    /// # Errors
    /// Where there is none, or it can't be read or unsealed.
    pub fn get(&self, keyring: &Keyring, frame: usize) -> io::Result<Vec<u8>> {
        let none = || io::Error::other("there is no such part");
        let (from, to) = (self.starts.get(frame).ok_or_else(none)?, self.starts.get(frame + 1));
        let length = usize::try_from(to.ok_or_else(none)? - from).map_err(io::Error::other)?;
        let mut sealed = vec![0; length];
        self.file.read_exact_at(&mut sealed, *from)?;
        keyring.unseal(&context(&self.name, frame as u64), &sealed).map_err(sealing)
    }
}
