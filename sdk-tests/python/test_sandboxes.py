"""Sandboxes as the newest SDK drives them: made, found, resized, set up, in batches. Each step has its async twin."""

import urllib.request

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError


@pytest.fixture
def client(environment, key):
    return Miosa(api_key=key, max_retries=0)


@pytest.fixture
def twin(environment, key):
    return AsyncMiosa(api_key=key, max_retries=0)


SERVE = "cd /workspace && exec python3 -m http.server 8123"


def served(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status


def test_a_sandbox_is_found_changed_and_ended(client):
    made = client.sandboxes.create(template_id="blank", name="one", tags=["a"], metadata={"n": 1}, timeout_sec=600)
    assert [client.sandboxes.get(made.id).id, client.sandboxes.connect(made.id).id] == [made.id] * 2
    assert client.sandboxes.get_by_name("one").id == made.id
    assert [listed.id for listed in client.sandboxes.list(state="running", tags=["a"])] == [made.id]
    made.update(name="two", metadata={"n": 2}, tags=["b"])
    assert (made.name, made.metadata, made.data["tags"]) == ("two", {"n": 2}, ["b"])
    assert made.tags.set(["c", "d"])["tags"] == ["c", "d"]
    assert made.extend(1200).timeout_sec == 1200
    assert made.usage()["runtime_sec"] >= 0
    assert made.run("echo hello").stdout == "hello\n"
    assert made.readiness()["ready"] is True
    assert made.wait_until_ready(timeout=10) is True
    assert made.refresh().name == "two"
    assert made.pause().state == "paused"
    assert made.wait_for_checkpoint(timeout=5) is True
    assert made.resume().state == "running"
    assert made.stop().state == "paused"
    assert made.resume().state == "running"
    fork = made.fork(name="three", metadata={"n": 3})
    assert (fork.name, fork.state, fork.metadata) == ("three", "running", {"n": 3})
    fork.destroy()
    fork = made.fork()
    fork.delete()
    client.sandboxes.delete(made.id)
    assert client.sandboxes.list() == []


@pytest.mark.asyncio
async def test_a_sandbox_is_found_changed_and_ended_async(twin):
    made = await twin.sandboxes.create(template_id="blank", name="one", tags=["a"], timeout_sec=600)
    assert (await twin.sandboxes.get(made.id)).id == (await twin.sandboxes.connect(made.id)).id == made.id
    assert (await twin.sandboxes.get_by_name("one")).id == made.id
    assert [listed.id for listed in await twin.sandboxes.list(state="running", tags=["a"])] == [made.id]
    await made.update(name="two", metadata={"n": 2})
    assert (made.name, made.metadata) == ("two", {"n": 2})
    assert (await made.tags.set(["c", "d"]))["tags"] == ["c", "d"]
    assert (await made.extend(1200)).timeout_sec == 1200
    assert (await made.usage())["runtime_sec"] >= 0
    assert (await made.run("echo hello")).stdout == "hello\n"
    assert (await made.readiness())["ready"] is True
    assert await made.wait_until_ready(timeout=10) is True
    assert (await made.refresh()).name == "two"
    assert (await made.pause()).state == "paused"
    assert await made.wait_for_checkpoint(timeout=5) is True
    assert (await made.resume()).state == "running"
    assert (await made.stop()).state == "paused"
    assert (await made.resume()).state == "running"
    fork = await made.fork(name="three")
    assert (fork.name, fork.state) == ("three", "running")
    await fork.destroy()
    fork = await made.fork()
    await fork.delete()
    await twin.sandboxes.delete(made.id)
    assert await twin.sandboxes.list() == []


def test_a_workspace_is_made_once_and_found_again(client):
    made = client.sandboxes.create_agent_workspace("agent", template_id="blank")
    assert made.metadata["miosa_workspace_kind"] == "agent_workspace"
    assert (made.timeout_sec, made.idle_timeout_sec, made.persistent) == (86_400, 1_800, True)
    made.pause()
    again = client.sandboxes.get_or_create("agent", wait_until_ready=True)
    assert (again.id, again.state) == (made.id, "running")


@pytest.mark.asyncio
async def test_a_workspace_is_made_once_and_found_again_async(twin):
    made = await twin.sandboxes.create_agent_workspace("agent", template_id="blank")
    await made.pause()
    again = await twin.sandboxes.get_or_create("agent", wait_until_ready=True)
    assert (again.id, again.state) == (made.id, "running")


def test_a_name_that_is_taken_is_a_conflict_and_the_name_finds_the_winner(client):
    made = client.sandboxes.create(template_id="blank", name="mine")
    with pytest.raises(MiosaError) as refused:
        client.sandboxes.create(template_id="blank", name="mine")
    assert (refused.value.status_code, refused.value.code) == (409, "CONFLICT")
    assert client.sandboxes.get_by_name("mine").id == made.id


def test_a_create_waits_for_its_probe_and_sets_itself_up(client):
    made = client.sandboxes.create(
        entrypoint=SERVE,
        readiness_probe={"type": "http", "port": 8123, "path": "/"},
        setup_file="echo ready > /workspace/setup.txt",
        wait=30,
    )
    assert (made.state, made.ready) == ("running", True)
    assert served(made.expose(8123)) == 200
    assert made.expose_info(8123).url == made.expose(8123)
    assert made.get_host(8123) in made.get_url(8123, "setup.txt")
    assert served(made.get_url(8123, "/setup.txt")) == 200
    assert made.refresh().data["setup_status"] == "done"


@pytest.mark.asyncio
async def test_a_create_waits_for_its_probe_and_sets_itself_up_async(twin):
    made = await twin.sandboxes.create(
        entrypoint=SERVE, readiness_probe={"type": "tcp", "port": 8123}, wait=True)
    assert (made.state, made.ready) == ("running", True)
    url = await made.expose(8123)
    assert (await made.expose_info(8123)).url == url
    assert await made.get_host(8123) in await made.get_url(8123)
    assert served(url) == 200


def test_a_create_that_waits_too_short_says_so_and_the_sandbox_can_be_waited_for(client):
    made = client.sandboxes.create(readiness_probe={"type": "exec", "command": "test -f up"}, wait=2)
    assert (made.state, made.ready) == ("running", False)
    made.run("touch up")
    assert made.wait_until_ready(timeout=20) is True
    assert made.ready is True


START = {"install_command": "echo hi > index.html", "start_command": SERVE, "port": 8123, "workdir": "/workspace"}


def test_a_template_is_started_and_served(client):
    made = client.sandboxes.create()
    started = made.start_template(START)
    assert started.data["status"] == "running", started.data
    assert served(started.preview_url) == 200


@pytest.mark.asyncio
async def test_a_template_is_started_and_served_async(twin):
    made = await twin.sandboxes.create()
    started = await made.start_template(START)
    assert served(started.preview_url) == 200


def resized(before, after):
    assert before["resources"] == {"cpu": 1, "memory_mb": 512, "disk_size_mb": 10_240}
    assert before["capabilities"]["live_memory"] is True, before
    assert (after["applied_live"], after["requires_restart"]) == (True, False)
    assert after["changes"]["memory_mb"] == {"from": 512, "to": 1024, "applied_live": True}
    assert after["enforced"]["memory_mb"] == 1024


def test_resources_change_while_it_runs_and_metrics_are_measured(client):
    made = client.sandboxes.create(cpu_count=1, memory_mb=512, disk_size_mb=10_240)
    resized(made.resources(), made.resize(memory_mb=1024))
    assert client.sandboxes.resources(made.id)["resources"]["memory_mb"] == 1024
    assert client.sandboxes.resize(made.id, memory_mb=512)["resources"]["memory_mb"] == 512
    assert made.refresh().memory_mb == 512
    made.run("sleep 60 > /dev/null 2>&1 &")
    measured = made.metrics(window="15m")
    assert (measured["resource_type"], measured["window"]) == ("sandbox", "15m")
    assert measured["current"]["memory_used_mb"] > 0
    assert len(made.get_metrics()["series"]["memory_mb"]) >= 1
    with pytest.raises(MiosaError) as refused:
        made.resize(cpu_count=1000)
    assert refused.value.status_code == 422


@pytest.mark.asyncio
async def test_resources_change_while_it_runs_and_metrics_are_measured_async(twin):
    made = await twin.sandboxes.create(cpu_count=1, memory_mb=512, disk_size_mb=10_240)
    resized(await made.resources(), await made.resize(memory_mb=1024))
    assert (await twin.sandboxes.resources(made.id))["resources"]["memory_mb"] == 1024
    assert (await twin.sandboxes.resize(made.id, memory_mb=512))["resources"]["memory_mb"] == 512
    await made.run("sleep 60 > /dev/null 2>&1 &")
    assert (await made.metrics())["current"]["memory_used_mb"] > 0
    assert len((await made.get_metrics(window="1h"))["series"]["memory_mb"]) >= 1


def test_a_batch_is_made_followed_and_cancelled(client):
    batches = client.sandbox_batches
    made = batches.create(count=2, concurrency=2, template_id="blank", name_prefix="w", setup_file="true")
    assert (made["status"], made["requested_count"]) == ("pending", 2)
    told = list(batches.events(made["id"]))
    assert (told[-1]["event"], told[-1]["succeeded"]) == ("batch_settled", 2)
    batch = batches.get(made["id"])
    assert (batch["settled?"], batch["live_count"], batch["failed_total"]) == (True, 2, 0)
    items = batches.items(made["id"], limit=10)
    assert [item["name"] for item in items["data"]] == ["w-1", "w-2"]
    more = batches.create(count=50, concurrency=1, template_id="blank")
    cancelled = batches.cancel(more["id"])
    assert (cancelled["status"], cancelled["pending"]) == ("cancelled", 0)
    with pytest.raises(MiosaError) as refused:
        batches.cancel(more["id"])
    assert refused.value.code == "BATCH_ALREADY_TERMINAL"


@pytest.mark.asyncio
async def test_a_batch_is_made_followed_and_cancelled_async(twin):
    batches = twin.sandbox_batches
    made = await batches.create(count=2, concurrency=2, template_id="blank")
    told = [event async for event in batches.events(made["id"])]
    assert told[-1]["event"] == "batch_settled"
    assert (await batches.get(made["id"]))["succeeded"] == 2
    assert len((await batches.items(made["id"]))["data"]) == 2
    more = await batches.create(count=50, concurrency=1, template_id="blank")
    assert (await batches.cancel(more["id"]))["status"] == "cancelled"


def test_a_run_is_a_sandbox_with_its_first_command(client):
    ran = client.sandbox_batches.run(command="echo hello; exit 3", template_id="blank", persistent=False)
    assert (ran["state"], ran["persistent"]) == ("running", False)
    assert (ran["exec"]["stdout"], ran["exec"]["exit_code"]) == ("hello\n", 3)


@pytest.mark.asyncio
async def test_a_run_is_a_sandbox_with_its_first_command_async(twin):
    ran = await twin.sandbox_batches.run(command="echo hello", template_id="blank")
    assert ran["exec"]["stdout"] == "hello\n"


def test_a_bulk_action_reaches_many(client):
    made = [client.sandboxes.create(template_id="blank") for _ in range(2)]
    queued = client.bulk.sandboxes.pause(ids=[sandbox.id for sandbox in made])
    assert queued["queued"] == 2
    for _ in range(600):
        job = client.bulk.jobs.get(queued["job_id"])
        if job["state"] == "completed":
            break
    assert (job["completed"], job["failed"]) == (2, 0)
    assert {sandbox.refresh().state for sandbox in made} == {"paused"}
