//! Blind lists: a line that names the key by its digest, `{"key_sha256": ...}`, so that one which is signed with
//! another's is found out; then one JSON object a line, with `number` (the first 8 bytes of HMAC-SHA256 of the folded plate),
//! `tag` (16 of that of `exact` and the plate), `id` and, where it is known, `state`. Hashes are in base64url
//! without padding.

use std::io::BufRead;

use milepost_wire::ListedVehicle;

use super::{Format, FormatError, KeyDigest, LineError, Lines, Take, each_of, state};
use crate::lists::{
    blind::{FirstLine, Line},
    entry::{Entry, Wanted, text},
};

/// The format.
pub struct Blind;

impl Format for Blind {
    fn read(&self, input: &mut dyn BufRead, take: &mut Take<'_>) -> Result<KeyDigest, FormatError> {
        let mut lines = Lines::of(input);
        let first =
            lines.next()?.and_then(|(_, line)| serde_json::from_str::<FirstLine>(line).ok());
        let missing = || FormatError::Header("does not name its key: {\"key_sha256\": ...}".into());
        let FirstLine { key_sha256 } = first.ok_or_else(missing)?;
        each_of(&mut lines, take, entry)?;
        Ok(Some(key_sha256))
    }
}

fn entry(line: &str) -> Result<Entry, LineError> {
    let bad = |why: &str| LineError::Bad(why.into());
    // serde's own words would repeat what stands there.
    let line: Line = serde_json::from_str(line)
        .map_err(|e| LineError::Bad(format!("no entry in JSON (column {})", e.column())))?;
    let hidden = line.hidden().ok_or_else(|| bad("a number or tag of another length"))?;
    Ok(Entry {
        wanted: Wanted::Hidden(hidden),
        id: text(&line.id).ok_or_else(|| bad("no id"))?,
        state: state(&line.state)?,
        kind: None,
        date: None,
        vehicle: ListedVehicle::default(),
    })
}
