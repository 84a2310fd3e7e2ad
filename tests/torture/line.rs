//! What the child says, a line each, written at once so that a kill leaves no half of one.

use std::{fmt, str::FromStr};

use milepost_wire::{PhotoKind, SequenceRange};
use uuid::Uuid;

/// How a photo is that a read names by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Photo {
    /// There, with that hash.
    Right,
    /// There, with another.
    Wrong,
    /// The record counts on it and it is not there.
    Missing,
    /// The record does not count on it any more.
    GivenUp,
    /// The store said that it can't be read.
    Error,
}

const PHOTOS: [(Photo, char); 5] = [
    (Photo::Right, 'r'),
    (Photo::Wrong, 'w'),
    (Photo::Missing, 'm'),
    (Photo::GivenUp, 'g'),
    (Photo::Error, 'e'),
];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The outbox is open; what is in it follows, up to `Ready`.
    Opened { ms: u64, epoch: Uuid, last: u64 },
    /// It could not be opened.
    NotOpened(String),
    /// A record is there; `photos` of a read.
    Have { sequence: u64, id: Uuid, read: bool, photos: Vec<(PhotoKind, Photo)> },
    /// The record before this line is a ledger entry of this event type.
    Entry { id: Uuid, event: String },
    /// A ledger entry: these records, or only their photos, were given up.
    Gone { photos_only: bool, ranges: Vec<SequenceRange> },
    /// Files of photos that no record names.
    Orphans(u64),
    /// All that is in it was said.
    Ready,
    /// About to keep.
    Try(Uuid),
    /// Kept, says the outbox.
    Kept { sequence: u64, id: Uuid },
    /// Not kept, says the outbox.
    Refused { id: Uuid, why: String },
    /// About to delete as delivered.
    Drop(Vec<u64>),
    /// The component's word has changed: `pass`, `warn` or `fail`, and the text.
    Health { status: String, text: String },
    /// The wall clock of the child at its start and after each jump, Unix seconds.
    Clock(i64),
    /// Nothing more will be done.
    Done,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { ms, epoch, last } => write!(f, "opened {ms} {epoch} {last}"),
            Self::NotOpened(why) => write!(f, "not-opened {}", flat(why)),
            Self::Have { sequence, id, read, photos } => {
                write!(f, "have {sequence} {id} {read}")?;
                photos.iter().try_for_each(|(kind, photo)| {
                    let letter = PHOTOS.iter().find(|(p, _)| p == photo).map_or('?', |(_, c)| *c);
                    write!(f, " {}:{letter}", kind.name())
                })
            }
            Self::Entry { id, event } => write!(f, "entry {id} {event}"),
            Self::Gone { photos_only, ranges } => {
                write!(f, "gone {photos_only}")?;
                ranges.iter().try_for_each(|r| write!(f, " {}-{}", r.from, r.to))
            }
            Self::Orphans(n) => write!(f, "orphans {n}"),
            Self::Ready => f.write_str("ready"),
            Self::Try(id) => write!(f, "try {id}"),
            Self::Kept { sequence, id } => write!(f, "kept {sequence} {id}"),
            Self::Refused { id, why } => write!(f, "refused {id} {}", flat(why)),
            Self::Drop(sequences) => {
                f.write_str("drop")?;
                sequences.iter().try_for_each(|s| write!(f, " {s}"))
            }
            Self::Health { status, text } => write!(f, "health {status} {}", flat(text)),
            Self::Clock(seconds) => write!(f, "clock {seconds}"),
            Self::Done => f.write_str("done"),
        }
    }
}

fn flat(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A line that the child did not mean.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense;

impl FromStr for Line {
    type Err = Nonsense;

    fn from_str(line: &str) -> Result<Self, Nonsense> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut parts = rest.split_ascii_whitespace();
        let parsed = match word {
            "opened" => Self::Opened {
                ms: one(&mut parts)?,
                epoch: one(&mut parts)?,
                last: one(&mut parts)?,
            },
            "not-opened" => Self::NotOpened(rest.into()),
            "have" => Self::Have {
                sequence: one(&mut parts)?,
                id: one(&mut parts)?,
                read: one(&mut parts)?,
                photos: parts.map(photo).collect::<Result<_, _>>()?,
            },
            "entry" => Self::Entry { id: one(&mut parts)?, event: one(&mut parts)? },
            "gone" => Self::Gone {
                photos_only: one(&mut parts)?,
                ranges: parts.map(range).collect::<Result<_, _>>()?,
            },
            "orphans" => Self::Orphans(one(&mut parts)?),
            "ready" => Self::Ready,
            "try" => Self::Try(one(&mut parts)?),
            "kept" => Self::Kept { sequence: one(&mut parts)?, id: one(&mut parts)? },
            "refused" => {
                Self::Refused { id: one(&mut parts)?, why: parts.collect::<Vec<_>>().join(" ") }
            }
            "drop" => Self::Drop(
                parts.map(|s| s.parse().map_err(|_| Nonsense)).collect::<Result<_, _>>()?,
            ),
            "health" => {
                Self::Health { status: one(&mut parts)?, text: parts.collect::<Vec<_>>().join(" ") }
            }
            "clock" => Self::Clock(one(&mut parts)?),
            "done" => Self::Done,
            _ => return Err(Nonsense),
        };
        Ok(parsed)
    }
}

fn one<'a, T: FromStr>(parts: &mut impl Iterator<Item = &'a str>) -> Result<T, Nonsense> {
    parts.next().and_then(|p| p.parse().ok()).ok_or(Nonsense)
}

fn photo(text: &str) -> Result<(PhotoKind, Photo), Nonsense> {
    let (kind, letter) = text.split_once(':').ok_or(Nonsense)?;
    let photo = PHOTOS.iter().find(|(_, c)| letter.starts_with(*c)).ok_or(Nonsense)?.0;
    Ok((PhotoKind::from_name(kind).ok_or(Nonsense)?, photo))
}

fn range(text: &str) -> Result<SequenceRange, Nonsense> {
    let (from, to) = text.split_once('-').ok_or(Nonsense)?;
    let number = |n: &str| n.parse().map_err(|_| Nonsense);
    Ok(SequenceRange { from: number(from)?, to: number(to)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_back_as_it_was() {
        let id = Uuid::from_u128(7);
        for line in [
            Line::Opened { ms: 3, epoch: id, last: 9 },
            Line::NotOpened("in use".into()),
            Line::Have {
                sequence: 1,
                id,
                read: true,
                photos: vec![(PhotoKind::Plate, Photo::Right), (PhotoKind::Context, Photo::Wrong)],
            },
            Line::Entry { id, event: "org.example.v1".into() },
            Line::Gone { photos_only: true, ranges: vec![SequenceRange { from: 1, to: 4 }] },
            Line::Orphans(2),
            Line::Ready,
            Line::Try(id),
            Line::Kept { sequence: 4, id },
            Line::Refused { id, why: "the disk is full".into() },
            Line::Drop(vec![1, 2]),
            Line::Health { status: "fail".into(), text: "no space".into() },
            Line::Clock(-7),
            Line::Done,
        ] {
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        assert_eq!("kept 4 half-a-l".parse::<Line>(), Err(Nonsense));
    }
}
