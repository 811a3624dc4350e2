"""Events, logs, the audit log and egress, as the SDK calls them."""

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError


def take(events, until):
    """The events up to the one that `until` accepts."""
    taken = []
    for event in events:
        taken.append(event)
        if until(event):
            return taken
    raise AssertionError(f"it never came: {taken}")


async def atake(events, until):
    taken = []
    async for event in events:
        taken.append(event)
        if until(event):
            return taken
    raise AssertionError(f"it never came: {taken}")


def test_events_and_logs(environment, key):
    client = Miosa(api_key=key)
    sandbox = client.sandboxes.create(name="events")
    sandbox.exec.run("echo hello")
    events = take(sandbox.events.stream(), lambda event: event["type"] == "sandbox.exec.completed")
    assert [event["type"] for event in events][:2] == ["sandbox.created", "sandbox.started"]
    assert all(len(event["id"]) == 26 for event in events)
    for logs in (sandbox.logs.get(lines=50), sandbox.get_logs(50)):
        assert "hello" in logs["lines"]
    assert len(sandbox.get_logs(1)["lines"]) == 1
    for stream in (sandbox.logs.stream(), sandbox.stream_logs()):
        assert take(stream, lambda event: event.data["line"] == "hello")
    # The feed of a machine's audit is that of its events.
    assert next(iter(sandbox.audit.tail()))["type"] == "sandbox.created"
    assert client.audit_log.list(resource_id=sandbox.id, type="sandbox.create")[0]["resource"]["id"] == sandbox.id
    assert client.audit_log.list(actor_id="nobody") == []


def test_egress(environment, key):
    client = Miosa(api_key=key)
    sandbox = client.sandboxes.create(name="egress")
    network = sandbox.network
    [policy] = network.policies()
    assert policy["mode"] == "audit_only" and policy["resource_id"] == sandbox.id
    allowed = network.allow("*.example.com", note="docs", methods=["GET"])
    denied = network.deny("bad.invalid")
    assert (allowed["effect"], denied["effect"]) == ("allow", "deny")
    assert {rule["host"] for rule in network.rules()} == {"*.example.com", "bad.invalid"}
    network.remove_rule(allowed["id"])
    assert [rule["id"] for rule in network.rules()] == [denied["id"]]
    locked = network.lockdown(policy_id=policy["id"])
    assert locked["mode"] == "enforce"
    # Where nothing holds a machine to it, the record says so.
    assert locked["enforced"] == (environment.kind == "namespace")
    if environment.kind == "namespace":
        said = sandbox.exec.run("curl -sS -o /dev/null http://no-such-name.invalid/ -w '%{http_code}'")
        assert said.stdout == "403"
        [event] = sandbox.audit.list(action="denied")
        assert event["host"] == "no-such-name.invalid" and sandbox.audit.get(event["id"])["id"] == event["id"]
        assert network.suggestions()[0]["host"] == "no-such-name.invalid"
        assert client.audit.list(host="no-such-name.invalid") == [event]
    else:
        assert sandbox.audit.list() == [] and network.suggestions() == []
        with pytest.raises(MiosaError) as raised:
            sandbox.audit.get("0c0f4c5b-2c7e-4a0d-9a50-6f6f1d6b0f7e")
        assert raised.value.status_code == 404
    assert network.observe(policy_id=policy["id"])["mode"] == "audit_only"


@pytest.mark.asyncio
async def test_events_and_logs_async(environment, key):
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.create(name="events")
    await sandbox.exec.run("echo hello")
    events = await atake(sandbox.events.stream(), lambda event: event["type"] == "sandbox.exec.completed")
    assert events[0]["type"] == "sandbox.created"
    for logs in (await sandbox.logs.get(lines=50), await sandbox.get_logs(50)):
        assert "hello" in logs["lines"]
    for stream in (sandbox.logs.stream(), sandbox.stream_logs()):
        assert await atake(stream, lambda event: event.data["line"] == "hello")
    assert await atake(sandbox.audit.tail(), lambda event: event["type"] == "sandbox.created")
    assert (await client.audit_log.list(resource_id=sandbox.id))[-1]["type"] == "sandbox.create"


@pytest.mark.asyncio
async def test_egress_async(environment, key):
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.create(name="egress")
    network = sandbox.network
    [policy] = await network.policies()
    allowed = await network.allow("example.com")
    denied = await network.deny("bad.invalid")
    assert {rule["id"] for rule in await network.rules()} == {allowed["id"], denied["id"]}
    await network.remove_rule(allowed["id"])
    assert (await network.lockdown(policy_id=policy["id"]))["mode"] == "enforce"
    if environment.kind == "namespace":
        await sandbox.exec.run("curl -sS http://no-such-name.invalid/")
        [event] = await sandbox.audit.list()
        assert (await sandbox.audit.get(event["id"]))["id"] == event["id"]
        assert (await network.suggestions())[0]["denied_count"] == 1
    else:
        assert await sandbox.audit.list() == [] and await network.suggestions() == []
    assert (await network.observe(policy_id=policy["id"]))["mode"] == "audit_only"
