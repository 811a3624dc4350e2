//! Walks through a world: sequences of steps, drawn so that what was not tried yet comes first.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, Strategy, Union};
use proptest_state_machine::ReferenceStateMachine;

use super::world::Trial;
use super::{Step, World, steps};

/// What is new is drawn so much rather than what was tried already.
const NEW: u32 = 24;
/// What is new and refused even more: it leaves the world where it is, so that all of it can be tried there.
const REFUSED: u32 = 600;
/// What is new and removes something: rather late, since nothing can be tried on what is gone.
const END: u32 = 3;

/// Which steps a machine takes.
pub trait Alphabet: 'static {
    /// How many sandboxes it makes at most.
    const SANDBOXES: usize;

    /// Whether this is one of its steps.
    fn has(step: &Step) -> bool;

    /// Walks of so many steps.
    fn walks(steps: std::ops::RangeInclusive<usize>) -> BoxedStrategy<Walk>
    where
        Self: Sized,
    {
        Machine::<Self>::sequential_strategy(steps)
            .prop_map(|(world, steps, seen)| Walk { world, steps, seen })
            .boxed()
    }
}

/// The state machine over the steps of an alphabet.
pub struct Machine<A>(PhantomData<A>);

impl<A: Alphabet> ReferenceStateMachine for Machine<A> {
    type State = World;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<World> {
        Just(World::new(A::SANDBOXES)).boxed()
    }

    fn transitions(world: &World) -> BoxedStrategy<Step> {
        let mut trials: BTreeMap<Trial, Vec<Step>> = BTreeMap::new();
        for step in steps::all(world).into_iter().filter(A::has) {
            trials.entry(world.trial(&step)).or_default().push(step);
        }
        let weighted = trials.into_iter().map(|(trial, steps)| {
            let ends = trial.owed < 400 && steps.iter().any(Step::ends);
            let weight = match (world.tried.contains(&trial), ends) {
                (true, _) => 2,
                (false, false) if trial.owed >= 400 => REFUSED,
                (false, false) => NEW,
                (false, true) => END,
            };
            (weight, select(steps))
        });
        Union::new_weighted(weighted.collect()).boxed()
    }

    fn apply(mut world: World, step: &Step) -> World {
        let trial = world.trial(step);
        Arc::make_mut(&mut world.tried).insert(trial);
        world.take(step);
        world
    }

    fn preconditions(world: &World, step: &Step) -> bool {
        steps::possible(world, step)
    }
}

/// A walk that was drawn.
#[derive(Clone)]
pub struct Walk {
    /// Where it begins.
    pub world: World,
    /// The steps.
    pub steps: Vec<Step>,
    seen: Option<Arc<AtomicUsize>>,
}

impl Walk {
    /// Says that one more step is taken: a shorter form needs none of those that were never reached.
    pub fn reach(&self) {
        if let Some(seen) = &self.seen {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.steps).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::TestRunner;

    use super::*;

    struct All;

    impl Alphabet for All {
        const SANDBOXES: usize = 2;

        fn has(_: &Step) -> bool {
            true
        }
    }

    #[test]
    fn a_refused_step_changes_nothing_in_the_model() {
        let mut runner = TestRunner::deterministic();
        let (mut done, mut refused) = (0, 0);
        for _ in 0..20 {
            let tree = All::walks(40..=40).new_tree(&mut runner).unwrap();
            let walk = proptest::strategy::ValueTree::current(&tree);
            let mut world = walk.world.clone();
            for step in &walk.steps {
                let before = format!("{world:?}");
                if world.take(step) < 400 {
                    done += 1;
                } else {
                    refused += 1;
                    assert_eq!(before, format!("{world:?}"), "{step:?}");
                }
            }
        }
        assert!(done > 200 && refused > 100, "{done} done, {refused} refused");
    }
}
