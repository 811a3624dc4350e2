//! A populated organization, and a valid request for every operation of the contract.
//!
//! What an organization holds is made through the API, by recipes that are data ([`recipes`]): a world can be made whole,
//! or only as far as one operation needs it, so that what breaks is shown by a short sequence. Values stand in paths and
//! bodies as placeholders ([`fill`]): `<sandbox>` is the id of the first sandbox, `<sandbox.name>` its name, `<snapshot#2>`
//! the second snapshot, `<fresh>` a name that nothing has.

mod encode;
mod fill;
mod order;
mod parameters;
mod recipes;
mod requests;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use miosa_openapi::check::{Contract, Location, Operation};
use serde_json::Value;

use crate::case::{Client, Sending};
use crate::fault::Fault;
use crate::target::Profile;
use recipes::{RECIPES, Recipe};

/// What a recipe looks up after it was followed is there within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that a world holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it is, for instance `sandbox`.
    pub kind: &'static str,
    /// What its path names it by: mostly an id, else a name, a path, a token.
    pub id: String,
    /// Its other name, when it has one.
    pub name: Option<String>,
}

/// A populated organization.
#[derive(Debug, Clone)]
pub struct World {
    known: Vec<Known>,
    machines: bool,
    prefix: String,
}

impl World {
    /// Everything: at least one of each kind. Needs machines; about 55 requests and two sandboxes.
    ///
    /// # Errors
    /// [`Fault::Unable`] when something cannot be made.
    pub async fn populate(client: &Client) -> Result<Self, Fault> {
        let mut world = Self::empty(client, true);
        world.make(client, |_| true).await?;
        Ok(world)
    }

    /// As much as the server can run.
    ///
    /// # Errors
    /// As [`Self::populate`].
    pub async fn populate_what_runs(client: &Client) -> Result<Self, Fault> {
        if client.target().has_machines() {
            Self::populate(client).await
        } else {
            Self::populate_without_machines(client).await
        }
    }

    /// What can be had where no sandbox runs: the platform.
    ///
    /// # Errors
    /// As [`Self::populate`].
    pub async fn populate_without_machines(client: &Client) -> Result<Self, Fault> {
        let mut world = Self::empty(client, false);
        world.make(client, |recipe| !recipe.needs_machine()).await?;
        Ok(world)
    }

    /// Only what the requests of these operations name.
    ///
    /// # Errors
    /// As [`Self::populate`].
    pub async fn for_operations<'o>(
        client: &Client,
        operations: impl IntoIterator<Item = &'o Operation>,
    ) -> Result<Self, Fault> {
        let mut needed = BTreeSet::new();
        for operation in operations {
            for text in requests::texts(operation) {
                needed.extend(fill::needs(&text));
            }
        }
        let mut world = Self::empty(client, true);
        // What is needed to make what is needed comes before it in the list.
        for recipe in RECIPES.iter().rev() {
            if needed.contains(recipe.kind) {
                needed.extend(recipe.needs());
            }
        }
        world.make(client, |recipe| needed.contains(recipe.kind)).await?;
        Ok(world)
    }

    /// Everything that it knows.
    pub fn ids(&self) -> &[Known] {
        &self.known
    }

    /// The first of a kind.
    pub fn id(&self, kind: &str) -> Option<&str> {
        self.known.iter().find(|known| known.kind == kind).map(|known| known.id.as_str())
    }

    /// Whether sandboxes run in it.
    pub fn has_machines(&self) -> bool {
        self.machines
    }

    /// The operation's path, with what the world knows for each parameter. None when it knows no such thing.
    pub fn path(&self, operation: &Operation) -> Option<String> {
        let path = requests::path(operation);
        fill::encoded(&path, |placeholder| self.value(placeholder))
    }

    /// The operation's path with other values: `value` is asked with the kind (`sandbox`) and the parameter's name.
    pub fn path_with(operation: &Operation, mut value: impl FnMut(&str, &str) -> String) -> String {
        let mut path = operation.path().to_owned();
        for parameter in operation.parameters().iter().filter(|it| it.location == Location::Path) {
            let kind = parameters::kind(operation.path(), parameter.name).unwrap_or_default();
            path = path.replace(&format!("{{{}}}", parameter.name), &value(kind, parameter.name));
        }
        path
    }

    /// The kinds that the operation's path names, outermost first.
    pub fn kinds(operation: &Operation) -> Vec<&'static str> {
        let names = operation.path().split('/');
        let names = names.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        names.filter_map(|name| parameters::kind(operation.path(), name)).collect()
    }

    /// A valid body and its content type; none where the operation takes none, or the world lacks what it must name.
    pub fn body(&self, operation: &Operation) -> Option<(String, Bytes)> {
        let (content_type, text) = requests::body(operation)?;
        let text = fill::plain(&text, |placeholder| self.value(placeholder))?;
        Some(encode::body(content_type, text))
    }

    /// The body as JSON, where it is JSON.
    pub fn json(&self, operation: &Operation) -> Option<Value> {
        let (content_type, body) = self.body(operation)?;
        (content_type == "application/json").then(|| serde_json::from_slice(&body).ok()).flatten()
    }

    /// The query that the operation cannot do without, `?` included; empty when there is none.
    pub fn query(&self, operation: &Operation) -> String {
        let query = requests::query(operation);
        fill::encoded(query, |placeholder| self.value(placeholder)).unwrap_or_default()
    }

    /// The whole valid request. None when the world lacks what it names.
    pub fn call(&self, client: &Client, operation: &Operation) -> Option<Sending> {
        let path = format!("{}{}", self.path(operation)?, self.query(operation));
        let mut sending = client.request(operation.method().clone(), path);
        if requests::body(operation).is_some() {
            let (content_type, body) = self.body(operation)?;
            sending = sending.bytes(&content_type, body);
        }
        if operation.is_socket() {
            sending = sending
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        }
        Some(sending)
    }

    /// Whether an answer may never end: it must be opened, not waited for.
    pub fn is_endless(operation: &Operation) -> bool {
        operation.is_socket() || (operation.is_stream() && *operation.method() == Method::GET)
    }

    /// Whether the operation ends or changes what other requests need.
    pub fn is_destructive(operation: &Operation) -> bool {
        order::place(operation) >= order::ENDS
    }

    /// Every operation of the contract in an order in which one world serves them all: what reads, then what makes and
    /// changes, then what ends, inner things before outer ones.
    pub fn in_order() -> Vec<&'static Operation> {
        let mut operations: Vec<_> = Contract::get().operations().iter().collect();
        operations.sort_by_key(|operation| order::place(operation));
        operations
    }

    fn empty(client: &Client, machines: bool) -> Self {
        Self { known: Vec::new(), machines, prefix: format!("contract-{}", client.target().run) }
    }

    async fn make(
        &mut self,
        client: &Client,
        wanted: impl Fn(&Recipe) -> bool,
    ) -> Result<(), Fault> {
        let live = client.target().profile == Profile::Live;
        for recipe in RECIPES.iter().filter(|recipe| wanted(recipe)) {
            if live && recipe.path.starts_with("/_emulator") {
                continue;
            }
            for _ in 0..recipe.count {
                let made = self.follow(client, recipe).await?;
                self.known.push(made);
            }
        }
        Ok(())
    }

    async fn follow(&self, client: &Client, recipe: &Recipe) -> Result<Known, Fault> {
        let lacking = || Fault::unable(format!("a world lacks what a {} needs", recipe.kind));
        let given = self.unique();
        let value = |placeholder: &str| match placeholder {
            "given" => Some(given.clone()),
            other => self.value(other),
        };
        let path = fill::encoded(recipe.path, value).ok_or_else(lacking)?;
        let method = recipe.method.parse::<Method>().map_err(|_| lacking())?;
        let mut sending = client.request(method, path);
        if !recipe.body.is_empty() {
            let body = fill::plain(recipe.body, value).ok_or_else(lacking)?;
            let body = serde_json::from_str(&body)
                .map_err(|error| Fault::unable(format!("a {}: {error}", recipe.kind)))?;
            sending = sending.json(body);
        }
        let made = sending.send().await?;
        if made.status >= 300 {
            return Err(Fault::unable(format!("{} answered {}", made.place(), made.summary())));
        }
        let found = match recipe.found {
            Some(found) => {
                let path = fill::encoded(found, value).ok_or_else(lacking)?;
                look(client, &path, recipe).await?
            }
            None => made.json().unwrap_or_default(),
        };
        let at = |pointer: &str| match found.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let id = if recipe.id.is_empty() { Some(given.clone()) } else { at(recipe.id) };
        let id = id.ok_or_else(|| {
            Fault::unable(format!("no {} in the answer of {}", recipe.id, made.place()))
        })?;
        let name = recipe.name.and_then(|name| {
            if name.starts_with('<') { fill::plain(name, value) } else { at(name) }
        });
        Ok(Known { kind: recipe.kind, id, name })
    }

    /// The value of a placeholder.
    fn value(&self, placeholder: &str) -> Option<String> {
        match placeholder {
            "fresh" => return Some(self.unique()),
            "FRESH" => return Some(self.unique().to_uppercase().replace('-', "_")),
            _ => {}
        }
        let (place, field) = match placeholder.split_once('.') {
            Some((place, field)) => (place, Some(field)),
            None => (placeholder, None),
        };
        let (kind, number) = match place.split_once('#') {
            Some((kind, number)) => (kind, number.parse::<usize>().ok()?),
            None => (place, 1),
        };
        let known =
            self.known.iter().filter(|known| known.kind == kind).nth(number.checked_sub(1)?)?;
        match field {
            Some(_) => known.name.clone(),
            None => Some(known.id.clone()),
        }
    }

    /// A name that nothing has.
    fn unique(&self) -> String {
        let tail = uuid::Uuid::new_v4().simple().to_string();
        format!("{}-{}", self.prefix, tail.get(..8).unwrap_or_default())
    }
}

/// Asks until what the recipe made is there.
async fn look(client: &Client, path: &str, recipe: &Recipe) -> Result<Value, Fault> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = client.get(path).send().await?.needs(200)?.json()?;
        let is = |(pointer, value): (&str, &str)| {
            found.pointer(pointer).and_then(Value::as_str) == Some(value)
        };
        if found.pointer(recipe.id).is_some() && recipe.until.is_none_or(is) {
            return Ok(found);
        }
        if tokio::time::Instant::now() > until {
            let why = format!("no {} at {path} within {} s", recipe.id, PATIENCE.as_secs());
            return Err(Fault::unable(why));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the operation takes JSON and reads what is in it.
pub fn reads_json(operation: &Operation) -> bool {
    let media = operation.request_body().and_then(|body| body.media("application/json"));
    media.is_some_and(|media| {
        let schema = Contract::get().resolve(media.schema.value());
        ["properties", "allOf", "anyOf", "oneOf"].iter().any(|part| schema.get(part).is_some())
    })
}

/// A valid body that names nothing in particular, where the operation takes JSON.
pub fn example(operation: &Operation) -> Option<Value> {
    let (content_type, text) = requests::body(operation)?;
    let text = fill::plain(&text, |_| Some("contract-nobody".to_owned()))?;
    (content_type == "application/json").then(|| serde_json::from_str(&text).ok()).flatten()
}

#[cfg(test)]
mod tests;
