//! Neighbours of an index together as one value.
//!
//! sled holds some 240 bytes of memory for each page, also of what lies on the disk alone, and a page has
//! eight entries or so: a backlog in entries of a record each takes more memory than the agent does. Many in
//! one entry take a tenth of it.

use super::store::StoreError;

/// What a block of several entries grows to; a record of 6,000 bytes has one to itself. A page of sled's has up to
/// 20 entries for a moment, and what is larger than 128 KiB goes into a file that it never fsyncs.
pub(super) const MAX_BYTES: usize = 4096;
/// Length of the key (1 byte) and of the value (2 bytes, big-endian) before each item.
const HEAD_BYTES: usize = 3;

/// A key with its value.
pub(super) type Item = (Vec<u8>, Vec<u8>);

/// The items of a block, in the order of their keys.
pub(super) fn items(block: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), StoreError>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = split_first(rest);
        rest = item.map_or(&[], |(.., after)| after);
        let damaged = || StoreError::Damaged("a block of entries that was cut off".into());
        Some(item.map(|(key, value, _)| (key, value)).ok_or_else(damaged))
    })
}

fn split_first(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let [key, high, low, rest @ ..] = block else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key))?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((key, value, rest))
}

/// The value of a key.
pub(super) fn find<'a>(block: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, StoreError> {
    let item = items(block).find(|item| item.as_ref().map_or(true, |(there, _)| *there >= key));
    Ok(item.transpose()?.filter(|(there, _)| *there == key).map(|(_, value)| value))
}

/// The items on their own.
pub(super) fn decode(block: &[u8]) -> Result<Vec<Item>, StoreError> {
    items(block).map(|item| item.map(|(key, value)| (key.into(), value.into()))).collect()
}

/// The inverse of [`decode`].
///
/// # Errors
/// A key over 255 bytes, a value over 65 535.
pub(super) fn encode(items: &[Item]) -> Result<Vec<u8>, StoreError> {
    let mut block = Vec::with_capacity(bytes(items));
    for (key, value) in items {
        let too_long = |e: std::num::TryFromIntError| StoreError::Failed(e.to_string());
        block.push(u8::try_from(key.len()).map_err(too_long)?);
        block.extend(u16::try_from(value.len()).map_err(too_long)?.to_be_bytes());
        block.extend_from_slice(key);
        block.extend_from_slice(value);
    }
    Ok(block)
}

/// Puts an item in its place, over one with the same key; the blocks that there are then. One that is filled
/// in order is left full; one that is filled in the middle is halved.
pub(super) fn insert(mut items: Vec<Item>, item: Item) -> Vec<Vec<Item>> {
    match items.binary_search_by(|(key, _)| key.cmp(&item.0)) {
        Ok(at) => items[at] = item,
        Err(at) => items.insert(at, item),
    }
    split(items)
}

fn split(mut items: Vec<Item>) -> Vec<Vec<Item>> {
    let all = bytes(&items);
    let Some(last) = items.len().checked_sub(1).filter(|last| *last > 0 && all > MAX_BYTES) else {
        return vec![items];
    };
    let fits = bytes(&items[..last]) <= MAX_BYTES;
    let half = || (1..last).find(|at| bytes(&items[..*at]) > all / 2);
    let rest = items.split_off(if fits { last } else { half().unwrap_or(last) });
    [split(items), split(rest)].concat()
}

fn bytes(items: &[Item]) -> usize {
    items.iter().map(|(key, value)| HEAD_BYTES + key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_in_is_found_and_no_block_of_several_is_too_large(
            put in vec((any::<u8>(), vec(any::<u8>(), 0..900)), 0..60),
        ) {
            let mut model = BTreeMap::new();
            let mut blocks: Vec<Vec<Item>> = vec![Vec::new()];
            for (key, value) in put {
                let key = vec![key];
                model.insert(key.clone(), value.clone());
                let after = |block: &Vec<Item>| block.first().is_some_and(|first| first.0 > key);
                let at = blocks.iter().rposition(|block| !after(block)).unwrap_or_default();
                let block = std::mem::take(&mut blocks[at]);
                blocks.splice(at..=at, insert(block, (key, value)));
            }
            let all: Vec<Item> = blocks.concat();
            prop_assert_eq!(&all, &model.clone().into_iter().collect::<Vec<_>>());
            for block in &blocks {
                let encoded = encode(block).unwrap();
                prop_assert!(encoded.len() <= MAX_BYTES);
                prop_assert_eq!(&decode(&encoded).unwrap(), block);
                for key in 0..=u8::MAX {
                    let there = block.iter().find(|(k, _)| k[..] == [key]).map(|(_, v)| &v[..]);
                    prop_assert_eq!(find(&encoded, &[key]).unwrap(), there);
                }
            }
        }

        #[test]
        fn no_bytes_make_a_block_panic(bytes in vec(any::<u8>(), 0..200), key in any::<u8>()) {
            let _ = (decode(&bytes), find(&bytes, &[key]));
        }
    }

    #[test]
    fn blocks_that_are_filled_in_order_are_left_full() {
        let mut blocks: Vec<Vec<Item>> = vec![Vec::new()];
        for key in 0..200u8 {
            let last = blocks.pop().unwrap();
            blocks.extend(insert(last, (vec![key], vec![0; 480])));
        }
        assert_eq!(blocks.len(), 200 / (MAX_BYTES / 484));
    }
}
