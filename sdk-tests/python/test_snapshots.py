"""Snapshots, names that keep them, variables, and links for visitors: each method of these classes, both twins."""

import io
import tarfile
import urllib.error
import urllib.request
import uuid

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError

SIZE = {"template_id": "miosa-sandbox", "size": "xs"}


def client(key):
    return Miosa(api_key=key, max_retries=0)


def asynchronous(key):
    return AsyncMiosa(api_key=key, max_retries=0)


def refused(raised, status, code):
    assert (raised.value.status_code, raised.value.code) == (status, code), raised.value


def members(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() if member.isfile() else None for member in tar}


def visit(url, method="GET", data=None):
    """What a visitor without an account gets: status and text."""
    request = urllib.request.Request(url, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def page(url, path):
    """Another path of the same link."""
    address, _, query = url.partition("?")
    return f"{address}{path}?{query}"


def test_snapshots_of_a_sandbox(environment, key):
    sandbox = client(key).sandboxes.create(**SIZE)
    sandbox.files.write("/workspace/a", "before")
    made = sandbox.snapshots.create("by namespace")
    assert (made["status"], made["comment"], made["sandbox_id"]) == ("ready", "by namespace", sandbox.id)
    second = sandbox.create_snapshot("by method")
    legacy = sandbox.snapshot()
    assert [found["id"] for found in sandbox.snapshots.list()] == [legacy, second["id"], made["id"]]
    assert [found["id"] for found in sandbox.list_snapshots()] == [legacy, second["id"], made["id"]]
    sandbox.files.write("/workspace/a", "after")
    restored = sandbox.snapshots.restore(made["id"])
    assert (restored.id, restored.state) == (sandbox.id, "running")
    assert restored.exec.run("cat /workspace/a").stdout == "before"
    restored.files.write("/workspace/a", "after")
    assert restored.restore_snapshot(second["id"]).exec.run("cat /workspace/a").stdout == "before"
    assert sandbox.snapshots.delete(made["id"]) is None
    assert sandbox.delete_snapshot(second["id"]) is None
    assert [found["id"] for found in sandbox.snapshots.list()] == [legacy]


@pytest.mark.asyncio
async def test_snapshots_of_a_sandbox_async(environment, key):
    sandbox = await asynchronous(key).sandboxes.create(**SIZE)
    await sandbox.files.write("/workspace/a", "before")
    made = await sandbox.snapshots.create("by namespace")
    second = await sandbox.create_snapshot("by method")
    legacy = await sandbox.snapshot()
    assert [found["id"] for found in await sandbox.snapshots.list()] == [legacy, second["id"], made["id"]]
    assert [found["id"] for found in await sandbox.list_snapshots()] == [legacy, second["id"], made["id"]]
    await sandbox.files.write("/workspace/a", "after")
    restored = await sandbox.snapshots.restore(made["id"])
    assert (await restored.exec.run("cat /workspace/a")).stdout == "before"
    await restored.files.write("/workspace/a", "after")
    restored = await restored.restore_snapshot(second["id"])
    assert (await restored.exec.run("cat /workspace/a")).stdout == "before"
    await sandbox.snapshots.delete(made["id"])
    await sandbox.delete_snapshot(second["id"])
    assert [found["id"] for found in await sandbox.snapshots.list()] == [legacy]


def test_history(environment, key):
    miosa = client(key)
    sandbox = miosa.sandboxes.create(name=f"history-{uuid.uuid4().hex[:6]}", **SIZE)
    sandbox.exec.run("mkdir -p /workspace/d && printf text > /workspace/d/file && ln -s file /workspace/d/link")
    first, second = sandbox.snapshots.create("first"), sandbox.snapshots.create("second")
    history = miosa.snapshot_history
    assert [found["id"] for found in history.list()["data"]] == [second["id"], first["id"]]
    assert [found["id"] for found in history.list(resource_id=sandbox.id, q="first", limit=1, offset=0)["data"]] == [first["id"]]
    workspace = first["workspace_id"]
    assert len(history.list(workspace_id=workspace, q=sandbox.name)["data"]) == 2
    groups = history.groups(workspace_id=workspace, q=sandbox.name, limit=10, offset=0)["data"]
    assert [(group["resource"]["id"], group["snapshot_count"]) for group in groups] == [(sandbox.id, 2)]
    one = history.get(first["id"])
    assert (one["data"]["comment"], one["dependents"]) == ("first", [])
    tree = history.tree(first["id"], path="/workspace/d")
    assert [(entry["name"], entry["type"]) for entry in tree["entries"]] == [("file", "file"), ("link", "symlink")]
    assert any(entry["path"] == "/workspace" for entry in history.tree(first["id"])["entries"])
    assert history.file(first["id"], path="/workspace/d/file") == b"text"
    assert members(history.file(first["id"], path="/workspace/d"))["d/file"] == b"text"
    forked = history.fork(first["id"], idempotency_key="fork-1", no_env=True)
    assert forked["state"] == "running" and forked["id"] != sandbox.id
    assert history.fork(first["id"], idempotency_key="fork-1", no_env=True)["id"] == forked["id"]
    assert miosa.sandboxes.get(forked["id"]).exec.run("cat /workspace/d/file").stdout == "text"
    history.delete(first["id"])
    with pytest.raises(MiosaError) as raised:
        history.get(first["id"])
    refused(raised, 404, "snapshot_not_found")
    assert history.bulk_delete(ids=[second["id"]])["deleted"] == [second["id"]]
    third = sandbox.snapshots.create("third")
    swept = history.bulk_delete(resource_id=sandbox.id, all=True, confirm=sandbox.id)
    assert (swept["deleted"], swept["blocked"]) == ([third["id"]], [])


@pytest.mark.asyncio
async def test_history_async(environment, key):
    miosa = asynchronous(key)
    sandbox = await miosa.sandboxes.create(name=f"history-{uuid.uuid4().hex[:6]}", **SIZE)
    await sandbox.exec.run("mkdir -p /workspace/d && printf text > /workspace/d/file")
    first, second = await sandbox.snapshots.create("first"), await sandbox.snapshots.create("second")
    history = miosa.snapshot_history
    assert [found["id"] for found in (await history.list(limit=5))["data"]] == [second["id"], first["id"]]
    groups = (await history.groups(q=sandbox.name))["data"]
    assert [(group["resource"]["id"], group["snapshot_count"]) for group in groups] == [(sandbox.id, 2)]
    assert (await history.get(first["id"]))["dependents"] == []
    tree = await history.tree(first["id"], path="/workspace/d")
    assert [entry["name"] for entry in tree["entries"]] == ["file"]
    assert await history.file(first["id"], path="/workspace/d/file") == b"text"
    assert members(await history.file(first["id"], path="/workspace/d"))["d/file"] == b"text"
    forked = await history.fork(first["id"], idempotency_key="fork-2")
    assert (await (await miosa.sandboxes.get(forked["id"])).exec.run("cat d/file")).stdout == "text"
    await history.delete(first["id"])
    assert (await history.bulk_delete(ids=[second["id"]]))["deleted"] == [second["id"]]


def test_a_snapshot_in_use_stays(environment, key):
    miosa = client(key)
    sandbox = miosa.sandboxes.create(**SIZE)
    base = sandbox.snapshots.create("base")
    child = sandbox.snapshots.restore(base["id"]).snapshots.create("child")
    with pytest.raises(MiosaError) as raised:
        miosa.snapshot_history.delete(base["id"])
    refused(raised, 409, "SNAPSHOT_IN_USE")
    assert type(raised.value).__name__ == "SnapshotInUseError"
    assert raised.value.details["dependents"][0] == {"type": "child_snapshot", "id": child["id"], "label": "child"}
    with pytest.raises(MiosaError) as raised:
        miosa.snapshot_history.bulk_delete(ids=[base["id"]])
    refused(raised, 409, "SNAPSHOT_IN_USE")
    assert raised.value.details["blocked"][0]["id"] == base["id"]


def test_named_snapshots(environment, key):
    miosa = client(key)
    sandbox = miosa.sandboxes.create(**SIZE)
    sandbox.files.write("/workspace/a", "golden")
    made = sandbox.snapshots.create("pinned")
    names = miosa.named_snapshots
    assert names.create("golden", snapshot_id=made["id"], workspace_id=made["workspace_id"])["name"] == "golden"
    taken = names.create("taken for it", sandbox_id=sandbox.id)
    assert taken["snapshot"]["status"] == "ready"
    assert [name["name"] for name in names.list(workspace_id=made["workspace_id"])["data"]] == ["taken for it", "golden"]
    for arguments, code, cls in [
        ({"name": "golden", "sandbox_id": sandbox.id}, "NAME_TAKEN", "SnapshotNameTakenError"),
        ({"name": "other", "snapshot_id": made["id"]}, "SNAPSHOT_ALREADY_NAMED", "SnapshotAlreadyNamedError"),
    ]:
        with pytest.raises(MiosaError) as raised:
            names.create(**arguments)
        refused(raised, 409, code)
        assert type(raised.value).__name__ == cls
    found = names.get("golden")
    assert (found["data"]["snapshot_id"], found["dependents"]) == (made["id"], [])
    assert miosa.snapshot_history.list()["data"] == []
    sandbox.destroy()
    deployed = names.deploy("golden", idempotency_key="deploy-1", no_env=True)
    assert miosa.sandboxes.get(deployed["id"]).exec.run("cat a").stdout == "golden"
    assert names.delete("golden")["outcome"] == "released"
    assert names.delete("taken for it")["outcome"] == "deleted"
    assert [found["id"] for found in miosa.snapshot_history.list()["data"]] == [made["id"]]


@pytest.mark.asyncio
async def test_named_snapshots_async(environment, key):
    miosa = asynchronous(key)
    sandbox = await miosa.sandboxes.create(**SIZE)
    await sandbox.files.write("/workspace/a", "golden")
    names = miosa.named_snapshots
    named = await names.create("golden", sandbox_id=sandbox.id)
    assert [name["id"] for name in (await names.list())["data"]] == [named["id"]]
    assert (await names.get("golden"))["data"]["snapshot_id"] == named["snapshot_id"]
    deployed = await names.deploy("golden")
    assert (await (await miosa.sandboxes.get(deployed["id"])).exec.run("cat a")).stdout == "golden"
    assert (await names.delete("golden"))["outcome"] == "deleted"


def test_variables(environment, key):
    sandbox = client(key).sandboxes.create(env={"OLD": "1"}, **SIZE)
    set_ = sandbox.env.set([{"key": "TOKEN", "value": "supersecret", "encrypted": True}, {"key": "COLOR", "value": "blue"}])
    assert {variable["name"]: variable["preview"] for variable in set_["data"]} == {
        "OLD": "***", "TOKEN": "sup...ret", "COLOR": "***"}
    assert sandbox.exec.run("echo $COLOR $TOKEN $OLD").stdout == "blue supersecret 1\n"
    sandbox.env.delete("OLD")
    for read in (sandbox.env.list, sandbox.env.get):
        assert sorted(read()["env"]) == ["COLOR", "TOKEN"]
    sandbox.pause()
    sandbox.resume()
    assert sandbox.exec.run("echo $COLOR ${OLD-gone}").stdout == "blue gone\n"
    assert sandbox.fork().exec.run("echo $COLOR ${OLD-gone}").stdout == "blue gone\n"


@pytest.mark.asyncio
async def test_variables_async(environment, key):
    sandbox = await asynchronous(key).sandboxes.create(**SIZE)
    await sandbox.env.set([{"key": "COLOR", "value": "blue"}])
    assert (await sandbox.exec.run("echo $COLOR")).stdout == "blue\n"
    assert list((await sandbox.env.list())["env"]) == ["COLOR"]
    assert list((await sandbox.env.get())["env"]) == ["COLOR"]
    await sandbox.env.delete("COLOR")
    assert (await sandbox.exec.run("echo ${COLOR-gone}")).stdout == "gone\n"


SERVE = "mkdir -p /workspace/www && echo hello > /workspace/www/page && cd /workspace/www && (nohup python3 -m http.server 8000 > /dev/null 2>&1 &) ; for i in $(seq 200); do python3 -c \"import socket; socket.create_connection(('127.0.0.1', 8000))\" 2>/dev/null && break; sleep 0.05; done"


def test_previews_and_their_visitors(environment, key):
    sandbox = client(key).sandboxes.create(**SIZE)
    sandbox.exec.run(SERVE)
    assert visit(page(sandbox.preview.expose(8001), "page"))[0] == 503
    preview = sandbox.preview.create(port=8000, visibility="private", label="site")
    assert (preview["visibility"], preview["name"]) == ("private", "site")
    assert sandbox.preview.get(preview["id"])["url"] == preview["url"]
    assert preview["id"] in [found["id"] for found in sandbox.preview.list()]
    assert visit(page(preview["url"], "page"))[0] == 401
    shared = sandbox.preview.share(preview["id"], ttl_seconds=600)
    assert visit(page(shared["share_url"], "page")) == (200, "hello\n")
    sandbox.preview.revoke_share(preview["id"])
    assert visit(page(shared["share_url"], "page"))[0] == 403

    address = preview["url"]
    share = sandbox.share.create(expires_in=3600, scope="read")
    link = f"{address}page?{share['share_url'].partition('?')[2]}"
    assert visit(link) == (200, "hello\n")
    assert [found["share_id"] for found in sandbox.share.list()] == [share["share_id"]]
    assert sandbox.share.revoke(share["share_id"]) is None
    assert visit(link)[0] == 403 and sandbox.share.list() == []

    token = sandbox.preview_token(expires_in=60, scope="read")
    assert token["token"].startswith("mp_") and token["url"].endswith(token["token"])
    assert visit(f"{address}page?mt={token['token']}") == (200, "hello\n")
    assert visit(f"{address}page?mt={token['token']}", "POST", b"x")[0] == 403
    acting = sandbox.preview_token(scope="interact")
    assert visit(f"{address}page?mt={acting['token']}", "POST", b"x")[0] == 501, "the application's own answer"
    with pytest.raises(MiosaError) as raised:
        sandbox.preview_token(scope="everything")
    refused(raised, 422, "invalid_scope")
    sandbox.preview.delete(preview["id"])
    with pytest.raises(urllib.error.URLError, match="refused"):
        visit(f"{address}page?mt={token['token']}")  # its port is closed


@pytest.mark.asyncio
async def test_previews_and_their_visitors_async(environment, key):
    sandbox = await asynchronous(key).sandboxes.create(**SIZE)
    await sandbox.exec.run(SERVE)
    preview = await sandbox.preview.create(port=8000, visibility="private")
    assert (await sandbox.preview.get(preview["id"]))["url"] == preview["url"]
    assert [found["id"] for found in await sandbox.preview.list()] == [preview["id"]]
    shared = await sandbox.preview.share(preview["id"], ttl_seconds=600)
    assert visit(page(shared["share_url"], "page")) == (200, "hello\n")
    await sandbox.preview.revoke_share(preview["id"])
    share = await sandbox.share.create(expires_in=3600)
    assert visit(page(share["share_url"], "page")) == (200, "hello\n")
    assert [found["share_id"] for found in await sandbox.share.list()] == [share["share_id"]]
    await sandbox.share.revoke(share["share_id"])
    assert visit(page(share["share_url"], "page"))[0] == 403
    token = await sandbox.preview_token(expires_in=60)
    assert visit(page(token["url"], "page")) == (200, "hello\n")
    assert (await sandbox.preview.expose(8001)).startswith("http://")
    await sandbox.preview.delete(preview["id"])
