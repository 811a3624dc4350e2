//! Paths to operations: a tree of segments, in which a literal wins over a parameter, and a parameter over one that
//! takes the rest.

use std::collections::HashMap;

use http::Method;

/// A node: what may follow, and which operations end here.
#[derive(Debug, Default)]
pub(super) struct Tree {
    literals: HashMap<&'static str, Tree>,
    parameter: Option<Box<Tree>>,
    /// The operations of a parameter that takes the rest of the path.
    rest: Vec<(Method, usize)>,
    here: Vec<(Method, usize)>,
}

impl Tree {
    /// Adds an operation by its template; the last parameter takes the rest where `catches` says so.
    pub(super) fn add(
        &mut self,
        template: &'static str,
        catches: bool,
        method: Method,
        index: usize,
    ) {
        let mut node = self;
        let mut parts = segments(template).peekable();
        while let Some(part) = parts.next() {
            if !part.starts_with('{') {
                node = node.literals.entry(part).or_default();
            } else if catches && parts.peek().is_none() {
                node.rest.push((method, index));
                return;
            } else {
                node = node.parameter.get_or_insert_default();
            }
        }
        node.here.push((method, index));
    }

    /// The operations of a path; empty when there is none.
    pub(super) fn find(&self, path: &str) -> &[(Method, usize)] {
        let parts: Vec<&str> = segments(path).collect();
        self.descend(&parts).unwrap_or(&[])
    }

    fn descend<'t>(&'t self, parts: &[&str]) -> Option<&'t [(Method, usize)]> {
        let Some((first, rest)) = parts.split_first() else {
            return (!self.here.is_empty()).then_some(&self.here);
        };
        let literal = self.literals.get(*first).and_then(|node| node.descend(rest));
        literal
            .or_else(|| self.parameter.as_ref().and_then(|node| node.descend(rest)))
            .or_else(|| (!self.rest.is_empty()).then_some(&self.rest))
    }
}

/// The segments of a path without its query. Empty ones mean nothing: clients send `//` and end with `/`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').filter(|part| !part.is_empty())
}
