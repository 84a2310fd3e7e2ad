//! What a server is told of what came in.

use milepost_wire::{
    Alert, Event, Heartbeat, LedgerEvent, ListRequest, PhotoKind, Read, Response, Root,
    SequenceRange, Source, Status, UnreadPass,
};
use uuid::Uuid;

use super::{ledger::Ledger, verdict::Verdict};

/// One thing that came in, or that follows from it.
#[derive(Debug)]
pub enum Seen {
    /// A read; its photos may be under way.
    Read {
        /// It.
        event: Box<Event<Read>>,
        /// Came before, with the same source and id.
        duplicate: bool,
    },
    /// An alert; its read and photos follow.
    Alert {
        /// It.
        event: Box<Event<Alert>>,
        /// Came before.
        duplicate: bool,
    },
    /// An unread pass.
    UnreadPass {
        /// It.
        event: Box<Event<UnreadPass>>,
        /// Came before.
        duplicate: bool,
    },
    /// What a pole says of itself in its ledger; one of an unknown type, too.
    Ledger {
        /// It.
        event: Box<LedgerEvent>,
        /// Came before.
        duplicate: bool,
    },
    /// A photo whose read is there.
    Photo {
        /// Its read.
        read_id: Uuid,
        /// Which.
        kind: PhotoKind,
        /// Its hash is the one in the read.
        verified: bool,
        /// The photo, where it came before its read and not just now.
        early: Option<Vec<u8>>,
    },
    /// A record is there with every photo of it that comes: a receipt may be given once it is stored.
    /// Comes again for a duplicate, whose receipt was lost.
    Complete {
        /// Which camera.
        root: Root,
        /// Which record.
        id: Uuid,
        /// A read, and not seen before.
        new_read: bool,
    },
    /// What a manifest is worth by now; again whenever that changes.
    Manifest {
        /// Whose.
        source: Source,
        /// Which ledger it signs for.
        epoch: Uuid,
        /// First sequence.
        from: u64,
        /// Last one.
        to: u64,
        /// What it is worth.
        verdict: Verdict,
        /// Where it waits for manifests of parts of it: of which.
        ask_for: Vec<SequenceRange>,
    },
    /// Another body under a sequence or an id that has come before: one of the two was changed. It
    /// is not taken and gets no receipt.
    Conflict {
        /// Whose.
        source: Source,
        /// The id of what came now.
        id: Uuid,
        /// Its sequence.
        sequence: u64,
        /// What it is in conflict with.
        why: &'static str,
    },
    /// A pole asks for parts of an alert list.
    ListRequest {
        /// Which camera.
        root: Root,
        /// It.
        event: Box<Event<ListRequest>>,
    },
    /// A pole's answer to a command.
    Response(Box<Event<Response>>),
    /// A pole's birth or end.
    Status(Box<Event<Status>>),
    /// How a pole is.
    Heartbeat(Box<Event<Heartbeat>>),
    /// Not of this contract, or broken.
    Bad {
        /// Where it came.
        topic: String,
        /// What is wrong; without its content.
        why: String,
    },
}

/// What came in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Messages with a read.
    pub reads: u64,
    /// Different reads.
    pub distinct: u64,
    /// Different reads that are there with every photo of them that comes.
    pub complete: u64,
    /// Messages with a record that was there.
    pub duplicates: u64,
    /// Different alerts.
    pub alerts: u64,
    /// Different unread passes.
    pub unread_passes: u64,
    /// Sequences missing between the first and the last seen of each ledger, evictions aside.
    pub gaps: u64,
    /// Photos whose hash was not the read's.
    pub bad_photos: u64,
    /// Messages that were not of the contract.
    pub bad: u64,
    /// Messages with another body for a sequence or an id that had come.
    pub conflicts: u64,
    /// Manifests that fit what came.
    pub verified_manifests: u64,
    /// Manifests that do not, or that are not the pole's word.
    pub wrong_manifests: u64,
    /// Manifests of which it can't be said yet.
    pub open_manifests: u64,
    /// Records that a signature vouches for, in all ledgers; [`Central::ledgers`](super::Central::ledgers) has how far each
    /// is verified.
    pub verified: u64,
    /// Records, and whole ledgers, that were forgotten before they could be checked.
    pub unchecked: u64,
}

impl Summary {
    /// Counts a ledger in.
    pub(super) fn add(&mut self, ledger: &Ledger) {
        let (verified, wrong, open) = ledger.counts();
        self.gaps += ledger.missing();
        self.verified_manifests += verified;
        self.wrong_manifests += wrong;
        self.open_manifests += open;
        self.verified += ledger.verified();
        self.unchecked += ledger.unchecked();
    }
}
