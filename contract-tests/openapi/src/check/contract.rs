//! The contract, ready to look things up in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use http::Method;
use serde_json::Value;

use super::operation::{Operation, Place, Response};
use super::paths::Tree;
use super::schemas::{Schema, Schemas};
use super::violation::Finding;

/// Every operation, and what answers where there is none.
pub struct Contract {
    document: &'static Value,
    operations: Vec<Operation>,
    tree: Tree,
    /// Answers to what is no operation.
    pub(super) elsewhere: BTreeMap<u16, Response>,
    schemas: Schemas,
}

impl Contract {
    /// The contract of this crate, read once.
    pub fn get() -> &'static Self {
        static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
            #[expect(clippy::panic, reason = "the files are compiled in, and a test reads them")]
            Contract::of(crate::document())
                .unwrap_or_else(|error| panic!("the contract cannot be read: {error}"))
        });
        &CONTRACT
    }

    pub(super) fn of(document: &'static Value) -> Result<Self, String> {
        let mut operations = Vec::new();
        let mut tree = Tree::default();
        for (path, item) in crate::paths(document) {
            for (name, method) in crate::METHODS {
                let Some(value) = item.get(name) else { continue };
                let operation = Operation::read(document, method, path, item, value);
                let method = operation.method().clone();
                tree.add(path, operation.catches(), method, operations.len());
                operations.push(operation);
            }
        }
        let elsewhere = document.get("x-no-operation").map_or_else(BTreeMap::new, |value| {
            let pointer = "/x-no-operation".to_owned();
            Response::read_all(&Place { document, pointer, value })
        });
        let schemas = Schemas::of(document)?;
        Ok(Self { document, operations, tree, elsewhere, schemas })
    }

    /// Every operation, in the order of the document.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation of a path below `/api/v1`, its query ignored: a literal segment wins over a parameter. `HEAD` is
    /// answered where `GET` is.
    pub fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let here = self.tree.find(path);
        let with = |wanted: &Method| here.iter().find(|(method, _)| method == wanted);
        let found = with(method)
            .or_else(|| (*method == Method::HEAD).then(|| with(&Method::GET)).flatten());
        found.and_then(|(_, index)| self.operations.get(*index))
    }

    /// The operation with this id.
    pub fn by_id(&self, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id() == id)
    }

    /// The methods of a path below `/api/v1`; empty when the contract does not know it.
    pub fn methods(&self, path: &str) -> Vec<&Method> {
        self.tree.find(path).iter().map(|(method, _)| method).collect()
    }

    /// What in a value is not as a schema says; nothing when it is valid.
    pub fn findings(&self, schema: &Schema, value: &Value) -> Vec<Finding> {
        self.schemas.findings(schema, value)
    }

    /// What a schema, or anything else in the document, refers to; itself when it is no reference.
    pub fn resolve<'v>(&self, value: &'v Value) -> &'v Value
    where
        Self: 'v,
        'static: 'v,
    {
        let to = value.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        match to.and_then(|pointer| self.document.pointer(pointer)) {
            Some(value) => self.resolve(value),
            None => value,
        }
    }
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}
