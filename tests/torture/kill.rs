//! `kill -9` under load. One outbox lives through many kills; each child first says what it found.

use std::time::{Duration, Instant};

use rand::{RngExt, rngs::StdRng};

use crate::{
    child::Options,
    context::{Context, RowName},
    line::Line,
    model::{Model, Totals},
    process::{Child, HUNG, Next, look},
    table::Row,
};

/// Kills of one outbox.
const EACH: u32 = 50;
/// In the quick table, which so has each kind of outbox.
const EACH_QUICK: u32 = 8;
/// Kinds of outboxes.
const KINDS: u32 = 5;
/// A child runs at most so long.
const RUN_MS: u64 = 400;
/// One kill in so many comes while the outbox is being opened.
const WHILE_OPENING: u32 = 5;
/// Kills that the control may take to lose something.
const CONTROL: u32 = 20;

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Kill.fault());
    let (mut totals, mut rotations, mut halfway) = (Totals::default(), 0, 0);
    let units = context.units(RowName::Kill, if context.quick { EACH_QUICK } else { EACH });
    for &(unit, kills) in &units {
        let mut choices = context.choices(RowName::Kill, unit);
        let folder = context.folder(RowName::Kill, &unit.to_string());
        let options = options(&folder.join("outbox"), unit, &mut choices);
        let mut model = Model::default();
        for _ in 0..kills {
            once(&options, &folder.join("child.log"), &mut model, &mut choices);
            halfway += u32::from(stores(&options.directory).len() > 1);
        }
        rotations += stores(&options.directory).first().map_or(0, |first| first - 1);
        look(&options, &folder.join("child.log"), &mut model);
        row.runs += kills;
        totals.add(&model);
        let held = model.tally.total() == 0;
        let kept = context.close(&folder, held);
        if !held {
            row.fail(format!("{:?}; {kept}; {}", model.tally, context.again(RowName::Kill, unit)));
        }
    }
    (row.held, row.worst) = (totals.held(), totals.worst());
    if units.len() >= KINDS as usize && rotations == 0 {
        row.fail("no store was rotated: the row does not see what it says");
    }
    row.held
        .push(format!("{rotations} rotations to a fresh store, {halfway} of them killed half-way"));
    control(context, &mut row);
    row
}

/// Numbers of the stores in an outbox's folder: two of them while it is copied into a fresh one.
fn stores(directory: &std::path::Path) -> Vec<u32> {
    let files = std::fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
    let mut stores: Vec<u32> = files
        .filter_map(|file| file.file_name().to_str()?.strip_prefix("store-")?.parse().ok())
        .collect();
    stores.sort_unstable();
    stores
}

/// Caps differ by unit, so that some outboxes give up photos and some whole records, and some are copied into a
/// fresh store at each start.
fn options(directory: &std::path::Path, unit: u32, choices: &mut StdRng) -> Options {
    let mut options = Options { seed: choices.random(), ..Options::new(directory.into()) };
    match unit % KINDS {
        1 => options.max_photo_bytes = 200_000,
        2 => options.photo_bytes = 40_000,
        3 => (options.max_records, options.photo_bytes, options.stay) = (40, 200, 0),
        4 => options.rotate = true,
        _ => {}
    }
    options
}

fn once(options: &Options, log: &std::path::Path, model: &mut Model, choices: &mut StdRng) {
    let opening = choices.random_ratio(1, WHILE_OPENING);
    let wait = Duration::from_millis(choices.random_range(0..RUN_MS));
    let child = Child::start(options, log);
    if opening {
        run_until(&child, model, Instant::now() + wait / 2);
    } else if child.until(model, HUNG, |l| *l == Line::Ready) {
        run_until(&child, model, Instant::now() + wait);
    } else {
        model.tally.unopened += 1;
        model.tally.texts.push(format!("not open after {} s, or ended", HUNG.as_secs()));
    }
    child.kill(model);
}

/// Listens until the time; how a child ends by itself is left to the next look.
pub fn run_until(child: &Child, model: &mut Model, until: Instant) {
    while let Next::Line(line) = child.next(until) {
        model.take(&line);
    }
}

/// A child that acknowledges too early must be caught.
fn control(context: &Context, row: &mut Row) {
    let mut choices = context.choices(RowName::Kill, u32::MAX);
    let folder = context.folder(RowName::Kill, "control");
    let mut options = Options::new(folder.join("outbox"));
    (options.threads, options.acknowledge_early, options.stay) = (1, true, 0);
    let mut model = Model::default();
    for n in 1..=CONTROL {
        once(&options, &folder.join("child.log"), &mut model, &mut choices);
        look(&options, &folder.join("child.log"), &mut model);
        if model.tally.lost > 0 {
            row.held.push(format!("control: early acknowledgement caught at kill {n}"));
            context.close(&folder, true);
            return;
        }
    }
    let kept = context.close(&folder, false);
    row.fail(format!("control: {CONTROL} kills of a child that acknowledges early lost nothing: the harness is blind; {kept}"));
}
