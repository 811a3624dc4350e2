"""The quickstart with a client generated from the contract: make a sandbox, run a command, write and read a file, keep a
snapshot, list, remove."""

import os
from typing import TypeVar

from miosa_generated import AuthenticatedClient
from miosa_generated.api.exec_ import exec_in_sandbox
from miosa_generated.api.files import fs_download, fs_read, fs_write
from miosa_generated.api.sandboxes import create_sandbox, delete_sandbox, get_sandbox, list_sandboxes
from miosa_generated.api.snapshots import create_snapshot, list_snapshots
from miosa_generated.models import (
    Command,
    ApiError,
    ExecAnswer,
    FileTextAnswer,
    FsWrite,
    SandboxAnswer,
    SandboxCreate,
    SandboxList,
    SandboxState,
    SnapshotAnswer,
    SnapshotCreate,
    SnapshotList,
)
from miosa_generated.types import File

Expected = TypeVar("Expected")


def expect(kind: type[Expected], answer: object) -> Expected:
    """The answer, when it is of the kind that the contract promises."""
    assert isinstance(answer, kind), answer
    return answer


def tour(miosa: AuthenticatedClient, sandbox: SandboxAnswer) -> None:
    """What a sandbox is for."""
    id = str(sandbox.id)
    assert sandbox.state == SandboxState.RUNNING

    result = expect(ExecAnswer, exec_in_sandbox.sync(id, client=miosa, body=Command(command="echo hello")))
    assert (result.exit_code, result.stdout) == (0, "hello\n"), result

    path = "/workspace/a.txt"
    assert fs_write.sync_detailed(id, client=miosa, body=FsWrite(path=path, content="one")).status_code == 201
    assert expect(FileTextAnswer, fs_read.sync(id, client=miosa, path=path)).content == "one"
    assert expect(File, fs_download.sync(id, client=miosa, path=path)).payload.read() == b"one"

    body = SnapshotCreate(comment="first")
    snapshot = expect(SnapshotAnswer, create_snapshot.sync(id, client=miosa, body=body))
    kept = expect(SnapshotList, list_snapshots.sync(id, client=miosa))
    assert [one.id for one in kept.data] == [snapshot.id]

    listed = expect(SandboxList, list_sandboxes.sync(client=miosa, page_size=10, state=SandboxState.RUNNING))
    assert sandbox.id in [one.id for one in listed.data]


def main() -> None:
    """Runs it and leaves nothing behind."""
    miosa = AuthenticatedClient(base_url=os.environ["MIOSA_BASE_URL"], token=os.environ["MIOSA_API_KEY"])
    body = SandboxCreate(name="generated-python")
    sandbox = expect(SandboxAnswer, create_sandbox.sync(client=miosa, body=body))
    id = str(sandbox.id)
    try:
        tour(miosa, sandbox)
    finally:
        assert delete_sandbox.sync_detailed(id, client=miosa).status_code == 200
    refusal = expect(ApiError, get_sandbox.sync(id, client=miosa))
    assert refusal.error.code == "sandbox_not_found"
    print(f"Python: {id} was made, used and removed")


main()
