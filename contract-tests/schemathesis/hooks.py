"""What Schemathesis is told beyond the document and `schemathesis.toml`."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import requests
import schemathesis

NUMBERS = itertools.count()
METHODS = ("get", "put", "post", "patch", "delete")
# What in a path is no id: it is made up, and the rest comes from the link.
FREE = {"path", "port"}

# What may be refused although its schema allows it: code, what the message says, and why no schema can tell.
REFUSALS = [
    ("INVALID_PARAMETER", r"contradicts another page size", "spellings of one parameter, which OpenAPI cannot set against each other"),
    ("INVALID_PARAMETER", r"use one of page, offset and cursor", "the same"),
    ("INVALID_PARAMETER", r"^cursor:", "a cursor is what an answer gave"),
    ("INVALID_PARAMETER", r"^(last_event_id|Last-Event-ID|after):", "the id of an event is what a stream gave"),
    ("INVALID_PARAMETER", r"^path: name 1 to 100 paths", "one of two parameters is needed, which OpenAPI cannot say"),
    ("INVALID_PATH", r"", "a path is a path of Linux"),
    ("INVALID_ARCHIVE", r"", "bytes are no archive"),
    ("MISSING_FILE", r"", "a form without its file"),
    ("INVALID_BUILDSPEC", r"", "a spec names bases and tools that must be there"),
    ("WORKSPACE_NOT_FOUND", r"", "it names a workspace that is not there"),
    ("PROJECT_NOT_FOUND", r"", "it names a project that is not there"),
    ("OWNERSHIP_CONFLICT", r"", "its ids contradict each other"),
    ("NOT_TENANT_MEMBER", r"", "it names nobody who is there"),
    ("PLAN_CAP_EXCEEDED", r"", "a bound that an earlier request has set is reached"),
    ("VALIDATION_FAILED", r"No such file or directory|Not a directory", "a directory that is not there"),
    ("VALIDATION_FAILED", r"is not base64|_base64: Invalid", "`contentEncoding` is a remark, not a rule"),
    ("VALIDATION_FAILED", r"is no scope|must be one of|must be methods of HTTP|is no address and no network", "words of a list that is longer than a schema"),
    ("VALIDATION_FAILED", r"must name snapshots", "it names nothing"),
    ("VALIDATION_FAILED", r"is no filter of sandboxes|must be a host without", "words of a list that is longer than a schema"),
    ("INVALID_PARAMETER", r"duplicate field", "two spellings of one parameter"),
    ("VALIDATION_FAILED", r"floating point", "a whole number is written without a fraction, though a schema takes 1.0 for one"),
    ("VALIDATION_FAILED", r"control characters", "names have none"),
    ("VALIDATION_FAILED", r"already exists|is taken", "an earlier request has taken the name"),
    (
        "VALIDATION_FAILED",
        r"contradicts|says something else|stands beside|given together|not both|missing beside",
        "members that speak of one thing",
    ),
    ("VALIDATION_FAILED", r"must be in the future", "a time that is past"),
    ("VALIDATION_FAILED", r"must be a build of this template", "it names a build that is not there"),
    ("VALIDATION_FAILED", r"must (have|be) 1 to \d|must name at least one", "a bound that the contract does not state yet"),
    ("INVALID_PARAMETER", r"must be an ISO 8601 time|take it from `next_cursor`", "a time or a cursor in one parameter"),
]

# The credential of the other organization, and what an id is: names may be in both.
OTHER = json.loads((Path(__file__).parent / "identities.json").read_text())["auth"][1]["fixedHeaders"][0]
ID = re.compile(r"/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(/|$)")

# Names that are the caller's own: each organization has one of its own under every name.
OWN_NAMES = ("/quotas/external/{id}", "/external-users/{id}/policy")


def parameters(path: str) -> list[str]:
    """The names of the parameters of a path."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Adds what the paths and extensions say in words that Schemathesis reads."""
    link(raw_schema["paths"])
    describe_streams(raw_schema["paths"])


def link(paths: dict[str, Any]) -> None:
    """Links each creation to the operations below what it makes. In the document it would be said 200 times."""
    for made, item in paths.items():
        answer = item.get("post", {}).get("responses", {}).get("201", {})
        if "content" not in answer:
            continue
        known = {name: f"$request.path.{name}" for name in parameters(made)}
        links = answer.setdefault("links", {})
        for path, below in paths.items():
            if not path.startswith(made + "/{"):
                continue
            own = path[len(made) + 2 :].split("}")[0]
            given = {**known, own: "$response.body#/id"}
            if set(parameters(path)) - FREE <= set(given):
                for method in METHODS:
                    if method in below:
                        name = below[method]["operationId"]
                        links[name] = {"operationId": name, "parameters": given}
        if not links:
            del answer["links"]


def describe_streams(paths: dict[str, Any]) -> None:
    """Gives streams the schema of their events: OpenAPI 3.1 has a body's, which is text, and `x-events` says the rest."""
    for item in paths.values():
        for method in METHODS:
            for answer in item.get(method, {}).get("responses", {}).values():
                stream = answer.get("content", {}).get("text/event-stream")
                if stream is None:
                    continue
                event: dict[str, Any] = {"type": "object", "properties": {"data": {"type": "string"}}}
                if "x-events" in answer:
                    event["properties"]["event"] = {"enum": list(answer["x-events"])}
                stream["schema"] = event
                stream.pop("example", None)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Any, kwargs: dict[str, Any]) -> None:
    """Makes each idempotency key one of its own: the few that come again and again would refuse every other body."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) < 200:
        case.headers["Idempotency-Key"] = f"{key}-{next(NUMBERS)}"


@schemathesis.hook
def filter_failure(context: schemathesis.HookContext, failure: Any, case: Any, response: Any) -> bool:
    """Drops what is no fault, each for a reason that stands above."""
    kind = type(failure).__name__
    if kind == "ObjectLevelAuthorizationViolation":
        return case.operation.path not in OWN_NAMES
    if kind == "RejectedPositiveData":
        return not expected(response)
    if kind == "AcceptedNegativeData":
        return not lenient(case, response.request)
    return True


def lenient(case: Any, request: Any) -> bool:
    """Whether what was taken is one of the things that the emulator takes on purpose."""
    # A query parameter that is there and empty is as if it were not.
    if re.search(r"[?&][^=&]+=(&|$)", request.url):
        return True
    # No body is `{}`: official clients send none where nothing is to be said.
    if not request.body:
        return True
    # Each file of many succeeds or fails by itself, and the answer is 200; a ticket is for whatever it is used on.
    if case.operation.path.rsplit("/", 1)[-1] in ("batch", "write-many", "sse-ticket", "ticket"):
        return True
    # A stream is not waited for, so that its command may take longer than the bound of one that is.
    if case.operation.path.endswith("/exec/stream") and b'"timeout"' in raw(request):
        return True
    # null says the same as leaving a member out: clients that write out all their fields send it.
    return b"null" in raw(request)


def raw(request: Any) -> bytes:
    """The body as it was sent."""
    return request.body if isinstance(request.body, bytes) else str(request.body).encode()


def expected(response: Any) -> bool:
    """Whether a refusal is one of those that no schema can tell."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return False
    # The word of OAuth's device flow: a code that no login has, or a login that waits.
    if error in ("invalid_grant", "authorization_pending"):
        return True
    said = f"{error['message']} {error.get('details')}"
    return any(error["code"] == code and re.search(words, said) for code, words, _ in REFUSALS)


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Keeps what a run forbids itself out of its way: policies and settings would refuse everything after them."""
    if context.operation.path.rsplit("/", 1)[-1] in ("policy", "apply", "settings"):
        return harmless(body)
    return body


def harmless(value: Any) -> Any:
    """The same with bounds that nothing reaches, and with everything allowed."""
    if isinstance(value, list):
        return [harmless(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, item in value.items():
        if name.startswith("max_") and type(item) is int and 0 <= item < 1_000_000:
            item += 1_000_000
        elif item is False and (name.startswith("can_") or name.endswith("_enabled")):
            item = True
        changed[name] = harmless(item)
    return changed


@schemathesis.check
def foreign_access(ctx: Any, response: Any, case: Any) -> None:
    """Sends again as `b` what succeeded as `a` on something with an id: it must not succeed.

    Schemathesis' own check of this reads only, and only what it knows to be owned; this one also changes.
    """
    request = response.request
    path = request.url.split("?")[0]
    stream = "event-stream" in str(response.headers.get("content-type"))
    if (
        request.method == "OPTIONS"
        or case.operation.path in OWN_NAMES
        or case.auth_identity != "a"
        or not 200 <= response.status_code < 300
        or stream
        or not ID.search(path)
    ):
        return
    again = request.copy()
    again.headers[OTHER["name"]] = OTHER["value"]
    with requests.Session() as session:
        answer = session.send(again, timeout=10)
    if 200 <= answer.status_code < 300:
        raise AssertionError(f"`b` did with {answer.status_code} what belongs to `a`: {request.method} {path}")
