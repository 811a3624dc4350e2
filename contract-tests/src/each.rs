//! All of something, in any order: a case that covers every operation, and shrinks to the one that breaks the rule.

use std::fmt;

use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;

/// How many items a report names.
const SHOWN: usize = 6;

/// All items, shuffled; shrinks to as few as still break the rule.
pub fn each<T: Clone + fmt::Debug>(items: Vec<T>) -> Each<T> {
    let most = items.len();
    Each { items, most }
}

/// See [`each`].
#[derive(Debug, Clone)]
pub struct Each<T> {
    items: Vec<T>,
    most: usize,
}

impl<T> Each<T> {
    /// Only so many of them, any.
    #[must_use]
    pub fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }
}

/// What was drawn. Its text names the first few.
#[derive(Clone)]
pub struct Some<T>(pub Vec<T>);

impl<T> std::ops::Deref for Some<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Some<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        list.entries(self.0.iter().take(SHOWN));
        if let Option::Some(more) = self.0.len().checked_sub(SHOWN + 1) {
            list.entry(&format_args!("and {} more", more + 1));
        }
        list.finish()
    }
}

impl<T: Clone + fmt::Debug> Strategy for Each<T> {
    type Tree = Fewer<T>;
    type Value = Some<T>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut items = Just(self.items.clone()).prop_shuffle().new_tree(runner)?.current();
        items.truncate(self.most);
        let chunk = items.len();
        Ok(Fewer { broken: items.clone(), current: items, chunk, from: 0 })
    }
}

/// Leaves out ever smaller parts, as long as what is left still breaks the rule.
#[derive(Debug)]
pub struct Fewer<T> {
    /// The fewest that broke it.
    broken: Vec<T>,
    current: Vec<T>,
    chunk: usize,
    from: usize,
}

impl<T: Clone> Fewer<T> {
    /// Leaves out the next part of what broke the rule.
    fn next(&mut self) -> bool {
        if self.from >= self.broken.len() {
            self.from = 0;
            self.chunk /= 2;
        }
        if self.chunk >= self.broken.len() {
            self.chunk = self.broken.len() / 2;
        }
        if self.chunk == 0 {
            self.current.clone_from(&self.broken);
            return false;
        }
        let out = self.from..self.from + self.chunk;
        let kept = self.broken.iter().enumerate().filter(|(place, _)| !out.contains(place));
        self.current = kept.map(|(_, item)| item.clone()).collect();
        true
    }
}

impl<T: Clone + fmt::Debug> ValueTree for Fewer<T> {
    type Value = Some<T>;

    fn current(&self) -> Some<T> {
        Some(self.current.clone())
    }

    fn simplify(&mut self) -> bool {
        self.broken.clone_from(&self.current);
        self.next()
    }

    fn complicate(&mut self) -> bool {
        self.from += self.chunk;
        self.next()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::test_runner::{Config, TestCaseError, TestError};

    use super::*;

    /// What is left of 0 to 261 when those that hold `breaks` break, and how many tries that took.
    fn shrunk(breaks: impl Fn(&[u32]) -> bool) -> (Vec<u32>, u32) {
        let tries = std::cell::Cell::new(0);
        let config = Config {
            cases: 1,
            max_shrink_iters: 512,
            failure_persistence: None,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(&each((0..262).collect()), |items| {
            tries.set(tries.get() + 1);
            if breaks(&items) { Err(TestCaseError::fail("broken")) } else { Ok(()) }
        });
        let Err(TestError::Fail(_, Some(mut left))) = result else { return (Vec::new(), 0) };
        left.sort_unstable();
        (left, tries.get())
    }

    #[test]
    fn it_is_everything_and_shrinks_to_what_breaks() {
        assert_eq!(shrunk(|items| items.len() > 262), (Vec::new(), 0));
        let (left, tries) = shrunk(|items| items.contains(&77));
        assert_eq!(left, [77]);
        assert!(tries < 24, "{tries}");
        let (left, tries) = shrunk(|items| items.contains(&3) && items.contains(&200));
        assert_eq!(left, [3, 200]);
        assert!(tries < 80, "{tries}");
    }

    #[test]
    fn the_first_few_are_named() {
        assert_eq!(format!("{:?}", Some(vec![1, 2])), "[1, 2]");
        let text = format!("{:?}", Some((1..=9).collect::<Vec<_>>()));
        assert_eq!(text, "[1, 2, 3, 4, 5, 6, and 3 more]");
    }
}
