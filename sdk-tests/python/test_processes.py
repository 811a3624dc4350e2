"""Commands, processes, interpreters: what goes on in a sandbox, through the official SDK and its async twin."""

import asyncio
import time

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError
from miosa.resources.sandboxes import ExecOptions

BOUND = 60


@pytest.fixture
def sandbox(environment, key):
    client = Miosa(api_key=key, max_retries=0)
    return client, client.sandboxes.create()


async def async_sandbox(key):
    client = AsyncMiosa(api_key=key, max_retries=0)
    return client, await client.sandboxes.create()


def until(holds):
    """Waits until something holds, within a bound; what it was in the end."""
    deadline = time.monotonic() + BOUND
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
    return found


async def async_until(holds):
    deadline = time.monotonic() + BOUND
    while not (found := await holds()):
        assert time.monotonic() < deadline, "it never came to hold"
        await asyncio.sleep(0.02)
    return found


def test_exec_runner(sandbox):
    _, box = sandbox
    result = box.exec.run("echo $WORD; pwd; exit 3", ExecOptions(cwd="/tmp", env={"WORD": "hello"}, timeout_sec=10))
    assert (result.stdout, result.exit_code) == ("hello\n/tmp\n", 3)
    assert box.exec("echo called").stdout == "called\n"
    events = list(box.exec.stream("echo a; echo b >&2; exit 4"))
    assert {(event.type, event.data.get("line")) for event in events[:-1]} == {("stdout", "a"), ("stderr", "b")}
    assert events[-1].type == "exit" and events[-1].data["exit_code"] == 4
    assert [event.data.get("line") for event in box.exec_stream("echo c")][0] == "c"


@pytest.mark.asyncio
async def test_exec_runner_async(environment, key):
    _, box = await async_sandbox(key)
    result = await box.exec.run("echo $WORD; exit 3", ExecOptions(env={"WORD": "hello"}))
    assert (result.stdout, result.exit_code) == ("hello\n", 3)
    assert (await box.exec("echo called")).stdout == "called\n"
    events = [event async for event in box.exec.stream("echo a; exit 4")]
    assert events[0].data["line"] == "a" and events[-1].data["exit_code"] == 4
    assert [event.data.get("line") async for event in box.exec_stream("echo c")][0] == "c"


def test_commands_of_a_handle(sandbox):
    _, box = sandbox
    result = box.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)
    assert [event.data.get("line") for event in box.commands.stream("echo streamed")][0] == "streamed"
    job = box.commands.run("echo up; exec sleep 300", ExecOptions(cwd="/tmp"), background=True)
    assert isinstance(job.pid, int) and job.pid > 0
    assert job.status()["state"] == "running" and job.status()["cwd"] == "/tmp"
    job.kill()
    ended = job.status()
    assert ended["state"] == "stopped" and ended["signal"] == 15
    quick = box.commands.run("exit 7", background=True)
    assert until(lambda: quick.status()["exit_code"]) == 7
    # The SDK itself knows no route for this.
    with pytest.raises(MiosaError):
        box.commands.send_stdin(job.pid, "x")


@pytest.mark.asyncio
async def test_commands_of_a_handle_async(environment, key):
    _, box = await async_sandbox(key)
    result = await box.commands.run("echo out")
    assert (result.stdout, result.exit_code) == ("out\n", 0)
    lines = [event.data.get("line") async for event in box.commands.stream("echo streamed")]
    assert lines[0] == "streamed"
    job = await box.commands.run("exec sleep 300", background=True)
    assert (await job.status())["state"] == "running"
    await job.kill()
    assert (await job.status())["state"] == "stopped"
    with pytest.raises(MiosaError):
        await box.commands.send_stdin(job.pid, "x")


def test_processes(sandbox):
    _, box = sandbox
    started = box.processes.start("echo $WORD; sleep 0.2; echo end; exit 3", env={"WORD": "hello"}, name="job")
    pid = started["pid"]
    assert int(pid) > 0 and started["name"] == "job" and started["status"] == "running"
    assert [process["pid"] for process in box.processes.list()] == [pid]
    events = list(box.processes.stream(pid))
    assert [event["line"] for event in events[:-1]] == ["hello", "end"]
    assert (events[-1]["type"], events[-1]["exit_code"]) == ("exit", 3)
    assert box.processes.get(pid)["exit_code"] == 3
    assert box.processes.logs(pid) == "hello\nend\n"
    assert box.processes.logs(pid, tail=1) == "end\n"
    server = box.processes.start("exec sleep 300")
    box.processes.stop(server["pid"])
    assert box.processes.get(server["pid"])["status"] == "stopped"


@pytest.mark.asyncio
async def test_processes_async(environment, key):
    _, box = await async_sandbox(key)
    started = await box.processes.start("echo $WORD; exit 3", env={"WORD": "hello"}, name="job")
    pid = started["pid"]
    assert [process["pid"] for process in await box.processes.list()] == [pid]
    events = [event async for event in box.processes.stream(pid)]
    assert events[0]["line"] == "hello" and events[-1]["exit_code"] == 3
    assert (await box.processes.get(pid))["exit_code"] == 3
    assert await box.processes.logs(pid, tail=10) == "hello\n"
    server = await box.processes.start("exec sleep 300")
    await box.processes.stop(server["pid"])
    assert (await box.processes.get(server["pid"]))["status"] == "stopped"


def test_commands_resource(sandbox):
    client, box = sandbox
    box.exec("mkdir app")
    result = client.commands.run(box.id, "cat; pwd; exit 3", cwd="app", timeout_seconds=30, stdin="in\n")
    assert result["stdout"] == "in\n/workspace/app\n" and result["exit_code"] == 3
    assert result["timed_out"] is False and result["duration_ms"] >= 0
    late = client.commands.run(box.id, "exec sleep 300", timeout_seconds=1)
    assert (late["timed_out"], late["exit_code"]) == (True, -1)
    with pytest.raises(MiosaError) as raised:
        client.commands.run(box.id, "true", timeout_seconds=601)
    assert (raised.value.status_code, raised.value.code) == (422, "TIMEOUT_TOO_LONG")
    job = client.commands.run(
        box.id, "echo up; exec sleep 300", detached=True, name="job", tty=False, interactive=False, sudo=True, user="root")
    assert job["id"].startswith("cmd_") and job["status"] == "running"
    assert [command["pid"] for command in client.commands.list(box.id)] == [job["pid"]]
    assert client.commands.get(box.id, job["pid"])["name"] == "job"
    assert until(lambda: client.commands.logs(box.id, job["pid"])["lines"]) == ["up"]
    assert client.commands.kill(box.id, job["pid"])["status"] == "stopped"


@pytest.mark.asyncio
async def test_commands_resource_async(environment, key):
    client, box = await async_sandbox(key)
    result = await client.commands.run(box.id, "cat", stdin="in\n", timeout_seconds=30)
    assert result["stdout"] == "in\n"
    job = await client.commands.run(box.id, "echo up; exec sleep 300", detached=True)
    assert [command["pid"] for command in await client.commands.list(box.id)] == [job["pid"]]
    assert (await client.commands.get(box.id, job["pid"]))["status"] == "running"

    async def lines():
        return (await client.commands.logs(box.id, job["pid"]))["lines"]

    assert await async_until(lines) == ["up"]
    assert (await client.commands.kill(box.id, job["pid"]))["status"] == "stopped"


def test_interpreters(sandbox):
    _, box = sandbox
    first = box.run_code("import math\nx = 41\nprint('hello')")
    assert (first.ok, first.stdout, first.result, first.language) == (True, "hello\n", None, "python")
    assert box.run_code("x + 1").result == 42
    assert box.run_code("y = 1; y", context="other").result == 1
    script = box.run_code("const z = [1, 2]; z", language="javascript", timeout=20)
    assert (script.ok, script.result, script.language) == (True, [1, 2], "javascript")
    assert box.code_contexts() == ["default", "other"]
    assert box.code_contexts(language="javascript") == ["default"]
    error = box.run_code("1 / 0")
    assert error.ok is False and "ZeroDivisionError" in error.stderr
    late = box.run_code("import time; time.sleep(300)", timeout=1)
    assert late.ok is False and "TimeoutError" in late.stderr
    assert box.run_code("x").result == 41
    box.reset_code(language="python", context="default")
    assert "NameError" in box.run_code("x").stderr
    box.reset_code(language="python")
    assert box.code_contexts(language="python") == []
    box.reset_code()
    assert box.code_contexts() == []


@pytest.mark.asyncio
async def test_interpreters_async(environment, key):
    _, box = await async_sandbox(key)
    await box.run_code("x = 41")
    assert (await box.run_code("x + 1")).result == 42
    assert await box.code_contexts() == ["default"]
    assert (await box.run_code("1 / 0")).ok is False
    await box.reset_code(context="default")
    assert await box.code_contexts(language="python") == []
