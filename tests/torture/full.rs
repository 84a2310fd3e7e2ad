//! A disk that is full, one that fails some writes, and one that fails everything until it is
//! mounted again. What was acknowledged stays, what can't be kept is refused and said, and keeping
//! goes on by itself once the disk is well, or the process ends itself and is started again: none is helped
//! to that. Only the third needs the disk mounted again first; after the second it is mounted again as
//! well, to see what is on it.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng};

use crate::{
    child::Options,
    context::{Context, RowName},
    disk::{Disk, ThinDisk},
    kill::run_until,
    line::Line,
    model::Model,
    process::{Child, HUNG, look},
    table::Row,
};

/// Faults of one disk.
const EACH: u32 = 10;
/// Size of the disk that is filled: room for the ballast above the floor of free space.
const DISK_MB: u64 = 256;
/// Keeping must go on so soon after the disk is well.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a child may take to meet the fault.
const MEET: Duration = Duration::from_secs(10);

/// Health must say so this soon after the first refusal.
const WORD: Duration = Duration::from_millis(500);

/// How long a process that panics may take to be gone.
const ENDING: Duration = Duration::from_secs(3);

/// What is done to the disk of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Full,
    Writes,
    Everything,
}

const FAULTS: [Fault; 3] = [Fault::Full, Fault::Writes, Fault::Everything];

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    done: u32,
    refused: u64,
    /// Faults in which nothing was refused: there was room enough, or it was made.
    unmoved: u32,
    /// Poles that had to be started again, on a disk mounted again.
    restarts: u32,
    worst_recovery: Duration,
    wrong: Vec<String>,
}

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Full.fault());
    if !context.own_mounts {
        row.not_done = Some("no mount namespace of our own (needs root and unshare)".into());
        return row;
    }
    let (mut acknowledged, mut refused, mut recovery) = (0, 0, Duration::ZERO);
    let (mut restarts, mut told) = (0, 0);
    let mut counts = [[0_u32; 2]; 3];
    // The quick table has a few of each kind.
    let each = if context.quick { 2 } else { EACH };
    for (unit, faults) in context.units(RowName::Full, each) {
        let fault = FAULTS[unit as usize % FAULTS.len()];
        let folder = context.folder(RowName::Full, &unit.to_string());
        let mut choices = context.choices(RowName::Full, unit);
        let (mut seen, mut model) = (Seen::default(), Model::default());
        let done = match fault {
            Fault::Full => full(&folder, faults, &mut choices, &mut model, &mut seen),
            Fault::Writes => writes(&folder, faults, &mut choices, &mut model, &mut seen),
            Fault::Everything => everything(&folder, faults, &mut choices, &mut model, &mut seen),
        };
        if let Err(why) = done {
            row.not_done = Some(why);
            return row;
        }
        row.runs += seen.done;
        acknowledged += model.acknowledged;
        told += model.told_lost;
        refused += seen.refused;
        restarts += seen.restarts;
        recovery = recovery.max(seen.worst_recovery);
        counts[fault as usize][0] += seen.done;
        counts[fault as usize][1] += seen.unmoved;
        if model.tally.total() > 0 {
            seen.wrong.push(format!("{:?}", model.tally));
        }
        let kept = context.close(&folder, seen.wrong.is_empty());
        for wrong in seen.wrong {
            row.fail(format!("{fault:?}: {wrong}; {kept}; {}", context.again(RowName::Full, unit)));
        }
    }
    row.held =
        vec![format!("{acknowledged} acknowledged, {refused} refused, {restarts} started again")];
    if told > 0 {
        row.held.push(format!("{told} lost with a store whose disk had failed, and told"));
    }
    for (fault, [done, unmoved]) in FAULTS.iter().zip(counts) {
        row.held.push(format!("{done} × {fault:?}, {unmoved} of them without a refusal"));
    }
    row.worst = vec![format!("kept again after {:.1} s", recovery.as_secs_f64())];
    row
}

fn options(folder: &Path, choices: &mut StdRng) -> Options {
    let mut options = Options::new(folder.join("outbox"));
    (options.photo_bytes, options.seed) = (60_000, choices.random());
    options
}

/// Starts a child and waits until it keeps.
fn start(options: &Options, log: &Path, model: &mut Model, seen: &mut Seen) -> Child {
    let child = Child::start(options, log);
    if !child.until(model, HUNG, |l| matches!(l, Line::Kept { .. })) {
        seen.wrong.push("it does not keep on a good disk".into());
    }
    child
}

/// Listens while the disk is bad: what is refused, and whether health says so.
fn under_fault(child: &mut Child, model: &mut Model, wait: Duration, seen: &mut Seen) {
    let (mut refused, mut said) = (0_u64, false);
    let met = child.until(model, MEET, |line| {
        refused += u64::from(matches!(line, Line::Refused { .. }));
        said |= says(line);
        refused > 0
    });
    if met {
        child.until(model, WORD + wait, |line| {
            refused += u64::from(matches!(line, Line::Refused { .. }));
            said |= says(line);
            false
        });
        // A pole that has ended has said it by that: a panic of sled's ends the process.
        if !said && !child.ends(ENDING) {
            seen.wrong
                .push(format!("{refused} refused and health said nothing; {}", child.doing()));
        }
    } else {
        seen.unmoved += 1;
    }
    seen.refused += refused;
}

fn says(line: &Line) -> bool {
    matches!(line, Line::Health { status, .. } if status == "fail")
}

/// After mending: keeping goes on by itself. A pole whose store does not answer ends itself, and is
/// started again as a service manager would; one that hangs has failed.
fn recovers(child: &mut Child, model: &mut Model, seen: &mut Seen, options: &Options, log: &Path) {
    let start = Instant::now();
    let mut kept = keeps(child, model);
    if kept.is_err() && child.ends(ENDING) {
        seen.restarts += 1;
        *child = Child::start(options, log);
        kept = keeps(child, model);
    }
    if let Err(why) = kept {
        let (after, doing) = (start.elapsed().as_secs(), child.doing());
        seen.wrong.push(format!("not kept again {after} s after mending: {why}; {doing}"));
    }
    seen.worst_recovery = seen.worst_recovery.max(start.elapsed());
}

/// Waits until the ballast is there.
fn has_ballast(options: &Options) -> bool {
    let until = Instant::now() + LIMIT;
    let ballast = options.directory.join("ballast");
    while !ballast.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    ballast.exists()
}

fn keeps(child: &Child, model: &mut Model) -> Result<(), String> {
    let mut why = "it said nothing".to_owned();
    // A line from before the mending may be first; a second record settles it.
    let mut records = 0;
    let kept = child.until(model, LIMIT, |line| {
        if let Line::Refused { why: text, .. } = line {
            why.clone_from(text);
        }
        records += u32::from(matches!(line, Line::Kept { .. }));
        records >= 2
    });
    if kept { Ok(()) } else { Err(why) }
}

fn full(
    folder: &Path,
    faults: u32,
    choices: &mut StdRng,
    model: &mut Model,
    seen: &mut Seen,
) -> Result<(), String> {
    let disk = Disk::new(folder, DISK_MB)?;
    let (options, log) = (options(disk.path(), choices), folder.join("child.log"));
    let filler = disk.path().join("filler");
    let mut child = start(&options, &log, model, seen);
    for _ in 0..faults {
        seen.done += 1;
        run_until(&child, model, Instant::now() + ms(choices, 500));
        if !has_ballast(&options) {
            seen.wrong.push("no ballast on a disk with room for it".into());
        }
        let mut file = File::create(&filler).map_err(|e| e.to_string())?;
        let mut bytes = 16 << 20;
        while bytes >= 1024 {
            if file.write_all(&vec![0xA5; bytes]).and_then(|()| file.sync_all()).is_err() {
                bytes /= 4;
            }
        }
        let unmoved = seen.unmoved;
        under_fault(&mut child, model, ms(choices, 1500), seen);
        if seen.unmoved == unmoved && options.directory.join("ballast").exists() {
            seen.wrong.push("refused with the ballast still there".into());
        }
        drop(file);
        fs::remove_file(&filler).map_err(|e| e.to_string())?;
        recovers(&mut child, model, seen, &options, &log);
        if !seen.wrong.is_empty() {
            break;
        }
    }
    child.kill(model);
    look(&options, &log, model);
    Ok(())
}

fn writes(
    folder: &Path,
    faults: u32,
    choices: &mut StdRng,
    model: &mut Model,
    seen: &mut Seen,
) -> Result<(), String> {
    let mut disk = ThinDisk::new(folder)?;
    let (options, log) = (options(disk.path(), choices), folder.join("child.log"));
    let mut child = start(&options, &log, model, seen);
    for _ in 0..faults {
        seen.done += 1;
        run_until(&child, model, Instant::now() + ms(choices, 500));
        let sure = model.last_kept();
        model.unsure_after(sure);
        disk.starve(choices.random_range(0..400))?;
        under_fault(&mut child, model, ms(choices, 1500), seen);
        disk.mend()?;
        // ext4 makes itself read-only where it can't write its journal; what else goes on by itself.
        let dead = File::create(disk.path().join("probe")).is_err();
        if !dead {
            recovers(&mut child, model, seen, &options, &log);
        }
        // Whose tables could not be written has lost what came since, until it is mounted again.
        child.kill(model);
        model.unsure_after(sure);
        disk.remount()?;
        child = start(&options, &log, model, seen);
        if !seen.wrong.is_empty() {
            break;
        }
    }
    child.kill(model);
    look(&options, &log, model);
    Ok(())
}

fn everything(
    folder: &Path,
    faults: u32,
    choices: &mut StdRng,
    model: &mut Model,
    seen: &mut Seen,
) -> Result<(), String> {
    let mut disk = Disk::new(folder, DISK_MB)?;
    let (options, log) = (options(disk.path(), choices), folder.join("child.log"));
    for _ in 0..faults {
        seen.done += 1;
        let mut child = start(&options, &log, model, seen);
        run_until(&child, model, Instant::now() + ms(choices, 500));
        model.disturbed = true;
        disk.cut()?;
        under_fault(&mut child, model, ms(choices, 1000), seen);
        child.kill(model);
        model.disturbed = false;
        disk.remount()?;
        let mut child = Child::start(&options, &log);
        recovers(&mut child, model, seen, &options, &log);
        child.kill(model);
        if !seen.wrong.is_empty() {
            break;
        }
    }
    look(&options, &log, model);
    Ok(())
}

fn ms(choices: &mut StdRng, to: u64) -> Duration {
    Duration::from_millis(choices.random_range(0..to))
}
