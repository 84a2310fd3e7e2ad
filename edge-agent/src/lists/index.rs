//! Which entries a number may belong to: ten million of them in 84 MB, found in one or two looks.
//!
//! The numbers are spread evenly ([`super::fingerprint`]), so their first bits say where to look: one
//! bucket for every eight or so entries, and a word of 64 bits for each entry, which holds the next 32 bits
//! of its number and its place in the list. In a bucket the words are in order.
//!
//! Two entries whose numbers agree in the bits that are kept are told apart by whoever looks at the
//! entries themselves: the index names *candidates*.

use std::{
    fmt,
    io::{self, Read, Write},
};

/// Most entries of one index.
pub const MAX_ENTRIES: usize = 16_000_000;
/// Entries to a bucket, as a power of two.
const BUCKET: u32 = 3;

/// An index.
#[derive(Clone, PartialEq, Eq)]
pub struct Index {
    /// Bits of a number that choose its bucket.
    bits: u32,
    /// Where each bucket begins, and the end of the last.
    starts: Vec<u32>,
    /// Part of the number, and the entry's place.
    words: Vec<u64>,
}

/// Not its numbers.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} entries)", self.len())
    }
}

/// What is wrong with a stored index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not what was written.
    #[error("the index of a list is damaged: {0}")]
    Damaged(&'static str),
    /// It can't be read to its end.
    #[error("the index of a list can't be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Takes numbers and makes an index of them.
#[derive(Default)]
pub struct Builder(Vec<[u8; 12]>);

impl Builder {
    /// One entry's number and its place in the list.
    pub fn push(&mut self, number: u64, place: u32) {
        let mut pair = [0; 12];
        pair[..8].copy_from_slice(&number.to_be_bytes());
        pair[8..].copy_from_slice(&place.to_be_bytes());
        self.0.push(pair);
    }

    /// The index; entries above [`MAX_ENTRIES`] must not have been pushed.
    #[must_use]
    pub fn build(self) -> Index {
        let Self(mut pairs) = self;
        pairs.sort_unstable();
        let bits = (pairs.len() as u64).max(1).ilog2().saturating_sub(BUCKET);
        let pairs = pairs.iter().map(|pair| {
            let number = pair[..8].iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
            let place = pair[8..].iter().fold(0, |n: u32, byte| n << 8 | u32::from(*byte));
            (bucket(number, bits), word(number, bits, place))
        });
        let mut index = Index { bits, starts: vec![0], words: Vec::with_capacity(pairs.len()) };
        for (bucket, word) in pairs {
            let begun = index.words.len() as u32;
            index.starts.resize(bucket + 1, begun);
            index.words.push(word);
        }
        let all = index.words.len() as u32;
        index.starts.resize((1 << bits) + 1, all);
        index
    }
}

fn bucket(number: u64, bits: u32) -> usize {
    // A shift by all 64 bits is none.
    number.checked_shr(64 - bits).unwrap_or(0) as usize
}

/// The part of a number that a word holds, in its upper half.
fn part(number: u64, bits: u32) -> u64 {
    (number << bits) >> 32 << 32
}

fn word(number: u64, bits: u32, place: u32) -> u64 {
    part(number, bits) | u64::from(place)
}

impl Index {
    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.words)
    }

    /// Places of the entries that a number may belong to.
    pub fn find(&self, number: u64) -> impl Iterator<Item = u32> {
        let at = bucket(number, self.bits);
        let bounds = self.starts.get(at).zip(self.starts.get(at + 1));
        let words = bounds.and_then(|(from, to)| self.words.get(*from as usize..*to as usize));
        let words = words.unwrap_or_default();
        let part = part(number, self.bits);
        let from = words.partition_point(|word| *word < part);
        let same = words[from..].iter().take_while(move |word| **word >> 32 == part >> 32);
        same.map(|word| *word as u32)
    }

    /// Writes its stored form: number of bits, number of entries, starts of buckets, words; little-endian.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.bits.to_le_bytes())?;
        to.write_all(&(self.words.len() as u64).to_le_bytes())?;
        self.starts.iter().try_for_each(|start| to.write_all(&start.to_le_bytes()))?;
        self.words.iter().try_for_each(|word| to.write_all(&word.to_le_bytes()))
    }

    /// Reads what [`Self::write`] wrote, to the end of `from`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn read(from: &mut dyn Read) -> Result<Self, IndexError> {
        let (mut bits, mut entries) = ([0; 4], [0; 8]);
        from.read_exact(&mut bits)?;
        from.read_exact(&mut entries)?;
        let (bits, entries) = (u32::from_le_bytes(bits), u64::from_le_bytes(entries));
        let fits =
            entries <= MAX_ENTRIES as u64 && bits == entries.max(1).ilog2().saturating_sub(BUCKET);
        if !fits {
            return Err(IndexError::Damaged("its head does not fit"));
        }
        let starts = numbers(from, (1 << bits) + 1, u32::from_le_bytes)?;
        if !starts.is_sorted() || starts.last().map(|end| u64::from(*end)) != Some(entries) {
            return Err(IndexError::Damaged("its buckets do not fit"));
        }
        let words = numbers(from, entries as usize, u64::from_le_bytes)?;
        match from.read(&mut [0])? {
            0 => Ok(Self { bits, starts, words }),
            _ => Err(IndexError::Damaged("it is too long")),
        }
    }
}

/// Reads so many numbers, memory growing with what is really there.
fn numbers<T, const N: usize>(
    from: &mut dyn Read,
    count: usize,
    number: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, IndexError> {
    let mut numbers = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    while numbers.len() < count {
        let some = (count - numbers.len()).min(bytes.len() / N);
        from.read_exact(&mut bytes[..some * N])?;
        numbers.reserve_exact(if numbers.is_empty() { count } else { 0 });
        numbers.extend(bytes[..some * N].as_chunks().0.iter().map(|bytes| number(*bytes)));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn index(pairs: &[(u64, u32)]) -> Index {
        let mut builder = Builder::default();
        pairs.iter().for_each(|(number, place)| builder.push(*number, *place));
        builder.build()
    }

    fn stored(index: &Index) -> Vec<u8> {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        bytes
    }

    /// Few numbers, so that some come twice, at both ends of what there is and between.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..4_u64,
            (0..4_u64).prop_map(|n| u64::MAX - n),
            (0..64_u64).prop_map(|n| n << 58)
        ]
    }

    proptest! {
        #[test]
        fn every_entry_of_a_number_is_found_and_none_of_a_number_that_differs_in_the_kept_bits(
            numbers in vec(number(), 0..300), asked in number(),
        ) {
            let pairs: Vec<_> = numbers.iter().copied().zip(0..).collect();
            let index = index(&pairs);
            let kept = |n: u64| (bucket(n, index.bits), part(n, index.bits));
            let mut expected = BTreeMap::<_, Vec<u32>>::new();
            pairs.iter().for_each(|(n, place)| expected.entry(kept(*n)).or_default().push(*place));
            for asked in numbers.iter().copied().chain([asked]) {
                let mut found: Vec<_> = index.find(asked).collect();
                found.sort_unstable();
                prop_assert_eq!(found, expected.get(&kept(asked)).cloned().unwrap_or_default());
            }
            prop_assert!(Index::read(&mut &*stored(&index)).unwrap() == index);
        }

        #[test]
        fn no_bytes_make_reading_or_a_look_panic(bytes in vec(any::<u8>(), 0..200), asked in any::<u64>()) {
            if let Ok(index) = Index::read(&mut &*bytes) {
                let _ = index.find(asked).count();
            }
        }

        #[test]
        fn a_damaged_index_is_refused_or_looks_somewhere_else(
            at in any::<proptest::sample::Index>(), bit in 0..8_u32, asked in any::<u64>(),
        ) {
            let mut bytes = stored(&index(&[(1, 0), (5 << 60, 1), (asked, 2)]));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(index) = Index::read(&mut &*bytes) {
                let _ = index.find(asked).count();
            }
        }
    }

    #[test]
    fn an_index_of_many_finds_each_and_is_small() {
        let numbers = (0..100_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let pairs: Vec<_> = numbers.zip(0..).collect();
        let index = index(&pairs);
        assert!(pairs.iter().all(|(number, place)| index.find(*number).eq([*place])));
        assert!(index.bytes() < 9 * pairs.len(), "{} bytes", index.bytes());
    }
}
