//! A record as the store has it: its event's id in clear, so that also what can't be read any more has one; then
//! the record, packed and sealed, readable with its data key alone and at its own place alone.

use uuid::Uuid;

use super::{
    packed,
    store::{Loss, Record, StoreError, Stored},
};
use crate::sealing::{KeyUse, Keyring, SealingError};

/// Bytes of the id.
pub(super) const ID_BYTES: usize = 16;

/// What it is bound to.
fn context(epoch: Uuid, sequence: u64) -> Vec<u8> {
    [&b"record"[..], epoch.as_bytes(), &sequence.to_be_bytes()].concat()
}

/// The id, and what is sealed.
pub(super) fn split(sequence: u64, value: &[u8]) -> Result<(Uuid, &[u8]), StoreError> {
    let damaged = || StoreError::Damaged(format!("record {sequence}: too short"));
    let (id, sealed) = value.split_first_chunk::<ID_BYTES>().ok_or_else(damaged)?;
    Ok((Uuid::from_bytes(*id), sealed))
}

/// Seals a record with its own data key, or the one in use.
pub(super) fn seal(keyring: &Keyring, epoch: Uuid, record: &Record) -> Result<Vec<u8>, StoreError> {
    let usage = if record.held { KeyUse::Hold } else { KeyUse::Data };
    let failed = |e: &dyn std::error::Error| StoreError::Failed(e.to_string());
    let context = context(epoch, record.sequence);
    let packed = packed::pack(&record.encode()?).map_err(|e| failed(&e))?;
    let sealed = keyring.seal_under(record.key, usage, &context, &packed);
    let sealed = sealed.map_err(|e| failed(&e))?;
    Ok([record.id.as_bytes(), &sealed[..]].concat())
}

/// The inverse of [`seal`].
///
/// # Errors
/// [`StoreError::Damaged`] where there is not even an id.
pub(super) fn unseal(
    keyring: &Keyring,
    epoch: Uuid,
    sequence: u64,
    value: &[u8],
) -> Result<Stored, StoreError> {
    let (id, sealed) = split(sequence, value)?;
    let unreadable = |loss| Stored::Unreadable { sequence, id, loss };
    Ok(match keyring.unseal(&context(epoch, sequence), sealed) {
        Ok(packed) => {
            let plain = packed::unpack(&packed).ok();
            match plain.and_then(|plain| Record::decode(sequence, &plain).ok()) {
                Some(record) if record.id != id => unreadable(Loss::Damaged),
                Some(record) => {
                    Stored::Record(Record { key: Keyring::key_of(sealed).ok(), ..record })
                }
                // It is what was written, by an agent with another format: not ours to give up.
                None => unreadable(Loss::OutOfReach),
            }
        }
        Err(SealingError::KeyGone { .. }) => unreadable(Loss::Aged),
        Err(SealingError::Damaged(_) | SealingError::KeyDamaged { .. }) => {
            unreadable(Loss::Damaged)
        }
        Err(_) => unreadable(Loss::OutOfReach),
    })
}
