//! Every error code, in one table; the documentation is made from it.
//!
//! A missing resource is `<kind>_not_found` as on the overview page; everything else is upper case, as newer servers
//! and clients have it (`docs/contract-choices.md`).

use serde::Serialize;

/// An error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Code {
    /// The word.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Whether the same request may succeed later, nothing having been done.
    pub retryable: bool,
    /// Where it is known from.
    pub source: &'static str,
}

macro_rules! codes {
    ($($name:ident $status:literal $retryable:ident $source:literal;)+) => {
        $(
            #[doc = concat!("Status ", stringify!($status), "; source: ", $source, ".")]
            #[allow(non_upper_case_globals)] // `not_emulated` and `invalid_scope` are small
            pub const $name: Code = Code { name: stringify!($name), status: $status, retryable: codes!(@ $retryable), source: $source };
        )+
        /// The table.
        pub const ALL: &[Code] = &[$($name),+];
    };
    (@ retry) => { true };
    (@ final) => { false };
}

codes! {
    BAD_REQUEST                 400 final "api-reference";
    INVALID_JSON                400 final "chosen";
    INVALID_PARAMETER           400 final "api-reference";
    INVALID_PATH                400 final "miosa-python 2.19";
    INVALID_ID                  400 final "miosa-go 2.0";
    MISSING_FILE                400 final "api-reference/files";
    INVALID_ARCHIVE             400 final "chosen";
    MISSING_TOKEN               401 final "chosen";
    INVALID_TOKEN               401 final "miosa-cli-go";
    TOKEN_EXPIRED               401 final "chosen";
    TOKEN_REVOKED               401 final "chosen";
    TICKET_INVALID              401 final "chosen";
    TICKET_EXPIRED              401 final "chosen";
    TICKET_USED                 401 final "chosen";
    TOKEN_INACTIVE              401 final "chosen";
    FORBIDDEN                   403 final "miosa-go 2.0";
    FORBIDDEN_PATH              403 final "api-reference/files";
    INVALID_TENANT_CONTEXT      403 final "miosa-cli";
    HOST_NOT_ALLOWED            403 final "chosen";
    ORIGIN_NOT_ALLOWED          403 final "chosen";
    NOT_FOUND                   404 final "miosa-go 2.0";
    ROUTE_NOT_FOUND             404 final "chosen";
    TEMPLATE_NOT_FOUND          404 final "miosa-cli";
    ORG_NOT_FOUND               404 final "miosa-python 2.19";
    METHOD_NOT_ALLOWED          405 final "chosen";
    REQUEST_TIMEOUT             408 final "chosen";
    CONFLICT                    409 final "miosa-go 2.0";
    NAME_TAKEN                  409 final "miosa-python 2.19";
    WORKSPACE_NAME_EXISTS       409 final "miosa-python 2.19";
    RESOURCE_STATE              409 final "miosa-python 2.19";
    SANDBOX_STARTING            409 retry "miosa-go 2.0";
    SANDBOX_NOT_RUNNING         409 final "miosa-cli";
    SANDBOX_NOT_PAUSED          409 final "hackerai";
    BATCH_ALREADY_TERMINAL      409 final "miosa-go 2.0";
    RESIZE_REQUIRES_RESTART     409 final "miosa-python 2.19";
    RESIZE_UNSUPPORTED          409 final "miosa-python 2.19";
    SNAPSHOT_NOT_READY          409 final "miosa-python 2.19";
    SNAPSHOT_IN_USE             409 final "miosa-go 2.0";
    LAST_OWNER                  409 final "miosa-python 2.19";
    ALREADY_ACCEPTED            409 final "miosa-python 2.19";
    REVOKED                     409 final "miosa-python 2.19";
    SNAPSHOT_ALREADY_NAMED      409 final "miosa-python 2.19";
    NO_SNAPSHOT_AVAILABLE       409 final "miosa-python 2.19";
    TEMPLATE_IN_USE             409 final "miosa-cli";
    TEMPLATE_NOT_READY          409 final "chosen";
    IDEMPOTENCY_PAYLOAD_MISMATCH 409 final "contract fixture public-v1";
    IDEMPOTENCY_IN_PROGRESS     409 retry "chosen";
    EXPIRED                     410 final "miosa-python 2.19";
    PAYLOAD_TOO_LARGE           413 final "api-reference";
    FILE_TOO_LARGE              413 final "api-reference/files";
    ARCHIVE_TOO_LARGE           413 final "chosen";
    RANGE_NOT_SATISFIABLE       416 final "chosen";
    VALIDATION_FAILED           422 final "miosa-cli";
    invalid_scope               422 final "api-reference/preview-tokens";
    INVALID_BUILDSPEC           422 final "miosa-cli";
    OWNERSHIP_CONFLICT          422 final "chosen";
    WORKSPACE_NOT_FOUND         422 final "chosen";
    PROJECT_NOT_FOUND           422 final "chosen";
    TIMEOUT_TOO_LONG            422 final "miosa-go 2.0";
    UPGRADE_REQUIRED            426 final "chosen";
    INVALID_SETUP_FILE          422 final "miosa-go 2.0";
    PLAN_CAP_EXCEEDED           422 final "miosa-python 2.19";
    NOT_TENANT_MEMBER           422 final "miosa-python 2.19";
    RATE_LIMITED                429 retry "api-reference";
    MEMBER_LIMIT_REACHED        429 retry "miosa-go 2.0";
    INTERNAL                    500 final "api-reference";
    OUTCOME_UNKNOWN             500 final "chosen";
    not_emulated                501 final "chosen";
    AGENT_UNAVAILABLE           502 retry "api-reference/files";
    PREVIEW_BROKEN              502 retry "chosen";
    NO_MACHINES                 503 final "chosen";
    NO_READY_MACHINE            503 final "miosa-python 2.19";
    UNAVAILABLE                 503 retry "miosa-go 2.0";
    PREVIEW_NOT_LISTENING       503 retry "miosa-cli";
    PREVIEW_TIMEOUT             504 final "chosen";
    SANDBOX_READY_TIMEOUT       504 final "miosa-go 2.0";
    NO_SPACE                    507 final "chosen";
}

/// The code of a missing resource of this kind (`api-reference`, overview: `sandbox_not_found`).
pub fn not_found(kind: &str) -> Code {
    // Kinds are few and fixed, so the table of names can be too.
    let name = match kind {
        "sandbox" => "sandbox_not_found",
        "snapshot" => "snapshot_not_found",
        "named_snapshot" => "named_snapshot_not_found",
        "preview" => "preview_not_found",
        "share" => "share_not_found",
        "workspace" => "workspace_not_found",
        "project" => "project_not_found",
        "api_key" => "api_key_not_found",
        "service_account" => "service_account_not_found",
        "file" => "file_not_found",
        "terminal" => "terminal_not_found",
        "process" => "process_not_found",
        "command" => "command_not_found",
        "service" => "service_not_found",
        "template" => "TEMPLATE_NOT_FOUND",
        // What names an invite is its token (miosa-python 2.19).
        "workspace_invite" => "INVALID_TOKEN",
        _ => "NOT_FOUND",
    };
    Code { name, status: 404, retryable: false, source: "api-reference" }
}
