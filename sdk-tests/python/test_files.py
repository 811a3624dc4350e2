"""Files, exports, artifacts and Git of a sandbox: every method, with what it brings, and its async twin."""

import asyncio
import io
import tarfile
import threading

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError
from miosa.resources.sandbox_namespaces import FileWriteItem

BINARY = bytes(range(256)) * 40


@pytest.fixture
def sandbox(environment, key):
    return Miosa(api_key=key, max_retries=0).sandboxes.create()


async def opened(key):
    return await AsyncMiosa(api_key=key, max_retries=0).sandboxes.create()


def names(archive):
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return sorted(member.name for member in tar.getmembers())


def check_listing(listing):
    assert listing["path"] == "/workspace/src"
    entries = {entry["name"]: entry for entry in listing["entries"]}
    assert entries["a.bin"]["size"] == len(BINARY) and not entries["a.bin"]["is_dir"]
    assert entries["deep"]["is_dir"]
    return entries


def check_tree(tree):
    assert (tree["type"], tree["name"], tree["path"]) == ("dir", "src", "/workspace/src")
    deep = next(child for child in tree["children"] if child["name"] == "deep")
    assert [leaf["path"] for leaf in deep["children"]] == ["/workspace/src/deep/b.json"]


def check_written(outcome):
    assert [(file["path"], file["size_bytes"]) for file in outcome["written"]] == [
        ("/workspace/many/a", 1), ("/workspace/many/b", 2)]
    assert [(file["path"], file["code"]) for file in outcome["failed"]] == [("/proc/1/mem", "FORBIDDEN_PATH")]


MANY = [
    {"path": "/workspace/many/a", "content": "1"},
    {"path": "/workspace/many/b", "content": b"\xff\x00"},
    {"path": "/proc/1/mem", "content": "x"},
]


def test_files_are_written_and_read(sandbox, tmp_path):
    own = tmp_path / "own"
    own.write_bytes(BINARY)
    sandbox.files.write("/workspace/src/a.bin", BINARY)
    sandbox.files.upload("/workspace/src/deep/b.json", '{"ü": 1}')
    assert sandbox.files.read("/workspace/src/a.bin") == BINARY
    assert sandbox.files.download("/workspace/src/a.bin") == BINARY
    # A JSON file must not be taken for an envelope.
    assert sandbox.files.read_text("/workspace/src/deep/b.json") == '{"ü": 1}'
    check_listing(sandbox.files.list("/workspace/src"))
    assert "/workspace/src/deep/b.json" in [e["path"] for e in sandbox.files.list("/workspace/src", depth=2)["entries"]]
    check_tree(sandbox.files.tree("/workspace/src", depth=2))
    assert sandbox.files.stat("/workspace/src/a.bin")["size"] == len(BINARY)
    check_written(sandbox.files.write_many(MANY))
    assert sandbox.files.read("/workspace/many/b") == b"\xff\x00"
    sandbox.files.write_files([
        {"path": "/workspace/many/c", "data": own}, FileWriteItem(path="/workspace/many/d e#f?", data="odd")])
    assert sandbox.files.read("/workspace/many/c") == BINARY
    assert sandbox.files.read_text("/workspace/many/d e#f?") == "odd"
    sandbox.write_file("/workspace/own", own)
    sandbox.upload("/workspace/text", "text")
    assert sandbox.download("/workspace/own") == BINARY
    assert sandbox.read_file("/workspace/text") == "text"
    assert sandbox.read_file("/workspace/own", text=False) == BINARY
    check_listing(sandbox.list_files("/workspace/src"))
    assert sandbox.stat_file("/workspace/text")["size"] == 4
    for call in (sandbox.files.read, sandbox.files.stat):
        with pytest.raises(MiosaError) as missing:
            call("/workspace/nothing")
        assert missing.value.status_code == 404
    with pytest.raises(MiosaError) as large:
        sandbox.files.write("/workspace/large", b"x" * (10 * 1024 * 1024 + 1))
    assert large.value.status_code == 413


@pytest.mark.asyncio
async def test_files_are_written_and_read_async(environment, key, tmp_path):
    sandbox = await opened(key)
    own = tmp_path / "own"
    own.write_bytes(BINARY)
    await sandbox.files.write("/workspace/src/a.bin", BINARY)
    await sandbox.files.upload("/workspace/src/deep/b.json", '{"ü": 1}')
    assert await sandbox.files.read("/workspace/src/a.bin") == BINARY
    assert await sandbox.files.download("/workspace/src/a.bin") == BINARY
    assert await sandbox.files.read_text("/workspace/src/deep/b.json") == '{"ü": 1}'
    check_listing(await sandbox.files.list("/workspace/src"))
    check_tree(await sandbox.files.tree("/workspace/src", depth=2))
    assert (await sandbox.files.stat("/workspace/src/a.bin"))["size"] == len(BINARY)
    check_written(await sandbox.files.write_many(MANY))
    await sandbox.files.write_files([{"path": "/workspace/many/c", "data": own}])
    assert await sandbox.files.read("/workspace/many/c") == BINARY
    await sandbox.write_file("/workspace/own", own)
    await sandbox.upload("/workspace/text", "text")
    assert await sandbox.download("/workspace/own") == BINARY
    assert await sandbox.read_file("/workspace/text") == "text"
    check_listing(await sandbox.list_files("/workspace/src"))
    assert (await sandbox.stat_file("/workspace/text"))["size"] == 4
    with pytest.raises(MiosaError) as missing:
        await sandbox.files.read("/workspace/nothing")
    assert missing.value.status_code == 404


def test_changes_are_heard(sandbox):
    for watch in (sandbox.files.watch, sandbox.files.watch_dir):
        heard = threading.Event()

        def change():
            # Until the watch is in place, and then once more.
            for n in range(500):
                if heard.is_set():
                    return
                sandbox.files.write(f"/workspace/w/{n}", "x")

        sandbox.files.write("/workspace/w/first", "x")
        writer = threading.Thread(target=change)
        writer.start()
        try:
            event = next(watch("/workspace/w"))
        finally:
            heard.set()
            writer.join()
        assert event.event in ("created", "modified")
        assert event.path.startswith("/workspace/w/") and not event.is_dir


@pytest.mark.asyncio
async def test_changes_are_heard_async(environment, key):
    sandbox = await opened(key)
    await sandbox.files.write("/workspace/w/first", "x")

    async def change():
        for n in range(500):
            await sandbox.files.write(f"/workspace/w/{n}", "x")

    for watch in (sandbox.files.watch, sandbox.files.watch_dir):
        writer = asyncio.create_task(change())
        events = watch("/workspace/w")
        event = await asyncio.wait_for(anext(events), 60)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await events.aclose()
        assert event.event in ("created", "modified") and event.path.startswith("/workspace/w/")


def check_export(export, sandbox):
    assert (export["status"], export["label"], export["sandbox_id"]) == ("ready", "results", sandbox.id)
    assert [file["path"] for file in export["files"]] == ["/workspace/out", "/workspace/report.json"]
    assert export["archive_download_url"].startswith(f"/api/v1/sandboxes/{sandbox.id}/exports/download?")


def check_artifacts(artifacts, export):
    assert artifacts["exports"] == [export] and artifacts["declared"] == []
    assert [file["filename"] for file in artifacts["files"]] == ["out.tar.gz", "report.json"]


def test_exports_are_downloaded_and_listed_as_artifacts(sandbox):
    sandbox.files.write_files([
        {"path": "/workspace/out/a", "data": "1"}, {"path": "/workspace/report.json", "data": "{}"}])
    paths = ["/workspace/out", "/workspace/report.json"]
    export = sandbox.create_export(paths, label="results")
    check_export(export, sandbox)
    assert sandbox.create_export("/workspace/report.json", filename="r.json")["files"][0]["filename"] == "r.json"
    assert sandbox.download_export("/workspace/report.json") == b"{}"
    assert names(sandbox.download_export(paths, filename="all.tar.gz")) == ["out", "out/a", "report.json"]
    assert names(sandbox.download_export("/workspace/out")) == ["a"]
    artifacts = sandbox.get_artifacts()
    assert artifacts.preview == {}
    assert [listed["id"] for listed in artifacts.artifacts["exports"]][1] == export["id"]
    assert sandbox.artifacts.list()["artifacts"] == artifacts.artifacts
    with pytest.raises(MiosaError) as missing:
        sandbox.download_export("/workspace/nothing")
    assert missing.value.status_code == 404


@pytest.mark.asyncio
async def test_exports_are_downloaded_and_listed_as_artifacts_async(environment, key):
    sandbox = await opened(key)
    await sandbox.files.write_files([
        {"path": "/workspace/out/a", "data": "1"}, {"path": "/workspace/report.json", "data": "{}"}])
    paths = ["/workspace/out", "/workspace/report.json"]
    export = await sandbox.create_export(paths, label="results")
    check_export(export, sandbox)
    assert names(await sandbox.download_export(paths)) == ["out", "out/a", "report.json"]
    check_artifacts((await sandbox.get_artifacts()).artifacts, export)
    check_artifacts((await sandbox.artifacts.list())["artifacts"], export)


BARE = ("git init -q --bare -b main /tmp/origin.git && git clone -q /tmp/origin.git /tmp/seed 2>/dev/null && cd /tmp/seed"
        " && git config --global user.email dev@example.com && git config --global user.name Dev"
        " && git checkout -q -b main 2>/dev/null; echo one > a && git add a && git commit -qm one && git push -q origin main")


def check(result):
    assert result.exit_code == 0, (result.stdout, result.stderr)
    return result


def test_git_works_against_a_repository(sandbox):
    check(sandbox.exec(BARE))
    cloned = check(sandbox.git.clone("/tmp/origin.git", path="/workspace/app", branch="main", depth=1))
    assert cloned.path == "/workspace/app"
    sandbox.files.write("/workspace/app/b", "two")
    check(sandbox.git.commit("/workspace/app", message="it's two"))
    check(sandbox.git.push("/workspace/app", branch="main"))
    assert sandbox.exec("git -C /tmp/origin.git log --format=%s main").stdout == "it's two\none\n"
    check(sandbox.exec("cd /tmp/seed && git pull -q origin main && echo 3 > c && git add c && git commit -qm three && git push -q origin main"))
    check(sandbox.git.pull("/workspace/app", branch="main"))
    assert sandbox.files.read_text("/workspace/app/c") == "3\n"
    assert sandbox.git.clone("/tmp/no.git", path="/workspace/no").exit_code != 0


@pytest.mark.asyncio
async def test_git_works_against_a_repository_async(environment, key):
    sandbox = await opened(key)
    check(await sandbox.exec(BARE))
    check(await sandbox.git.clone("/tmp/origin.git", path="/workspace/app"))
    await sandbox.files.write("/workspace/app/b", "two")
    check(await sandbox.git.commit("/workspace/app", message="two"))
    check(await sandbox.git.push("/workspace/app", branch="main"))
    check(await sandbox.git.pull("/workspace/app", branch="main"))
    assert (await sandbox.exec("git -C /tmp/origin.git log --format=%s main")).stdout == "two\none\n"
