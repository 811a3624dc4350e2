"""Which public methods of the official SDK the tests called, and saw return.

The compute chapter is whole when each of them does. A method counts when a test called it (not another method of the
SDK) and it returned; a stream counts with its first event. What rightly is not built stands in `NOT_BUILT` with the
family that it waits for, and `test_not_built.py` sees each of those refused as such.
"""

import asyncio
import contextvars
import functools
import importlib
import inspect

# Where the classes live; a class that an older SDK lacks is left out.
CLASSES = {
    "sandboxes": ["Sandbox", "Sandboxes"],
    "sandbox_namespaces": [
        "BackgroundProcessInfo", "SandboxExecRunner", "SandboxCommands", "SandboxFiles", "SandboxProcesses",
        "SandboxShare", "SandboxPreview", "SandboxEvents", "SandboxEnv", "SandboxTerminal", "SandboxTags",
        "SandboxArtifactsResource", "SandboxLogs", "SandboxSnapshots", "SandboxGit",
    ],
    "connectors": ["SandboxConnectors"],
    "egress_secrets": ["SandboxSecrets"],
    "egress_network": ["SandboxNetwork"],
    "egress_audit": ["SandboxAudit"],
    "snapshot_history": ["SnapshotHistory", "NamedSnapshots"],
    "commands": ["Commands"],
    "templates": ["Templates"],
    "sandbox_templates": ["SandboxTemplates"],
    "sandbox_batches": ["SandboxBatches"],
    "api_keys": ["ApiKeys"],
    "governance": ["GovernanceWorkspaces"],
    "projects": ["Projects"],
    "quotas": ["Quotas"],
    "tokens": ["Tokens"],
}

# Method to the family that it waits for.
NOT_BUILT = {
    "Sandbox.deploy": "deployments",
    "Sandbox.deploy_docker": "deployments",
    "Sandbox.deploy_snapshot": "deployments",
    "SandboxConnectors.attach": "connectors",
    "SandboxConnectors.detach": "connectors",
    "SandboxConnectors.list": "connectors",
    "SandboxConnectors.preflight": "connectors",
    "SandboxConnectors.sync": "connectors",
    "SandboxSecrets.connect": "egress secrets",
    "SandboxSecrets.delete": "egress secrets",
    "SandboxSecrets.get": "egress secrets",
    "SandboxSecrets.list": "egress secrets",
    "SandboxSecrets.list_bindings": "egress secrets",
    "SandboxSecrets.rotate": "egress secrets",
    "SandboxSecrets.set": "egress secrets",
    "Sandboxes.browser_cdp_url": "browser CDP",
    "Sandbox.ssh_certificates": "SSH certificates",
    "Sandbox.ssh_info": "SSH certificates",
    "Sandbox.prompt": "agent prompts",
    "Sandbox.run_agent": "agent runs",
    "Commands.run_computer": "computers",
}

# What the SDK itself refuses before any request: it says that the API has no such route.
REFUSED_BY_THE_SDK = ["SandboxCommands.send_stdin"]

# What has nothing to return on a kind of machine, and why.
NOTHING_THERE = {
    "docker": ["SandboxAudit.get"],  # containers reach the network by themselves, so no connection is recorded
}

_depth = contextvars.ContextVar("depth", default=0)
_kind = None
_returned = set()


def on(kind):
    """From now on what returns counts for this kind of machine."""
    global _kind
    _kind = kind


def _twins(name):
    return [name, f"Async{name}"]


def _classes():
    for module, names in CLASSES.items():
        try:
            found = importlib.import_module(f"miosa.resources.{module}")
        except ModuleNotFoundError:
            continue
        for name in names:
            for twin in _twins(name):
                if hasattr(found, twin):
                    yield twin, getattr(found, twin)


def _methods(cls):
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_"):
            yield name, method


def every():
    """Each public method, as `Class.method`."""
    return {f"{name}.{method}" for name, cls in _classes() for method, _ in _methods(cls)}


def _with_twins(methods):
    return {f"{twin}.{method.split('.')[1]}" for method in methods for twin in _twins(method.split(".")[0])}


def not_built():
    """Those of them that are refused."""
    return _with_twins(NOT_BUILT)


def missing(kind):
    """Those that no test called on this kind of machine, or that never returned."""
    returned = {method for on_kind, method in _returned if on_kind == kind}
    excused = _with_twins([*NOT_BUILT, *REFUSED_BY_THE_SDK, *NOTHING_THERE.get(kind, [])])
    return sorted(every() - excused - returned)


def _count(method):
    if _depth.get() == 0 and _kind is not None:
        _returned.add((_kind, method))


class _Inside:
    """What the SDK calls itself does not count."""

    def __enter__(self):
        self.before = _depth.set(_depth.get() + 1)

    def __exit__(self, *_):
        _depth.reset(self.before)


_END = object()


def _stream(name, events):
    try:
        while True:
            with _Inside():
                event = next(events, _END)
            _count(name)
            if event is _END:
                return
            yield event
    finally:
        events.close()


async def _async_stream(name, events):
    try:
        async for event in events:
            _count(name)
            yield event
        _count(name)
    finally:
        await events.aclose()


def _watched(name, method):
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call(*args, **kwargs):
            with _Inside():
                result = await method(*args, **kwargs)
            if inspect.isasyncgen(result):
                return _async_stream(name, result)
            _count(name)
            return result
    else:

        @functools.wraps(method)
        def call(*args, **kwargs):
            with _Inside():
                result = method(*args, **kwargs)
            if _depth.get() == 0:
                if inspect.isasyncgen(result):
                    return _async_stream(name, result)
                if inspect.isgenerator(result):
                    return _stream(name, result)
                if asyncio.iscoroutine(result):
                    return _awaited(name, result)
            _count(name)
            return result

    return call


async def _awaited(name, coroutine):
    result = await coroutine
    _count(name)
    return result


def watch():
    """Puts the ledger around every public method."""
    for name, cls in _classes():
        for method_name, method in _methods(cls):
            setattr(cls, method_name, _watched(f"{name}.{method_name}", method))
