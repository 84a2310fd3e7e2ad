//! Power cuts: ext4 on a loop device, shut down by its own ioctl so that nothing that is only in
//! memory reaches the disk, killed, unmounted and mounted again.
//!
//! The control runs the same program with `fsync` made to do nothing, and must lose records.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng};

use crate::{
    child::Options,
    context::{Context, RowName},
    disk::Disk,
    kill::run_until,
    line::Line,
    model::{Model, Totals},
    process::{Child, HUNG, look},
    table::Row,
};

/// Cuts of one disk.
const EACH: u32 = 25;
/// In the quick table, which so has each kind of outbox.
const EACH_QUICK: u32 = 5;
/// Size of the disk.
const DISK_MB: u64 = 96;
/// A child runs at most so long before the cut.
const RUN_MS: u64 = 600;
/// One cut in so many comes while the outbox is being opened.
const WHILE_OPENING: u32 = 5;
/// An outbox must be open again after so long.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// Cuts of the control.
const CONTROL: u32 = 5;

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Power.fault());
    if !context.own_mounts {
        row.not_done = Some("no mount namespace of our own (needs root and unshare)".into());
        return row;
    }
    let mut totals = Totals::default();
    for (unit, cuts) in context.units(RowName::Power, if context.quick { EACH_QUICK } else { EACH })
    {
        let mut choices = context.choices(RowName::Power, unit);
        let folder = context.folder(RowName::Power, &unit.to_string());
        let mut disk = match Disk::new(&folder, DISK_MB) {
            Ok(disk) => disk,
            Err(why) => {
                row.not_done = Some(why);
                return row;
            }
        };
        let options = options(&disk, unit, &mut choices);
        let log = folder.join("child.log");
        let mut model = Model::default();
        let mut broken = None;
        for _ in 0..cuts {
            row.runs += 1;
            broken = once(&mut disk, &options, &log, &mut model, &mut choices).err();
            if broken.is_some() {
                break;
            }
        }
        look(&options, &log, &mut model);
        totals.add(&model);
        let slow = Duration::from_millis(model.worst_open_ms) > OPEN_LIMIT;
        let held = model.tally.total() == 0 && !slow && broken.is_none();
        drop(disk);
        let kept = context.close(&folder, held);
        if !held {
            let open = model.worst_open_ms;
            row.fail(format!(
                "{:?}, open {open} ms {}; {kept}; {}",
                model.tally,
                broken.unwrap_or_default(),
                context.again(RowName::Power, unit)
            ));
        }
    }
    (row.held, row.worst) = (totals.held(), totals.worst());
    control(context, &mut row);
    row
}

fn options(disk: &Disk, unit: u32, choices: &mut StdRng) -> Options {
    let mut options =
        Options { seed: choices.random(), ..Options::new(disk.path().join("outbox")) };
    match unit % 3 {
        1 => options.max_photo_bytes = 200_000,
        2 => options.photo_bytes = 40_000,
        _ => {}
    }
    options
}

/// One cut, and the disk mounted again.
fn once(
    disk: &mut Disk,
    options: &Options,
    log: &Path,
    model: &mut Model,
    choices: &mut StdRng,
) -> Result<(), String> {
    let opening = choices.random_ratio(1, WHILE_OPENING);
    let wait = Duration::from_millis(choices.random_range(0..RUN_MS));
    let child = Child::start(options, log);
    if opening {
        run_until(&child, model, Instant::now() + wait / 4);
    } else if child.until(model, HUNG, |l| *l == Line::Ready) {
        run_until(&child, model, Instant::now() + wait);
    } else {
        model.tally.unopened += 1;
        model.tally.texts.push(format!("not open after {} s, or ended", HUNG.as_secs()));
    }
    model.disturbed = true;
    disk.cut()?;
    // What it says it has kept after the cut counts as well: it must not.
    run_until(&child, model, Instant::now() + Duration::from_millis(20));
    child.kill(model);
    model.disturbed = false;
    disk.remount()
}

fn control(context: &Context, row: &mut Row) {
    let mut choices = context.choices(RowName::Power, u32::MAX);
    let folder = context.folder(RowName::Power, "control");
    let log = folder.join("child.log");
    let (mut model, mut cuts) = (Model::default(), 0);
    let done = Disk::new(&folder, DISK_MB).and_then(|mut disk| {
        let options = options(&disk, 0, &mut choices);
        // The outbox itself is made as it should be: only what is kept later is at risk.
        look(&options, &log, &mut model);
        let careless = Options { no_fsync: true, ..options.clone() };
        while cuts < CONTROL {
            cuts += 1;
            once(&mut disk, &careless, &log, &mut model, &mut choices)?;
            look(&options, &log, &mut model);
        }
        Ok(())
    });
    let tally = &model.tally;
    let caught = tally.lost > 0;
    let kept = context.close(&folder, caught && done.is_ok());
    match done {
        Err(why) => row.fail(format!("control: {why}; {kept}")),
        Ok(()) if !caught => row.fail(format!(
            "control: {cuts} cuts without fsync lost nothing of {}: the harness is blind; {kept}",
            model.acknowledged
        )),
        Ok(()) => row.held.push(format!(
            "control without fsync: {} of {} lost in {cuts} cuts",
            tally.lost, model.acknowledged
        )),
    }
}
