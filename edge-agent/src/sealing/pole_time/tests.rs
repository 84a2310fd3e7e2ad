//! What the pole's own time promises, against a simulated world.

use proptest::prelude::*;

use super::*;

const DAY: u64 = 86_400;
const MINUTE: u64 = 60;
/// A moment in 2026.
const TRUE_START: i64 = 1_800_000_000;
const FAULTS: [i64; 2] = [0, 2_147_483_647];

/// A machine: ticks once a minute while it is on.
struct World {
    memory: Memory,
    boots: u32,
    up_s: u64,
    /// Since the start, off and on.
    true_s: u64,
    on_s: u64,
    /// What the wall clock is off by, and whether the kernel calls it synchronised.
    wrong_s: i64,
    synchronised: bool,
}

impl World {
    fn new() -> Self {
        let reading =
            Reading { boot: "0".into(), up_s: 0, wall_s: TRUE_START, synchronised: false };
        Self {
            memory: Memory::begin(PoleTime::default(), &reading),
            boots: 0,
            up_s: 0,
            true_s: 0,
            on_s: 0,
            wrong_s: 0,
            synchronised: true,
        }
    }

    fn true_wall(&self) -> i64 {
        TRUE_START + i64::try_from(self.true_s).unwrap()
    }

    fn tick(&mut self) {
        let reading = Reading {
            boot: self.boots.to_string(),
            up_s: self.up_s,
            wall_s: self.true_wall() + self.wrong_s,
            synchronised: self.synchronised,
        };
        let next = advance(&self.memory, &reading);
        assert!(next.now() >= self.memory.now(), "time goes only forward");
        self.memory = next;
    }

    fn run(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.true_s += MINUTE;
            self.on_s += MINUTE;
            self.up_s += MINUTE;
            self.tick();
        }
    }

    fn restart(&mut self, off_s: u64) {
        self.true_s += off_s;
        self.boots += 1;
        self.up_s = 1;
        self.true_s += 1;
        self.on_s += 1;
        self.tick();
    }

    fn age(&self, made: PoleTime) -> u64 {
        self.memory.age(made, self.memory.now()).as_secs()
    }
}

#[test]
fn a_step_of_the_wall_clock_changes_no_age_whatever_the_kernel_says_of_it() {
    for fault in FAULTS {
        for synchronised in [true, false] {
            let mut world = World::new();
            world.run(30);
            let made = world.memory.now();
            (world.wrong_s, world.synchronised) = (fault - world.true_wall(), synchronised);
            world.run(60);
            assert_eq!(world.age(made), 60 * MINUTE);
            (world.wrong_s, world.synchronised) = (0, true);
            world.run(60);
            assert_eq!(world.age(made), 120 * MINUTE);
        }
    }
}

#[test]
fn a_clock_that_restarts_at_1970_or_2038_and_is_called_synchronised_changes_no_age() {
    for fault in FAULTS {
        let mut world = World::new();
        world.run(30);
        let made = world.memory.now();
        world.wrong_s = fault - world.true_wall();
        world.restart(DAY);
        world.run(60);
        assert_eq!(world.age(made), 60 * MINUTE + 1);
        // And right again after the next restart: the gap is as unbelievable the other way.
        world.wrong_s = 0;
        world.restart(MINUTE);
        world.run(60);
        assert_eq!(world.age(made), 120 * MINUTE + 2);
    }
}

#[test]
fn time_switched_off_counts_once_the_clock_has_settled_and_only_for_what_was_made_before() {
    let mut world = World::new();
    world.run(30);
    let before = world.memory.now();
    world.synchronised = false;
    world.restart(3 * DAY);
    world.run(5);
    let after = world.memory.now();
    assert_eq!(world.age(before), 5 * MINUTE + 1, "not known yet");
    world.synchronised = true;
    world.run(20);
    assert_eq!(world.age(before), 3 * DAY + 25 * MINUTE + 1);
    assert_eq!(world.age(after), 20 * MINUTE);
    world.run(60);
    assert_eq!(world.age(before), 3 * DAY + 85 * MINUTE + 1, "counted once");
}

#[test]
fn a_clock_that_is_never_synchronised_keeps_nothing_for_ever() {
    let mut world = World::new();
    (world.synchronised, world.wrong_s) = (false, -TRUE_START);
    let made = world.memory.now();
    for _ in 0..7 {
        world.run(24 * 60);
        world.restart(10);
    }
    assert!(world.age(made) >= 7 * DAY);
}

#[test]
fn many_restarts_are_remembered_in_bounded_space_and_none_makes_anything_younger() {
    let mut world = World::new();
    let made = world.memory.now();
    for _ in 0..200 {
        world.run(15);
        world.restart(MINUTE);
    }
    world.run(15);
    assert!(world.memory.gaps.len() <= MAX_GAPS);
    assert!(serde_json::to_vec(&world.memory).unwrap().len() < 4096);
    assert!(world.age(made) >= world.true_s - MINUTE, "{} {}", world.age(made), world.true_s);
}

#[test]
fn it_goes_on_after_a_restart_of_the_process_and_after_damage() {
    let folder = tempfile::tempdir().unwrap();
    let clock = PoleClock::open(folder.path()).unwrap();
    let first = clock.tick().unwrap();
    assert!(first > clock.began());
    let again = PoleClock::open(folder.path()).unwrap();
    assert!(again.now() >= first);
    assert_eq!(again.began(), clock.began());
    for damage in ["", "{", "{\"boot\": 1}"] {
        fs::write(folder.path().join(MEMORY), damage).unwrap();
        assert!(clock.tick().unwrap() >= first, "the running process knows better");
        fs::write(folder.path().join(MEMORY), damage).unwrap();
        PoleClock::open(folder.path()).unwrap();
    }
}

#[test]
fn a_lost_memory_goes_on_from_the_newest_key() {
    use super::super::{Kek, Keyring};
    use crate::config::{Sealing, SealingKey};

    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let clock = std::sync::Arc::new(ManualClock::default());
    clock.pass(Duration::from_secs(90 * DAY));
    let config = Sealing { key: SealingKey::File(folder.path().join("kek")) };
    Keyring::open_with(Kek::load(&config, true).unwrap(), &keys, clock).unwrap();
    let clock = PoleClock::open(&keys).unwrap();
    assert!(clock.now().as_secs() >= 90 * DAY);
}

#[derive(Debug, Clone)]
enum Happening {
    Run(u64),
    Restart(u64),
    Synchronise(bool),
    /// The wall clock is wrong by this.
    Wrong(i64),
    Make,
}

fn happening(wrong: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..200u64).prop_map(Happening::Run),
        2 => (1..40 * DAY).prop_map(Happening::Restart),
        2 => any::<bool>().prop_map(Happening::Synchronise),
        1 => wrong.prop_map(Happening::Wrong),
        3 => Just(Happening::Make),
    ]
}

proptest! {
    /// The wall clock may be anything while the kernel does not vouch for it, and is right while it
    /// does.
    #[test]
    fn an_age_is_at_least_the_time_switched_on_and_all_of_it_where_the_clock_is_kept(
        happenings in prop::collection::vec(happening(any::<i32>().prop_map(i64::from)), 1..60),
    ) {
        let mut world = World::new();
        let (mut wrong, mut synchronised) = (0, true);
        // When each was made: by the pole, by the truth, how long the machine had been on, and whether
        // the wall clock had ever been believed.
        let mut made = vec![(world.memory.now(), 0, 0, false)];
        for happening in happenings {
            match happening {
                Happening::Run(minutes) => world.run(minutes),
                Happening::Restart(off) => world.restart(off),
                Happening::Synchronise(now) => synchronised = now,
                Happening::Wrong(by) => wrong = by,
                Happening::Make => {
                    let anchored = world.memory.anchor.is_some();
                    made.push((world.memory.now(), world.true_s, world.on_s, anchored));
                }
            }
            world.synchronised = synchronised;
            world.wrong_s = if synchronised { 0 } else { wrong };
        }
        world.run(20);
        let all_known = synchronised && world.true_s <= MAX_OFF.as_secs();
        for (at, true_s, on_s, anchored) in made {
            let age = world.age(at);
            prop_assert!(age >= world.on_s - on_s);
            // May be taken for older where gaps are merged, never for younger: nothing is kept longer.
            let whole = world.true_s - true_s;
            prop_assert!(!(all_known && anchored) || age >= whole, "{age} of {whole}");
        }
    }

    /// A false source: what the kernel vouches for is decades off.
    #[test]
    fn decades_off_never_count(
        happenings in prop::collection::vec(happening(prop::sample::select(FAULTS.to_vec())), 1..40),
    ) {
        let mut world = World::new();
        let made = world.memory.now();
        world.wrong_s = FAULTS[0] - world.true_wall();
        let mut off_s = 0;
        for happening in happenings {
            match happening {
                Happening::Run(minutes) => world.run(minutes),
                Happening::Restart(off) => { off_s += off; world.restart(off); }
                Happening::Synchronise(_) | Happening::Make => {}
                Happening::Wrong(wall) => world.wrong_s = wall - world.true_wall(),
            }
        }
        // Time really switched off may be counted within one fault, the decades between never.
        prop_assert!(world.age(made) <= world.on_s + off_s + 2);
    }
}
