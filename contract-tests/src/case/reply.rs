//! An answer, and what a rule says about it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::Case;
use crate::fault::Fault;

/// An answer, whole.
#[derive(Clone)]
pub struct Reply {
    pub(super) case: Case,
    /// The method of its request.
    pub method: Method,
    /// The path of its request, below the API's base, with its query.
    pub path: String,
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Its place in the case's record.
    pub at: usize,
}

/// An error that the server told.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// `error.code`.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `error.request_id`.
    pub request_id: String,
    /// The whole body.
    pub body: Value,
}

impl Reply {
    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// Method and path, for messages.
    pub fn place(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The rule is broken, as this answer shows.
    pub fn broken(&self, expected: impl Into<String>, got: impl Into<String>) -> Fault {
        Fault::Broken { expected: expected.into(), got: got.into(), at: Some(self.at) }
    }

    /// Nothing when the condition holds, else a broken rule, as this answer shows.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub fn holds(
        &self,
        condition: bool,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Result<(), Fault> {
        if condition { Ok(()) } else { Err(self.broken(expected, got)) }
    }

    /// For the rule itself: another status breaks it.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub fn expect(self, status: u16) -> Result<Self, Fault> {
        if self.status == status {
            return Ok(self);
        }
        let got = self.summary();
        Err(self.broken(format!("{status} from {}", self.place()), got))
    }

    /// For what a rule builds on: with another status it cannot be checked.
    ///
    /// # Errors
    /// [`Fault::Unable`].
    pub fn needs(self, status: u16) -> Result<Self, Fault> {
        if self.status == status {
            return Ok(self);
        }
        Err(Fault::unable(format!("{} answered {}", self.place(), self.summary())))
    }

    /// Status and the beginning of the body, for messages.
    pub fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.chars().take(240).collect();
        format!("{} {text}", self.status).trim_end().to_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is none.
    pub fn json(&self) -> Result<Value, Fault> {
        serde_json::from_slice(&self.body)
            .map_err(|error| self.broken("a body in JSON", format!("{error}: {}", self.summary())))
    }

    /// What stands under `data`.
    ///
    /// # Errors
    /// [`Fault::Broken`] when nothing does.
    pub fn data(&self) -> Result<Value, Fault> {
        match self.json()?.get_mut("data") {
            Some(data) => Ok(data.take()),
            None => Err(self.broken("an answer with `data`", self.summary())),
        }
    }

    /// The items of a list.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is none.
    pub fn items(&self) -> Result<Vec<Value>, Fault> {
        match self.data()? {
            Value::Array(items) => Ok(items),
            _ => Err(self.broken("a list under `data`", self.summary())),
        }
    }

    /// `data.id`.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is missing.
    pub fn id(&self) -> Result<String, Fault> {
        self.text("id")
    }

    /// A text below `data`.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is missing or none.
    pub fn text(&self, field: &str) -> Result<String, Fault> {
        match self.data()?.get(field).and_then(Value::as_str) {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.broken(format!("a text in data.{field}"), self.summary())),
        }
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The error with this status, in its one shape.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is none.
    pub fn refused(&self, status: u16) -> Result<Refusal, Fault> {
        self.holds(
            self.status == status,
            format!("{status} from {}", self.place()),
            self.summary(),
        )?;
        self.refusal()
    }

    /// The error, in its one shape, whatever its status.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is none.
    pub fn refusal(&self) -> Result<Refusal, Fault> {
        let body = self.json()?;
        let find = |name: &str| {
            let text = body.pointer(&format!("/error/{name}")).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| self.broken(format!("a text in error.{name}"), self.summary()))
        };
        Ok(Refusal {
            code: find("code")?,
            message: find("message")?,
            request_id: find("request_id")?,
            body,
        })
    }
}
