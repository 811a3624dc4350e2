//! What a tree of files is, and what becomes of it: the reference that sequences of operations are compared with.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// A file or a directory. A mode that nobody has set is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Its bytes.
    File(Vec<u8>, Option<u32>),
    /// A directory.
    Dir(Option<u32>),
}

/// A tree, by paths relative to its root.
pub(super) type Tree = BTreeMap<String, Node>;

/// An operation. Places are numbers into [`PLACES`].
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Writes a file of so many bytes.
    Write { at: usize, size: usize },
    /// Makes a directory.
    Mkdir { at: usize, recursive: bool, mode: Option<u32> },
    /// Moves.
    Rename { from: usize, to: usize },
    /// Copies.
    Copy { from: usize, to: usize, recursive: bool },
    /// Sets permissions.
    Chmod { at: usize, mode: u32 },
    /// Removes.
    Remove { at: usize, recursive: bool },
}

/// An operation, and whether it goes by the routes under `fs` or those under `files`.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) fs: bool,
    /// Whether it is aimed at something that is there.
    pub(super) aimed: bool,
}

impl Step {
    /// The operation, aimed if it is to be: most places are empty most of the time.
    pub(super) fn aim(&self, tree: &Tree, names: &[&str; 3]) -> Op {
        let mut op = self.op.clone();
        let there: Vec<usize> =
            (0..PLACES.len()).filter(|at| tree.contains_key(&place(names, *at))).collect();
        let source = match &mut op {
            Op::Rename { from: at, .. }
            | Op::Copy { from: at, .. }
            | Op::Chmod { at, .. }
            | Op::Remove { at, .. } => at,
            Op::Write { .. } | Op::Mkdir { .. } => return op,
        };
        if self.aimed
            && let Some(known) = there.get(*source % there.len().max(1))
        {
            *source = *known;
        }
        op
    }
}

/// Where things are. Each letter stands for a name of the case's.
pub(super) const PLACES: [&str; 8] = ["a", "b", "c", "a/a", "a/b", "b/a", "a/b/c", "c/c"];

/// Names for the letters: plain ones, ones that begin alike, odd ones.
pub(super) const NAMES: [[&str; 3]; 3] =
    [["a", "b", "c"], ["a", "a.b", "ab"], ["a b", "-é", "%2E"]];

/// The path of a place.
pub(super) fn place(names: &[&str; 3], at: usize) -> String {
    let letters = PLACES.get(at).copied().unwrap_or("a");
    let name = |letter: &str| match letter {
        "a" => names[0],
        "b" => names[1],
        _ => names[2],
    };
    letters.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// What must become of an operation.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is done, and this is the tree then.
    Done(Tree),
    /// It is refused: what it names is not there.
    Missing,
    /// It is refused, and the tree is as before.
    Refused,
    /// The sources are silent: done or refused, nothing between.
    Either(Tree),
    /// The sources are silent, and there is more than one way to do it: not asked.
    Unclear,
}

/// Judges an operation; files are written with these bytes.
pub(super) fn judge(tree: &Tree, op: &Op, names: &[&str; 3], bytes: &[u8]) -> Verdict {
    let at = |place_: &usize| place(names, *place_);
    match op {
        Op::Write { at: place, .. } => {
            let path = at(place);
            if matches!(tree.get(&path), Some(Node::Dir(_))) {
                return Verdict::Refused;
            }
            put(tree, &path, Node::File(bytes.to_vec(), None))
        }
        Op::Mkdir { at: place, recursive, mode } => {
            let path = at(place);
            match tree.get(&path) {
                Some(Node::File(..)) => Verdict::Refused,
                Some(Node::Dir(_)) if *recursive => {
                    let mut same = tree.clone();
                    same.insert(path, Node::Dir(None));
                    Verdict::Done(same)
                }
                Some(Node::Dir(_)) => Verdict::Refused,
                None if !*recursive && parent(&path).is_some_and(|up| !tree.contains_key(up)) => {
                    Verdict::Refused
                }
                None => put(tree, &path, Node::Dir(*mode)),
            }
        }
        Op::Rename { from, to } => carry(tree, &at(from), &at(to), true, true),
        Op::Copy { from, to, recursive } => carry(tree, &at(from), &at(to), *recursive, false),
        Op::Chmod { at: place, mode } => {
            let mut changed = tree.clone();
            match changed.get_mut(&at(place)) {
                Some(Node::File(_, known) | Node::Dir(known)) => *known = Some(*mode),
                None => return missing(tree, &at(place)),
            }
            Verdict::Done(changed)
        }
        Op::Remove { at: place, recursive } => {
            let path = at(place);
            if !tree.contains_key(&path) {
                return missing(tree, &path);
            }
            let full = tree.keys().any(|other| inside(other, &path) && *other != path);
            if full && !recursive {
                return Verdict::Refused;
            }
            Verdict::Done(without(tree, &path))
        }
    }
}

fn carry(tree: &Tree, from: &str, to: &str, recursive: bool, moves: bool) -> Verdict {
    let Some(node) = tree.get(from) else { return missing(tree, from) };
    if from == to {
        return Verdict::Either(tree.clone());
    }
    if inside(to, from) {
        return Verdict::Refused;
    }
    let directory = matches!(node, Node::Dir(_));
    if directory && !recursive {
        return Verdict::Refused;
    }
    let there = tree.get(to);
    match there {
        Some(Node::Dir(_)) => return Verdict::Unclear,
        Some(Node::File(..)) if directory => return Verdict::Unclear,
        _ => {}
    }
    let (taken, there) = (tree.range(from.to_owned()..), there.is_some());
    let carried: Vec<(String, Node)> = taken
        .filter(|(path, _)| inside(path, from))
        .map(|(path, node)| {
            let node = match node {
                node if moves => node.clone(),
                Node::File(bytes, _) => Node::File(bytes.clone(), None),
                Node::Dir(_) => Node::Dir(None),
            };
            (format!("{to}{}", path.get(from.len()..).unwrap_or_default()), node)
        })
        .collect();
    let rest = if moves { without(tree, from) } else { tree.clone() };
    // The parents of the destination are made before the source goes.
    let Verdict::Done(mut done) = put(tree, to, Node::Dir(None)) else { return Verdict::Refused };
    done.retain(|path, _| rest.contains_key(path) || !tree.contains_key(path));
    done.extend(carried);
    if there { Verdict::Either(done) } else { Verdict::Done(done) }
}

/// With this node, and the directories above it.
fn put(tree: &Tree, path: &str, node: Node) -> Verdict {
    let mut done = tree.clone();
    let mut up = parent(path);
    while let Some(above) = up {
        match done.get(above) {
            Some(Node::File(..)) => return Verdict::Refused,
            Some(Node::Dir(_)) => {}
            None => drop(done.insert(above.to_owned(), Node::Dir(None))),
        }
        up = parent(above);
    }
    done.insert(path.to_owned(), node);
    Verdict::Done(done)
}

fn without(tree: &Tree, path: &str) -> Tree {
    tree.iter()
        .filter(|(other, _)| !inside(other, path))
        .map(|(path, node)| (path.clone(), node.clone()))
        .collect()
}

/// Nothing is there. What would have to lie below a file may be a conflict as well.
fn missing(tree: &Tree, path: &str) -> Verdict {
    let mut up = parent(path);
    while let Some(above) = up {
        if matches!(tree.get(above), Some(Node::File(..))) {
            return Verdict::Refused;
        }
        up = parent(above);
    }
    Verdict::Missing
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above)
}

/// Whether it is this path or below it.
fn inside(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How often each kind of operation is drawn: writes, directories, renames, copies, permissions, removals.
pub(super) type Mix = [u32; 6];

/// A sequence of operations.
pub(super) fn steps(mix: Mix) -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..PLACES.len();
    // Each lets the owner do everything: a server's agent need not be root.
    let modes = || prop::sample::select(vec![0o700u32, 0o755, 0o777, 0o750]);
    let [write, mkdir, rename, copy, chmod, remove] = mix;
    let op = prop_oneof![
        write => (at(), 0usize..200).prop_map(|(at, size)| Op::Write { at, size }),
        mkdir => (at(), any::<bool>(), prop::option::of(modes()))
            .prop_map(|(at, recursive, mode)| Op::Mkdir { at, recursive, mode }),
        rename => (at(), at()).prop_map(|(from, to)| Op::Rename { from, to }),
        copy => (at(), at(), any::<bool>())
            .prop_map(|(from, to, recursive)| Op::Copy { from, to, recursive }),
        chmod => (at(), modes()).prop_map(|(at, mode)| Op::Chmod { at, mode }),
        remove => (at(), any::<bool>()).prop_map(|(at, recursive)| Op::Remove { at, recursive }),
    ];
    let first = (at(), 1usize..60, any::<bool>()).prop_map(|(at, size, fs)| Step {
        op: Op::Write { at, size },
        fs,
        aimed: false,
    });
    let step = (op, any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(op, fs, aimed)| Step {
        op,
        fs,
        aimed,
    });
    // Something must be there before anything can be done to it.
    (prop::collection::vec(first, 1..4), prop::collection::vec(step, 1..8))
        .prop_map(|(first, rest)| [first, rest].concat())
}
