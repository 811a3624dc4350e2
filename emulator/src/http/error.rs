//! Errors: one shape, two messages.
//!
//! An [`ApiError`] says what the client may read and, apart from it, what the log needs; a 5xx never shows the second.
//! The shape is the overview page's `error{code,message,request_id}`; the superset adds what clients read elsewhere
//! (`message`, `code`, `retry_after` at top level: miosa-go 2.0, miosa-elixir).

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::codes::{self, Code};
use crate::machines::MachineError;
use crate::store::StoreError;

/// What a handler answers.
pub type ApiResult<T> = Result<T, ApiError>;

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// Which.
    pub code: Code,
    /// What the client reads.
    pub message: String,
    /// More for the client: `error.details`.
    pub details: Option<Value>,
    /// What is wrong with the body, as `errors` beside `error` (miosa-cli).
    pub errors: Option<Value>,
    /// Seconds after which the same request may pass.
    pub retry_after: Option<u64>,
    /// What only the log reads.
    pub log: Option<String>,
    /// The methods of a path, for 405.
    pub allow: Option<String>,
}

impl ApiError {
    /// An error with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
            errors: None,
            retry_after: None,
            log: None,
            allow: None,
        }
    }

    /// Adds what the log needs.
    #[must_use]
    pub fn log(mut self, log: impl Into<String>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Adds details for the client.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Adds what is wrong with the body, for `errors`.
    #[must_use]
    pub fn errors(mut self, errors: Value) -> Self {
        self.errors = Some(errors);
        self
    }

    /// Says when to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A missing resource, or one that the caller may not see: both look the same.
    pub fn not_found(kind: &str, id: impl std::fmt::Display) -> Self {
        Self::new(
            codes::not_found(kind),
            format!("No {} with id {id} exists in this workspace.", kind.replace('_', " ")),
        )
    }

    /// One field of the body is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(codes::VALIDATION_FAILED, format!("{field}: {message}"))
            .details(json!([{ "field": field, "message": message }]))
    }

    /// One query parameter is wrong.
    pub fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::new(codes::INVALID_PARAMETER, format!("{name}: {message}"))
    }

    /// Something broke on our side.
    pub fn internal(log: impl Into<String>) -> Self {
        Self::new(
            codes::INTERNAL,
            "The emulator failed on this request. Its log has the request id and the reason.",
        )
        .log(log)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body.
    pub fn body(&self, request_id: &str, documented: bool) -> Value {
        let mut error = Map::new();
        error.insert("code".into(), self.code.name.into());
        error.insert("message".into(), self.message.as_str().into());
        error.insert("request_id".into(), request_id.into());
        if documented {
            return json!({ "error": error });
        }
        if let Some(details) = &self.details {
            // Older clients read the members of details in the error itself (`error.existing`: miosa-python 2.19).
            for (name, value) in details.as_object().into_iter().flatten() {
                error.entry(name.as_str()).or_insert_with(|| value.clone());
            }
            error.insert("details".into(), details.clone());
        }
        error.insert("retryable".into(), self.code.retryable.into());
        let mut body = Map::new();
        if let Some(seconds) = self.retry_after {
            error.insert("retry_after".into(), seconds.into());
            error.insert("retry_after_ms".into(), (seconds * 1000).into());
            body.insert("retry_after".into(), seconds.into());
        }
        body.insert("error".into(), Value::Object(error));
        if let Some(errors) = &self.errors {
            body.insert("errors".into(), errors.clone());
        }
        body.insert("message".into(), self.message.as_str().into());
        body.insert("code".into(), self.code.name.into());
        body.insert("request_id".into(), request_id.into());
        Value::Object(body)
    }
}

impl IntoResponse for ApiError {
    /// The body is written where the request id is known: `answer::finish`.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken(index) => {
                let what = index.replace('_', " ");
                let code = match index.as_str() {
                    "workspace_slug" => codes::WORKSPACE_NAME_EXISTS,
                    // miosa-go 2.0; in miosa-python 2.19 the other word is a snapshot's.
                    "sandbox_name" | "sandbox_slug" => codes::CONFLICT,
                    _ => codes::NAME_TAKEN,
                };
                Self::new(code, format!("This {what} is taken."))
            }
            StoreError::Closed => {
                Self::new(codes::UNAVAILABLE, "The emulator is stopping.").retry_after(1)
            }
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<MachineError> for ApiError {
    fn from(error: MachineError) -> Self {
        use miosa_agent::protocol::FailureCode as Agent;
        let log = error.to_string();
        match error {
            MachineError::NotFound(_) => {
                Self::new(codes::AGENT_UNAVAILABLE, "The sandbox's machine is gone.").log(log)
            }
            MachineError::TemplateMissing { template, reason } => Self::new(
                codes::NO_READY_MACHINE,
                format!("Template {template} cannot be started on this computer: {reason}"),
            ),
            MachineError::Unavailable(reason) => {
                Self::new(codes::NO_MACHINES, format!("This emulator has no machines: {reason}"))
            }
            MachineError::AgentUnreachable(_) => Self::new(
                codes::AGENT_UNAVAILABLE,
                "The sandbox's command service does not answer.",
            )
            .log(log),
            MachineError::TimedOut { .. } => {
                Self::new(codes::AGENT_UNAVAILABLE, "The sandbox's command service took too long.")
                    .log(log)
            }
            MachineError::Agent(failure) => {
                let code = match failure.code {
                    Agent::NotFound => codes::not_found("file"),
                    Agent::Exists | Agent::IsDirectory | Agent::NotDirectory | Agent::NotEmpty => {
                        codes::CONFLICT
                    }
                    Agent::NotRunning | Agent::TooMany => codes::RESOURCE_STATE,
                    Agent::ForbiddenPath => codes::FORBIDDEN_PATH,
                    Agent::InvalidPath => codes::INVALID_PATH,
                    Agent::InvalidRequest => codes::BAD_REQUEST,
                    Agent::ConnectionRefused => codes::PREVIEW_NOT_LISTENING,
                    Agent::NoSpace => codes::NO_SPACE,
                    Agent::Io => return Self::internal(log),
                };
                Self::new(code, failure.message)
            }
            MachineError::Host(_) => Self::internal(log),
        }
    }
}
