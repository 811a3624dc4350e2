//! What the contract says of one operation, read once from the document.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use super::schemas::Schema;

/// A method on a path.
#[derive(Debug, Clone)]
pub struct Operation {
    method: Method,
    path: &'static str,
    value: &'static Value,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    responses: BTreeMap<u16, Response>,
}

impl Operation {
    pub(super) fn read(
        document: &'static Value,
        method: Method,
        path: &'static str,
        item: &'static Value,
        value: &'static Value,
    ) -> Self {
        let at = format!("/paths/{}/{}", escaped(path), method.as_str().to_ascii_lowercase());
        let own = Place { document, pointer: at.clone(), value };
        let shared = Place { document, pointer: format!("/paths/{}", escaped(path)), value: item };
        let mut parameters: Vec<Parameter> = Vec::new();
        for place in [shared, own.clone()] {
            for parameter in place.items("parameters").into_iter().filter_map(Parameter::read) {
                // An operation's parameter stands for the path's of the same name.
                parameters.retain(|known| !known.is_same_as(&parameter));
                parameters.push(parameter);
            }
        }
        Self {
            method,
            path,
            value,
            parameters,
            body: own.member("requestBody").map(RequestBody::read),
            responses: Response::read_all(&own),
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path below `/api/v1`, with its parameters in braces.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Method and path, as messages name it.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The `operationId`.
    pub fn id(&self) -> &'static str {
        text(self.value, "operationId").unwrap_or_default()
    }

    /// The family.
    pub fn tag(&self) -> Option<&'static str> {
        self.value.get("tags")?.get(0)?.as_str()
    }

    /// One line that says what it does.
    pub fn summary(&self) -> &'static str {
        text(self.value, "summary").unwrap_or_default()
    }

    /// Where it is known from.
    pub fn source(&self) -> &'static str {
        text(self.value, "x-source").unwrap_or_default()
    }

    /// The scope that a key needs; `None` where any credential will do.
    pub fn scope(&self) -> Option<&'static str> {
        text(self.value, "x-scope")
    }

    /// Whether it needs no credential.
    pub fn is_open(&self) -> bool {
        text(self.value, "x-auth") == Some("none")
    }

    /// Whether an `Idempotency-Key` makes a repetition answer the first response.
    pub fn is_idempotent(&self) -> bool {
        flag(self.value, "x-idempotent")
    }

    /// Whether it answers a list, page by page.
    pub fn is_paginated(&self) -> bool {
        flag(self.value, "x-paginated")
    }

    /// Whether an answer may be a stream of events.
    pub fn is_stream(&self) -> bool {
        self.responses.values().any(|response| response.media("text/event-stream").is_some())
    }

    /// Whether it opens a WebSocket.
    pub fn is_socket(&self) -> bool {
        self.responses.contains_key(&101)
    }

    /// The parameters of path, query and headers.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// A parameter by its place and name.
    pub fn parameter(&self, location: Location, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|known| known.location == location && known.name == name)
    }

    /// The body of a request.
    pub fn request_body(&self) -> Option<&RequestBody> {
        self.body.as_ref()
    }

    /// The responses by status.
    pub fn responses(&self) -> impl Iterator<Item = &Response> {
        self.responses.values()
    }

    /// The response with this status.
    pub fn response(&self, status: u16) -> Option<&Response> {
        self.responses.get(&status)
    }

    /// The operation as it stands in the document, for extensions that have no accessor.
    pub fn value(&self) -> &'static Value {
        self.value
    }

    pub(super) fn catches(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.catches_all)
    }
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// In a header.
    Header,
}

/// A parameter of an operation.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub location: Location,
    /// Whether a request must have it.
    pub required: bool,
    /// Whether it takes the rest of the path, slashes included.
    pub catches_all: bool,
    /// What it may be.
    pub schema: Schema,
    /// Examples.
    pub examples: Vec<Example>,
}

impl Parameter {
    fn read(place: Place) -> Option<Self> {
        let location = match text(place.value, "in")? {
            "path" => Location::Path,
            "query" => Location::Query,
            "header" => Location::Header,
            _ => return None,
        };
        Some(Self {
            name: text(place.value, "name")?,
            location,
            required: flag(place.value, "required"),
            catches_all: flag(place.value, "x-catch-all"),
            schema: place.schema()?,
            examples: Example::read_all(&place),
        })
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.location == other.location
    }
}

/// The body of a request.
#[derive(Debug, Clone)]
pub struct RequestBody {
    /// Whether it may not be left out.
    pub required: bool,
    /// Its forms.
    pub content: Vec<Media>,
}

impl RequestBody {
    fn read(place: Place) -> Self {
        Self { required: flag(place.value, "required"), content: Media::read_all(&place) }
    }

    /// The form with this content type.
    pub fn media(&self, content_type: &str) -> Option<&Media> {
        self.content.iter().find(|media| media.accepts(content_type))
    }
}

/// An answer with one status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Where it is known from.
    pub source: &'static str,
    /// The error codes that it may carry.
    pub codes: Vec<&'static str>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Its forms; empty where it has no body.
    pub content: Vec<Media>,
}

impl Response {
    /// The responses of an operation, or of whatever else has a member of them.
    pub(super) fn read_all(place: &Place) -> BTreeMap<u16, Self> {
        let all = place.members("responses").into_iter();
        all.filter_map(|(status, place)| {
            let status = status.parse().ok()?;
            Some((status, Self::read(status, &place)))
        })
        .collect()
    }

    fn read(status: u16, place: &Place) -> Self {
        let codes = place.value.get("x-codes").and_then(Value::as_array);
        let headers = place.members("headers").into_iter();
        Self {
            status,
            source: text(place.value, "x-source").unwrap_or_default(),
            codes: codes.into_iter().flatten().filter_map(Value::as_str).collect(),
            headers: headers.filter_map(|(name, place)| Header::read(name, &place)).collect(),
            content: Media::read_all(place),
        }
    }

    /// The form with this content type.
    pub fn media(&self, content_type: &str) -> Option<&Media> {
        self.content.iter().find(|media| media.accepts(content_type))
    }

    /// A header by its name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&Header> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))
    }
}

/// A header of an answer.
#[derive(Debug, Clone)]
pub struct Header {
    /// Its name.
    pub name: &'static str,
    /// Whether it is always there.
    pub required: bool,
    /// What it may be.
    pub schema: Schema,
}

impl Header {
    fn read(name: &'static str, place: &Place) -> Option<Self> {
        Some(Self { name, required: flag(place.value, "required"), schema: place.schema()? })
    }
}

/// One form of a body.
#[derive(Debug, Clone)]
pub struct Media {
    /// The content type, without parameters; `*/*` stands for any.
    pub content_type: &'static str,
    /// What the body may be.
    pub schema: Schema,
    /// Examples.
    pub examples: Vec<Example>,
}

impl Media {
    fn read_all(place: &Place) -> Vec<Self> {
        let read = |(content_type, place): (&'static str, Place)| {
            let examples = Example::read_all(&place);
            Some(Self { content_type, schema: place.schema()?, examples })
        };
        place.members("content").into_iter().filter_map(read).collect()
    }

    /// Whether a body with this content type is of this form.
    pub fn accepts(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match self.content_type.strip_suffix("/*") {
            Some("*") => true,
            Some(kind) => essence.split('/').next().is_some_and(|it| it.eq_ignore_ascii_case(kind)),
            None => self.content_type.eq_ignore_ascii_case(essence),
        }
    }

    /// Whether a body of this form is JSON.
    pub fn is_json(&self) -> bool {
        self.content_type == "application/json" || self.content_type.ends_with("+json")
    }
}

/// A named example.
#[derive(Debug, Clone)]
pub struct Example {
    /// Its name; empty where it is the only one.
    pub name: &'static str,
    /// The value.
    pub value: &'static Value,
}

impl Example {
    fn read_all(place: &Place) -> Vec<Self> {
        let single = place.value.get("example").map(|value| Self { name: "", value });
        let named = place
            .members("examples")
            .into_iter()
            .filter_map(|(name, place)| Some(Self { name, value: place.value.get("value")? }));
        single.into_iter().chain(named).collect()
    }
}

/// A part of the document, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) document: &'static Value,
    pub(super) pointer: String,
    pub(super) value: &'static Value,
}

impl Place {
    /// What stands below a name, or what that refers to.
    fn member(&self, name: &str) -> Option<Self> {
        self.value.get(name).map(|value| self.below(name, value).resolved())
    }

    /// The members of the object below a name.
    fn members(&self, name: &str) -> Vec<(&'static str, Self)> {
        let Some(parent) = self.member(name) else { return Vec::new() };
        let members = parent.value.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.as_str(), parent.below(name, value).resolved())).collect()
    }

    /// The items of the array below a name.
    fn items(&self, name: &str) -> Vec<Self> {
        let Some(parent) = self.member(name) else { return Vec::new() };
        let items = parent.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| parent.below(&index.to_string(), value).resolved()).collect()
    }

    fn schema(&self) -> Option<Schema> {
        let Self { pointer, value, .. } = self.member("schema")?;
        Some(Schema { pointer, value })
    }

    fn below(&self, name: &str, value: &'static Value) -> Self {
        let pointer = format!("{}/{}", self.pointer, escaped(name));
        Self { document: self.document, pointer, value }
    }

    /// Follows a reference that stands alone; one with something beside it is a schema of its own.
    fn resolved(self) -> Self {
        let alone = self.value.as_object().is_some_and(|map| map.len() == 1);
        let to = self.value.get("$ref").and_then(Value::as_str).filter(|_| alone);
        let Some(pointer) = to.and_then(|to| to.strip_prefix('#')) else { return self };
        match self.document.pointer(pointer) {
            Some(value) => {
                Self { document: self.document, pointer: pointer.to_owned(), value }.resolved()
            }
            None => self,
        }
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn text(value: &'static Value, name: &str) -> Option<&'static str> {
    value.get(name)?.as_str()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}
