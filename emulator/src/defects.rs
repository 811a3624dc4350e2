//! Seeded faults: what the contract suite must find.
//!
//! A suite that finds nothing proves nothing until it has been seen to find something. So a build with the feature
//! `defects` can be started with one fault of the catalogue (`catalogue.rs`), taken from what real servers get
//! wrong, each with the rule that it breaks. Faults that a client sees in the form of requests and answers are made in
//! one layer (`layer.rs`) outside of all others; the rest are a line at the place that gets it wrong: `if defect!(Name) { … }`.
//! Without the feature that is `false`, and nothing of this is compiled.

#[cfg(feature = "defects")]
mod active;
#[cfg(feature = "defects")]
pub mod catalogue;
#[cfg(feature = "defects")]
pub mod commands;
#[cfg(feature = "defects")]
pub mod files;
#[cfg(feature = "defects")]
pub mod foreign;
#[cfg(feature = "defects")]
pub mod layer;
#[cfg(feature = "defects")]
pub mod names;

#[cfg(feature = "defects")]
pub use active::{choose, is, layered};

/// `defect!(Name)`: whether the emulator was started with this fault. `defect!(Name, faulty, right)`: one of two values.
/// `defect!(Name => …)`: what is done with it only.
#[cfg(feature = "defects")]
macro_rules! defect {
    ($name:ident) => {
        $crate::defects::is($crate::defects::catalogue::Defect::$name)
    };
    ($name:ident, $faulty:expr, $right:expr) => {
        if $crate::defects::defect!($name) { $faulty } else { $right }
    };
    ($name:ident => $($faulty:tt)*) => {
        if $crate::defects::defect!($name) { $($faulty)* }
    };
}

/// The same where there are none: what is faulty is not even compiled.
#[cfg(not(feature = "defects"))]
macro_rules! defect {
    ($name:ident) => {
        $crate::defects::none()
    };
    ($name:ident, $faulty:expr, $right:expr) => {
        // Not bare: `let a = a` would be called redundant.
        ::std::convert::identity($right)
    };
    ($name:ident => $($faulty:tt)*) => {};
}

pub(crate) use defect;

/// There are none. Not a bare `false`: the lines that ask are the same in both builds.
#[cfg(not(feature = "defects"))]
#[inline(always)]
#[allow(clippy::inline_always)] // so that nothing of a fault is left in a build without any
pub(crate) const fn none() -> bool {
    false
}
