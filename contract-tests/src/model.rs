//! Reference models: what the contract says becomes of each kind of resource, as plain structs that know nothing of HTTP.
//!
//! A [`World`] is everything that a walk has made. Each kind has a file with its struct, the acts that can be tried on it,
//! and one function that says what an act changes and with which status it is answered; a refused act changes nothing.
//! What one kind does to another stands there, too: a workspace takes its projects and keys with it, but not sandboxes.
//!
//! [`machine`] draws walks through a world, [`steps`] says which steps can be tried from where.

pub mod key;
pub mod machine;
pub mod preview;
pub mod project;
pub mod sandbox;
pub mod snapshot;
pub mod steps;
pub mod workspace;
pub mod world;

pub use machine::{Alphabet, Machine, Walk};
pub use world::{Step, World};

/// The number of a resource of its kind. It means the same resource in every shorter form of a walk.
pub type Place = usize;

/// What has become of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life<T> {
    /// Not made yet.
    Unmade,
    /// There.
    Here(T),
    /// Removed: 404 for ever.
    Gone,
}

/// The resources of a kind, as many as a walk may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places<T>(Vec<Life<T>>);

impl<T> Places<T> {
    /// So many, none of them made.
    pub fn new(most: usize) -> Self {
        Self((0..most).map(|_| Life::Unmade).collect())
    }

    /// The resource, when it is there.
    pub fn get(&self, at: Place) -> Option<&T> {
        match self.0.get(at) {
            Some(Life::Here(it)) => Some(it),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, at: Place) -> Option<&mut T> {
        match self.0.get_mut(at) {
            Some(Life::Here(it)) => Some(it),
            _ => None,
        }
    }

    /// Whether it was removed.
    pub fn is_gone(&self, at: Place) -> bool {
        matches!(self.0.get(at), Some(Life::Gone))
    }

    /// Whether it was made at some time.
    pub fn is_known(&self, at: Place) -> bool {
        matches!(self.0.get(at), Some(Life::Here(_) | Life::Gone))
    }

    /// Whether it can still be made.
    pub fn is_unmade(&self, at: Place) -> bool {
        matches!(self.0.get(at), Some(Life::Unmade))
    }

    /// The first that can still be made.
    pub fn free(&self) -> Option<Place> {
        (0..self.0.len()).find(|at| self.is_unmade(*at))
    }

    /// All that were made at some time.
    pub fn known(&self) -> impl Iterator<Item = Place> {
        (0..self.0.len()).filter(|at| self.is_known(*at))
    }

    /// All that are there.
    pub fn here(&self) -> impl Iterator<Item = (Place, &T)> {
        self.0.iter().enumerate().filter_map(|(at, life)| match life {
            Life::Here(it) => Some((at, it)),
            _ => None,
        })
    }

    /// Whether one that is there, other than `but`, is like this.
    pub fn any(&self, but: Option<Place>, like: impl Fn(&T) -> bool) -> bool {
        self.here().any(|(at, it)| Some(at) != but && like(it))
    }

    /// It is there now.
    pub fn make(&mut self, at: Place, it: T) {
        if let Some(life) = self.0.get_mut(at) {
            *life = Life::Here(it);
        }
    }

    /// It is gone now.
    pub fn remove(&mut self, at: Place) {
        if let Some(life) = self.0.get_mut(at) {
            *life = Life::Gone;
        }
    }

    /// All that are like this are gone now.
    pub fn remove_if(&mut self, like: impl Fn(&T) -> bool) {
        for life in &mut self.0 {
            if matches!(life, Life::Here(it) if like(it)) {
                *life = Life::Gone;
            }
        }
    }

    /// Changes all that are there.
    pub fn each(&mut self, change: impl Fn(&mut T)) {
        for life in &mut self.0 {
            if let Life::Here(it) = life {
                change(it);
            }
        }
    }
}
