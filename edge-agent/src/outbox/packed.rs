//! Records are packed before they are sealed: a read's JSON has its names and its shape in common with every
//! other, so a fifth of it is left. What is not written wears no flash, and sled's memory goes by its pages.

use std::{
    io,
    sync::{LazyLock, Mutex, PoisonError},
};

use zstd::{
    bulk::{Compressor, Decompressor},
    dict::{DecoderDictionary, EncoderDictionary},
};

use super::MAX_RECORD_BYTES;

/// zstd's fastest but one: a slower one leaves hardly less of so little.
const LEVEL: i32 = 3;
/// One record of each kind, as the demo clip gives them. Part of the format: with another, what is stored can't
/// be read.
const COMMON: &[u8] = include_bytes!("packed.dictionary");
static PACKING: LazyLock<EncoderDictionary<'_>> =
    LazyLock::new(|| EncoderDictionary::copy(COMMON, LEVEL));
static UNPACKING: LazyLock<DecoderDictionary<'_>> =
    LazyLock::new(|| DecoderDictionary::copy(COMMON));

/// What zstd works with, used again: as much as many records, it would leave holes in the memory of each thread.
type Shared<T> = LazyLock<io::Result<Mutex<T>>>;
static PACKER: Shared<Compressor<'_>> =
    LazyLock::new(|| Compressor::with_prepared_dictionary(&PACKING).map(Mutex::new));
static UNPACKER: Shared<Decompressor<'_>> =
    LazyLock::new(|| Decompressor::with_prepared_dictionary(&UNPACKING).map(Mutex::new));

fn with<T, R>(shared: &Shared<T>, work: impl FnOnce(&mut T) -> io::Result<R>) -> io::Result<R> {
    match &**shared {
        Ok(shared) => work(&mut shared.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// Packs a record.
pub(super) fn pack(plain: &[u8]) -> io::Result<Vec<u8>> {
    with(&PACKER, |packer| packer.compress(plain))
}

/// The inverse of [`pack`]; an error for what it did not make, and for what is larger than a record may be.
pub(super) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    with(&UNPACKER, |unpacker| unpacker.decompress(packed, MAX_RECORD_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back_and_is_hardly_ever_larger(plain in vec(any::<u8>(), 0..MAX_RECORD_BYTES)) {
            let packed = pack(&plain).unwrap();
            prop_assert!(packed.len() <= plain.len() + 32);
            prop_assert_eq!(unpack(&packed).unwrap(), plain);
        }

        #[test]
        fn no_bytes_make_unpacking_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn a_third_is_left_of_a_read_at_the_most() {
        let body = milepost_wire::examples::read().to_json().unwrap();
        assert!(pack(&body).unwrap().len() * 3 <= body.len());
    }

    #[test]
    fn a_record_larger_than_any_is_refused() {
        let packed = pack(&vec![b'a'; MAX_RECORD_BYTES + 1]).unwrap();
        assert!(unpack(&packed).is_err());
    }
}
