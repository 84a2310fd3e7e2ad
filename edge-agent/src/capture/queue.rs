//! The bounded queue between the capture thread and the detector.
//!
//! It never holds more than its capacity. A live camera's newest frame always gets in and the
//! oldest goes; a clip that is read as fast as it goes waits for room instead. Pure: no GStreamer,
//! and nothing in it fails.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What [`Queue::pop`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped<T> {
    /// The oldest item.
    Item(T),
    /// Nothing came in time.
    Timeout,
    /// Closed, and everything that was in it has been taken.
    Closed,
}

/// What became of an item pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed<T> {
    /// It is in, and nothing had to go for it.
    Kept,
    /// It is in; this one, the oldest, is out.
    Evicted(T),
    /// It is not in: there was no room in time.
    Full(T),
    /// It is not in: the queue is closed.
    Closed(T),
}

/// A queue of at most `capacity` items.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    capacity: usize,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue; a capacity of 0 is taken as 1.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            inner: Mutex::new(Inner { items: VecDeque::with_capacity(capacity), closed: false }),
            capacity,
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `item` in at once; the oldest makes room.
    pub(crate) fn push_evicting(&self, item: T) -> Pushed<T> {
        let mut inner = self.lock();
        if inner.closed {
            return Pushed::Closed(item);
        }
        let oldest =
            if inner.items.len() >= self.capacity { inner.items.pop_front() } else { None };
        inner.items.push_back(item);
        drop(inner);
        self.filled.notify_one();
        oldest.map_or(Pushed::Kept, Pushed::Evicted)
    }

    /// Puts `item` in when there is room, waiting for it at most `patience`.
    pub(crate) fn push_waiting(&self, item: T, patience: Duration) -> Pushed<T> {
        let (mut inner, _) = self
            .emptied
            .wait_timeout_while(self.lock(), patience, |inner| {
                inner.items.len() >= self.capacity && !inner.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return Pushed::Closed(item);
        }
        if inner.items.len() >= self.capacity {
            return Pushed::Full(item);
        }
        inner.items.push_back(item);
        drop(inner);
        self.filled.notify_one();
        Pushed::Kept
    }

    /// Takes the oldest item, waiting for it at most `patience`.
    pub(crate) fn pop(&self, patience: Duration) -> Popped<T> {
        let deadline = Instant::now() + patience;
        let mut inner = self.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                drop(inner);
                self.emptied.notify_one();
                return Popped::Item(item);
            }
            if inner.closed {
                return Popped::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Popped::Timeout;
            }
            inner = self.filled.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// No more goes in; what is in can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// No more goes in and what is in goes.
    pub(crate) fn close_and_clear(&self) {
        let dropped = std::mem::take(&mut self.lock().items);
        self.close();
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(20);

    proptest! {
        #[test]
        fn what_comes_out_is_the_newest_of_what_went_in_and_in_order(
            capacity in 1_usize..8,
            pushes in proptest::collection::vec(any::<bool>(), 0..64),
        ) {
            let queue = Queue::new(capacity);
            let mut model = VecDeque::new();
            for (i, push) in pushes.into_iter().enumerate() {
                if push {
                    let evicted = (model.len() == capacity).then(|| model.pop_front()).flatten();
                    model.push_back(i);
                    let expected = evicted.map_or(Pushed::Kept, Pushed::Evicted);
                    prop_assert_eq!(queue.push_evicting(i), expected);
                } else {
                    let expected = model.pop_front().map_or(Popped::Timeout, Popped::Item);
                    prop_assert_eq!(queue.pop(NOW), expected);
                }
            }
        }
    }

    #[test]
    fn a_full_queue_makes_the_patient_wait_until_there_is_room() {
        let queue = Arc::new(Queue::new(1));
        assert_eq!(queue.push_waiting(1, NOW), Pushed::Kept);
        assert_eq!(queue.push_waiting(2, NOW), Pushed::Full(2));
        let waiting = std::thread::spawn({
            let queue = queue.clone();
            move || queue.push_waiting(3, LONG)
        });
        assert_eq!(queue.pop(LONG), Popped::Item(1));
        assert_eq!(waiting.join().unwrap(), Pushed::Kept);
        assert_eq!(queue.pop(LONG), Popped::Item(3));
    }

    #[test]
    fn closing_wakes_both_ends_and_loses_nothing_that_was_in() {
        let queue = Arc::new(Queue::new(1));
        queue.push_evicting(1);
        let pushing = std::thread::spawn({
            let queue = queue.clone();
            move || queue.push_waiting(2, LONG)
        });
        queue.close();
        assert_eq!(pushing.join().unwrap(), Pushed::Closed(2));
        assert_eq!(queue.pop(LONG), Popped::Item(1));
        assert_eq!(queue.pop(LONG), Popped::Closed);
        assert_eq!(queue.push_evicting(4), Pushed::Closed(4));
    }
}
