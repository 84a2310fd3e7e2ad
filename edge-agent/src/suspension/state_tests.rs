use proptest::{collection::vec, prelude::*};

use super::*;

/// 2026-03-01T07:15:00Z.
const START_S: i64 = 1_772_349_300;
const HOUR_S: i64 = 3600;
const MAX_S: i64 = MAX_SUSPENSION.as_secs();

/// A pole, and the true time.
#[derive(Debug, Clone)]
struct World {
    true_s: i64,
    /// The wall clock is off by so much.
    off_s: i64,
    synchronised: bool,
    /// Seconds switched on.
    own_s: u64,
    boot: u128,
}

impl World {
    fn kept() -> Self {
        Self { true_s: START_S, off_s: 0, synchronised: true, own_s: 1000, boot: 1 }
    }

    fn now(&self) -> Now {
        Now {
            wall: second(self.true_s + self.off_s),
            synchronised: self.synchronised,
            own: PoleTime::from_secs(self.own_s),
            boot_time: Some(BootTime {
                boot_id: Uuid::from_u128(self.boot),
                since_boot_s: self.own_s as f64,
                uncertainty_s: 0.0,
            }),
        }
    }

    fn pass(&mut self, s: u32) {
        self.true_s += i64::from(s);
        self.own_s += u64::from(s);
    }

    fn happen(&mut self, event: &Happens) {
        match *event {
            Happens::Passes(s) => self.pass(s),
            Happens::Off(s, off_s) => {
                self.true_s += i64::from(s);
                (self.off_s, self.synchronised) = (off_s, false);
                self.boot += 1;
                self.pass(1);
            }
            Happens::Step(off_s) => self.off_s = off_s,
            Happens::Unkept => self.synchronised = false,
            Happens::Kept => (self.off_s, self.synchronised) = (0, true),
            Happens::Lie(off_s) => (self.off_s, self.synchronised) = (off_s, true),
            Happens::Anew => self.own_s = 0,
        }
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Passes(u32),
    /// Switched off for so long; then the clock is off by so much.
    Off(u32, i64),
    /// The clock is set, and goes on to be called what it was.
    Step(i64),
    Unkept,
    /// A time service sets it right.
    Kept,
    /// A wrong clock is called synchronised.
    Lie(i64),
    /// What is known of the own time is lost.
    Anew,
}

fn second(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

/// From 1970 to 2038, and near.
fn wrong() -> impl Strategy<Value = i64> {
    prop_oneof![-START_S..400_000_000, -2 * HOUR_S..2 * HOUR_S]
}

fn honest() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (1u32..4000).prop_map(Happens::Passes),
        1 => (1u32..20_000, wrong()).prop_map(|(s, off)| Happens::Off(s, off)),
        1 => wrong().prop_map(Happens::Step),
        1 => Just(Happens::Unkept),
        1 => Just(Happens::Kept),
    ]
}

fn any_clock() -> impl Strategy<Value = Happens> {
    prop_oneof![8 => honest(), 2 => wrong().prop_map(Happens::Lie), 1 => Just(Happens::Anew)]
}

fn order(n: u128, ask: Ask) -> Order {
    let (by, reason) = ("somebody".into(), "a march".into());
    Order { command_id: Uuid::from_u128(n), by, reason, case_number: None, ask }
}

fn suspend(from_s: Option<i64>, until_s: i64) -> Ask {
    Ask::Suspend { from: from_s.map(second), until: second(until_s) }
}

/// States and causes of what is to be entered.
fn entries(memory: &Memory) -> Vec<&'static str> {
    let word = |e: &Entry| match e.said {
        Suspension::Begun { .. } => "begun",
        Suspension::Ended { cause: SuspensionEnd::Expired, .. } => "expired",
        Suspension::Ended { cause: SuspensionEnd::Resumed, .. } => "resumed",
        Suspension::Ended { cause: SuspensionEnd::Replaced, .. } => "replaced",
        Suspension::Ended { cause: SuspensionEnd::Lost, .. } => "lost",
        Suspension::Ended { cause: SuspensionEnd::Refused, .. } => "refused",
        Suspension::Ordered { .. } | Suspension::Recalled { .. } => "named",
    };
    memory.to_enter.iter().map(word).collect()
}

proptest! {
    /// Neither power cuts nor whatever is done to the clock ends one before its time, and none outlives
    /// the time that the pole was on for its length.
    #[test]
    fn nothing_is_captured_in_the_window_and_it_ends_by_itself(
        length_s in 1i64..6 * HOUR_S,
        happens in vec(honest(), 0..40),
    ) {
        let mut world = World::kept();
        let (until_s, begun_s) = (world.true_s + length_s, world.own_s);
        let mut memory = Memory::default();
        memory.carry_out(&order(1, suspend(None, until_s)), &world.now()).unwrap();
        prop_assert!(memory.in_force());
        for event in &happens {
            world.happen(event);
            memory.look(&world.now());
            let on_s = i64::try_from(world.own_s - begun_s).unwrap();
            if world.true_s < until_s {
                prop_assert!(memory.in_force(), "ended {} s early", until_s - world.true_s);
            }
            // Worn out, or a true clock says that it is over.
            let told = matches!(event, Happens::Kept) && world.true_s > until_s + 1;
            if on_s > length_s + 1 || told {
                prop_assert!(!memory.in_force(), "{} s late", world.true_s - until_s);
            }
        }
        world.pass(u32::try_from(length_s + 2).unwrap());
        memory.look(&world.now());
        prop_assert!(!memory.in_force());
        prop_assert_eq!(entries(&memory), ["begun", "expired"]);
    }

    #[test]
    fn no_clock_keeps_a_pole_blind_for_ever(
        (from_s, length_s) in (-MAX_S..MAX_S, 1..MAX_S),
        mut world in any_clock().prop_map(|event| {
            let mut world = World::kept();
            world.happen(&event);
            world
        }),
        happens in vec(any_clock(), 0..20),
    ) {
        let mut memory = Memory::default();
        let wall_s = world.true_s + world.off_s;
        let ask = suspend(Some(wall_s + from_s), wall_s + from_s + length_s);
        if memory.carry_out(&order(1, ask), &world.now()).is_err() {
            prop_assert!(from_s + length_s <= 0);
            return Ok(());
        }
        for event in &happens {
            world.happen(event);
            memory.look(&world.now());
        }
        // A false clock may put off one that is to come, as it is not in force.
        for _ in 0..10 {
            let blind = memory.in_force();
            world.pass(u32::try_from(MAX_S + 2).unwrap());
            memory.look(&world.now());
            prop_assert!(!(blind && memory.in_force()));
        }
    }

    #[test]
    fn one_that_is_to_come_is_in_force_in_its_window_and_neither_before_nor_after(
        ahead_s in 2i64..100_000,
        length_s in 1i64..100_000,
        passes in vec((1u32..5000, -START_S..400_000_000), 0..60),
    ) {
        let mut world = World::kept();
        let (from_s, until_s) = (world.true_s + ahead_s, world.true_s + ahead_s + length_s);
        let mut memory = Memory::default();
        memory.carry_out(&order(1, suspend(Some(from_s), until_s)), &world.now()).unwrap();
        for (s, off_s) in passes {
            world.pass(s);
            // Set while the pole is on: it does not matter.
            world.off_s = off_s;
            memory.look(&world.now());
            let t = world.true_s;
            prop_assert!(memory.in_force() || !(from_s..until_s).contains(&t));
            prop_assert!(!memory.in_force() || (from_s - 1..=until_s).contains(&t));
        }
    }

    #[test]
    fn no_order_panics(from_s in any::<Option<i64>>(), until_s in any::<i64>()) {
        let at = |s| Timestamp::from_second(s).unwrap_or(if s > 0 { Timestamp::MAX } else { Timestamp::MIN });
        let ask = Ask::Suspend { from: from_s.map(at), until: at(until_s) };
        let _ = Memory::default().carry_out(&order(1, ask), &World::kept().now());
    }
}

#[test]
fn the_time_switched_off_counts_once_the_clock_is_synchronised() {
    let mut world = World::kept();
    let mut memory = Memory::default();
    let until_s = START_S + HOUR_S;
    memory.carry_out(&order(1, suspend(None, until_s)), &world.now()).unwrap();
    // Off past its end, and then a clock of 1970.
    world.happen(&Happens::Off(5000, -START_S));
    memory.look(&world.now());
    assert!(memory.in_force(), "nothing says that it is over");
    world.happen(&Happens::Kept);
    memory.look(&world.now());
    assert!(!memory.in_force());
}

#[test]
fn a_clock_that_was_wrong_when_the_order_came_is_put_right_later() {
    for off_s in [-HOUR_S, HOUR_S] {
        let mut world = World { off_s, synchronised: false, ..World::kept() };
        let mut memory = Memory::default();
        let until_s = START_S + 3 * HOUR_S;
        memory.carry_out(&order(1, suspend(None, until_s)), &world.now()).unwrap();
        world.happen(&Happens::Kept);
        world.pass(u32::try_from(3 * HOUR_S - 1).unwrap());
        memory.look(&world.now());
        assert!(memory.in_force());
        world.pass(2);
        memory.look(&world.now());
        assert!(!memory.in_force());
    }
}

#[test]
fn one_to_come_begins_by_a_clock_that_nobody_vouches_for_where_the_pole_was_off() {
    let mut world = World::kept();
    let mut memory = Memory::default();
    let from_s = START_S + HOUR_S;
    memory.carry_out(&order(1, suspend(Some(from_s), from_s + HOUR_S)), &world.now()).unwrap();
    assert!(!memory.in_force() && memory.window.is_some());
    world.happen(&Happens::Off(4000, 0));
    memory.look(&world.now());
    assert!(memory.in_force());
}

#[test]
fn a_later_order_replaces_and_never_ends_one_unasked() {
    let world = World::kept();
    let mut memory = Memory::default();
    let ask = |m: &mut Memory, n, ask| m.carry_out(&order(n, ask), &world.now());
    let hours = |n| START_S + n * HOUR_S;
    // Two to come: the later order counts.
    ask(&mut memory, 1, suspend(Some(hours(1)), hours(2))).unwrap();
    ask(&mut memory, 2, suspend(Some(hours(3)), hours(4))).unwrap();
    assert_eq!(entries(&memory), ["replaced"]);
    // One that begins now, and one after it.
    ask(&mut memory, 3, suspend(Some(hours(-1)), hours(2))).unwrap();
    ask(&mut memory, 4, suspend(None, hours(3))).unwrap();
    let refused = ask(&mut memory, 5, suspend(Some(hours(4)), hours(5)));
    assert_eq!(refused, Err(OrderError::InForce(second(hours(3)))));
    assert_eq!(entries(&memory), ["replaced", "replaced", "begun", "replaced", "begun"]);
    ask(&mut memory, 6, Ask::Resume).unwrap();
    assert!(!memory.in_force() && entries(&memory).last() == Some(&"resumed"));
    assert_eq!(ask(&mut memory, 7, Ask::Resume), Err(OrderError::NotSuspended));
}

#[test]
fn what_is_wrong_with_an_order_is_said() {
    let refused = |ask| {
        let mut memory = Memory::default();
        let error = memory.carry_out(&order(1, ask), &World::kept().now()).unwrap_err();
        assert_eq!(memory, Memory::default());
        error.to_string()
    };
    let said = refused(suspend(None, START_S + MAX_S + 1));
    assert!(said.starts_with("720h 1s is longer than the 720h"), "{said}");
    let said = refused(suspend(None, START_S));
    assert!(said.contains("has passed: this pole's clock says 2026-03-01T07:15:00Z"), "{said}");
    let said = refused(suspend(Some(START_S + 60), START_S + 60));
    assert!(said.contains("later than"), "{said}");
    let said = refused(suspend(Some(START_S + MAX_S + 1), START_S + MAX_S + 2));
    assert!(said.contains("ask later"), "{said}");
}

#[test]
fn answers_are_remembered_to_a_limit_and_fit_into_a_small_file() {
    let world = World::kept();
    let mut memory = Memory::default();
    for n in 0..20 {
        memory.carry_out(&order(n, suspend(None, START_S + HOUR_S)), &world.now()).unwrap();
        memory.answer(Uuid::from_u128(n), 100);
        // All that can wait: an outbox that takes nothing refuses the next order.
        while memory.to_enter.len() > 4 {
            memory.entered(Some(u64::MAX - 1));
        }
    }
    assert_eq!(memory.answered(Uuid::from_u128(3)), None);
    assert_eq!(memory.answered(Uuid::from_u128(12)), Some(u64::MAX - 1));
    assert!(serde_json::to_vec(&memory).unwrap().len() as u64 <= crate::durable::MAX_BYTES);
}
