"""The README of the official SDK, 2.19.2: quickstart and agent workspaces, sync and async, unmodified.

The snippets are taken out of the installed package's own README and run as they stand; only their output is
looked at.
"""

import contextlib
import importlib.metadata
import io
import queue
import re
import threading
import urllib.error
import urllib.request

import pytest

README = importlib.metadata.metadata("miosa").get_payload()


def snippet(heading, containing):
    """The first Python block under a heading that contains a text."""
    section = README.split(f"\n## {heading}\n", 1)[1]
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        if containing in block:
            return block
    raise AssertionError(f"the README of the SDK has no block with {containing!r} under {heading!r}")


def run(source, **names):
    out = io.StringIO()
    scope = {"__name__": "snippet", **names}
    with contextlib.redirect_stdout(out):
        exec(compile(source, "README", "exec"), scope)  # the point of the test: it runs as printed
    return out.getvalue(), scope


def test_readme_quickstart(environment):
    out, scope = run(snippet("Quickstart", "create_agent_workspace"))
    lines = out.splitlines()
    assert lines[0].startswith("Python 3.")
    assert "hello from miosa" in lines
    assert any(line.startswith("http://") for line in lines)
    sandbox = scope["sb"]
    assert sandbox.state == "paused"
    assert [snapshot["comment"] for snapshot in sandbox.snapshots.list()] == ["after-hello-world"]


def test_readme_quickstart_again_finds_the_same_workspace(environment):
    source = snippet("Quickstart", "create_agent_workspace")
    first = run(source)[1]["sb"]
    again = run(source)[1]["sb"]
    assert again.id == first.id


def test_readme_agent_workspace(environment, key):
    from miosa import Miosa

    out, scope = run(snippet("Agent workspaces", "get_or_create"), miosa=Miosa(api_key=key))
    # The snippet's package.json names no dependency, so vite is absent and the dev server ends at once: the
    # stream must say so and end, and the preview must still get its URL.
    assert "'exit'" in out or "exit_code" in out
    assert out.splitlines()[-1].startswith("http://")
    assert scope["sb"].exec.run("cat /workspace/index.html").stdout == '<main id="app"></main>'


def test_a_preview_serves_what_listens_in_the_sandbox(environment, key):
    from miosa import Miosa

    sandbox = Miosa(api_key=key).sandboxes.create()
    sandbox.files.write("/workspace/index.html", "served from inside")
    sandbox.exec.run("nohup python3 -m http.server 8000 > /dev/null 2>&1 &")
    assert sandbox.exec.run(
        "for i in $(seq 100); do python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8000))' "
        "2>/dev/null && exit 0; done; exit 1").exit_code == 0
    url = sandbox.preview.create(port=8000)["url"]
    assert urllib.request.urlopen(url, timeout=30).read() == b"served from inside"
    assert urllib.request.urlopen(sandbox.expose(8000), timeout=30).read() == b"served from inside"
    sandbox.destroy()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=30).read()


def test_snapshot_restore_and_fork(environment, key):
    from miosa import Miosa

    client = Miosa(api_key=key)
    sandbox = client.sandboxes.create(name="origin")
    sandbox.files.write("/workspace/state", "before")
    snapshot = sandbox.snapshots.create("before")
    sandbox.files.write("/workspace/state", "after")
    fork = sandbox.fork(snapshot_id=snapshot["id"], name="fork")
    assert fork.id != sandbox.id
    assert fork.files.read("/workspace/state") in ("before", b"before")
    restored = sandbox.restore_snapshot(snapshot["id"])
    assert restored.exec.run("cat /workspace/state").stdout == "before"
    live = restored.fork(name="live-fork")
    assert live.exec.run("cat /workspace/state").stdout == "before"


def test_lifecycle_as_the_sdk_sees_it(environment, key):
    from miosa import Miosa, MiosaError

    client = Miosa(api_key=key)
    sandbox = client.sandboxes.create(name="life", timeout_sec=600, env={"GREETING": "hi"}, metadata={"a": "b"})
    assert sandbox.wait_until_ready(timeout=30)
    assert sandbox.exec.run("echo $GREETING").stdout == "hi\n"
    assert client.sandboxes.get_by_name("life").id == sandbox.id
    sandbox.pause()
    assert client.sandboxes.get(sandbox.id).state == "paused"
    sandbox.resume()
    assert client.sandboxes.get(sandbox.id).state == "running"
    sandbox.extend(1200)
    assert client.sandboxes.get(sandbox.id).timeout_sec == 1200
    sandbox.update(name="renamed")
    assert client.sandboxes.get(sandbox.id).name == "renamed"
    usage = sandbox.usage()
    assert usage["runtime_sec"] >= 0 and usage["measurement_status"]
    with pytest.raises(MiosaError) as taken:
        client.sandboxes.create(name="renamed")
    assert taken.value.status_code == 409
    with pytest.raises(MiosaError) as missing:
        sandbox.files.read("/workspace/not-there")
    assert missing.value.status_code == 404


def test_watch_as_the_sdk_sees_it(environment, key):
    from miosa import Miosa

    sandbox = Miosa(api_key=key).sandboxes.create()
    watcher = Miosa(api_key=key).sandboxes.get(sandbox.id)
    seen = queue.Queue()

    def follow():
        for event in watcher.files.watch():
            seen.put(event)
            if event.event == "renamed":
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    # The SDK does not say when it listens: something happens until it hears.
    for attempt in range(120):
        sandbox.files.write(f"/workspace/{attempt}.txt", "x")
        with contextlib.suppress(queue.Empty):
            first = seen.get(timeout=0.5)
            break
    else:
        raise AssertionError("the watch told nothing")
    assert first.event == "created" and first.path.endswith(".txt") and not first.is_dir
    sandbox.exec.run("mkdir src && mv 0.txt src/new.txt")
    events = []
    while not events or events[-1].event != "renamed":
        events.append(seen.get(timeout=30))
    assert any(event.event == "created" and event.path == "/workspace/src" and event.is_dir for event in events)
    assert (events[-1].old_path, events[-1].path) == ("/workspace/0.txt", "/workspace/src/new.txt")
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_platform_as_the_sdk_sees_it(environment, key):
    from miosa import Miosa

    client = Miosa(api_key=key)
    workspace = client.workspaces.create(name="Clinic One")
    workspace_id = workspace["id"] if isinstance(workspace, dict) else workspace.id
    sandbox = client.sandboxes.create(workspace_id=workspace_id)
    assert sandbox.workspace_id == workspace_id
    minted = client.api_keys.create(name="ci", scopes=["sandboxes:read"])
    reader = Miosa(api_key=minted["key"])
    assert [seen.id for seen in reader.sandboxes.list()] == [sandbox.id]
    with pytest.raises(Exception) as refused:
        reader.sandboxes.create()
    assert refused.value.status_code == 403
    assert Miosa(api_key=f"{key}x").sandboxes.list() == []
