//! What every row is given: how often, from which seed, in which folder.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use clap::ValueEnum;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    broker, certificates, clock, damage, full, hostile, kill, lists, outage, power, table::Row,
};

/// Folders of failing runs that stay; a broken product would fill the disk with them.
const MAX_KEPT: u32 = 40;
static KEPT: AtomicU32 = AtomicU32::new(0);

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "`fault` says it")]
pub enum RowName {
    Kill,
    Power,
    Damage,
    Broker,
    Full,
    Hostile,
    Outage,
    Clock,
    Certificates,
    Lists,
}

impl RowName {
    /// In the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Power,
        Self::Damage,
        Self::Broker,
        Self::Full,
        Self::Hostile,
        Self::Outage,
        Self::Clock,
        Self::Certificates,
        Self::Lists,
    ];

    /// What is done.
    pub const fn fault(self) -> &'static str {
        match self {
            Self::Kill => "kill -9 under load at random moments",
            Self::Power => "power cut",
            Self::Damage => "damaged store",
            Self::Broker => "broker and link faults",
            Self::Full => "disk full, write errors, I/O errors",
            Self::Hostile => "hostile MQTT messages",
            Self::Outage => "72 h outage at 2 vehicles a second",
            Self::Clock => "clock ±72 h, 1970, 2038",
            Self::Certificates => "certificates: expired, wrong CA, wrong host, none",
            Self::Lists => "alert lists altered, and cut off while taken in",
        }
    }

    /// Runs in the full table and in the quick one.
    const fn runs(self) -> (u32, u32) {
        match self {
            Self::Kill => (1000, 40),
            Self::Power => (300, 15),
            Self::Damage => (1000, 60),
            Self::Broker => (1000, 24),
            Self::Full => (150, 6),
            Self::Hostile => (10_000, 2000),
            Self::Outage => (518_400, 20_000),
            Self::Clock => (20, 4),
            Self::Certificates => (4, 4),
            Self::Lists => (1000, 100),
        }
    }

    /// Its word for `--rows`.
    pub fn word(self) -> String {
        self.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
    }
}

/// What a row is done with.
#[derive(Debug, Clone)]
pub struct Context {
    /// The short table.
    pub quick: bool,
    /// Runs instead of the table's.
    pub runs: Option<u32>,
    /// What all choices come from.
    pub seed: u64,
    /// Only this unit.
    pub unit: Option<u32>,
    /// Where folders are made.
    pub out: PathBuf,
    /// Whether mounts are seen by this process only.
    pub own_mounts: bool,
}

impl Context {
    /// Does a row.
    pub fn row(&self, name: RowName) -> Row {
        match name {
            RowName::Kill => kill::row(self),
            RowName::Power => power::row(self),
            RowName::Damage => damage::row(self),
            RowName::Broker => broker::row(self),
            RowName::Full => full::row(self),
            RowName::Hostile => hostile::row(self),
            RowName::Outage => outage::row(self),
            RowName::Clock => clock::row(self),
            RowName::Certificates => certificates::row(self),
            RowName::Lists => lists::row(self),
        }
    }

    /// How often a row does its fault.
    pub fn runs(&self, name: RowName) -> u32 {
        let (full, quick) = name.runs();
        self.runs.unwrap_or(if self.quick { quick } else { full })
    }

    /// A row's units and how many runs each has: `each`, and in the last what is left.
    pub fn units(&self, name: RowName, each: u32) -> Vec<(u32, u32)> {
        let runs = self.runs(name);
        (0..runs.div_ceil(each))
            .map(|n| (n, each.min(runs - n * each)))
            .filter(|(n, _)| self.unit.is_none_or(|only| only == *n))
            .collect()
    }

    /// The choices of one unit.
    pub fn choices(&self, name: RowName, unit: u32) -> StdRng {
        let row = name as u64 + 1;
        StdRng::seed_from_u64(self.seed ^ row << 56 ^ u64::from(unit) << 24)
    }

    /// A fresh folder for one unit.
    pub fn folder(&self, name: RowName, unit: &str) -> PathBuf {
        let folder = self.out.join(format!("{}-{}-{unit}", name.word(), self.seed));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the run");
        folder
    }

    /// How to do one unit again.
    pub fn again(&self, name: RowName, unit: u32) -> String {
        let quick = if self.quick { "--quick " } else { "" };
        let runs = self.runs.map(|r| format!(" --runs {r}")).unwrap_or_default();
        let (row, seed) = (name.word(), self.seed);
        format!("again: scripts/torture.sh {quick}--rows {row} --seed {seed} --unit {unit}{runs}")
    }

    /// Removes a unit's folder where it held; says where it is where it did not.
    pub fn close(&self, folder: &PathBuf, held: bool) -> String {
        if held || KEPT.fetch_add(1, Ordering::Relaxed) >= MAX_KEPT {
            let _ = fs::remove_dir_all(folder);
            return String::new();
        }
        format!("kept: {}", folder.display())
    }
}
