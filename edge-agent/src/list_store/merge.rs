//! A delta laid over the version that it is against: its entries in their order without the removed ones,
//! then the added ones. Only the removed ids are held in memory.

use std::{collections::HashMap, io::BufRead};

use super::{ListError, shelf::Shelf};
use crate::lists::{
    Entry, Report,
    format::{
        FormatError,
        delta::{self, Change},
    },
};

/// Reads a delta and gives the entries of the version that it makes to `take`. What is wrong with the base goes
/// to `failed`: where the delta itself did not come right, that says more.
///
/// # Errors
/// [`FormatError`], of the delta.
pub(super) fn read(
    base: &Shelf,
    input: &mut dyn BufRead,
    failed: &mut Option<ListError>,
    mut take: impl FnMut(Entry),
) -> Result<Report, FormatError> {
    // Whether each was found.
    let mut removed = HashMap::<String, bool>::new();
    let mut laid = false;
    let report = delta::read(input, |change| match change {
        Change::Remove(id) => drop(removed.insert(id, false)),
        Change::Add(entry) => {
            if !std::mem::replace(&mut laid, true) {
                *failed = lay(base, &mut removed, &mut take).err();
            }
            take(entry);
        }
    })?;
    if !laid {
        *failed = lay(base, &mut removed, &mut take).err();
    }
    Ok(report)
}

/// Takes what stays of the base.
fn lay(
    base: &Shelf,
    removed: &mut HashMap<String, bool>,
    take: &mut impl FnMut(Entry),
) -> Result<(), ListError> {
    let version = base.list.version.version;
    let each = base.each(|entry| match removed.get_mut(&entry.id) {
        Some(found) => *found = true,
        None => take(entry),
    });
    each.map_err(|error| ListError::BaseUnreadable(version, error))?;
    match removed.values().filter(|found| !**found).count() {
        0 => Ok(()),
        missing => Err(ListError::NotThere { missing, version }),
    }
}
