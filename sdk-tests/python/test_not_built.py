"""What waits for another chapter is refused as such, by name, before anything is done."""

import inspect

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError

import ledger

# What a user would write; each gets the sandbox and the client.
CALLS = {
    "Sandbox.deploy": lambda sandbox, client: sandbox.deploy(name="site", port=3000),
    "Sandbox.deploy_docker": lambda sandbox, client: sandbox.deploy_docker(name="site"),
    "Sandbox.deploy_snapshot": None,  # forks first: has a test of its own
    "SandboxConnectors.attach": lambda sandbox, client: sandbox.connectors.attach("github", env="GITHUB_TOKEN"),
    "SandboxConnectors.detach": lambda sandbox, client: sandbox.connectors.detach("c1"),
    "SandboxConnectors.list": lambda sandbox, client: sandbox.connectors.list(),
    "SandboxConnectors.preflight": lambda sandbox, client: sandbox.connectors.preflight(connector="github"),
    "SandboxConnectors.sync": lambda sandbox, client: sandbox.connectors.sync(),
    "SandboxSecrets.connect": lambda sandbox, client: sandbox.secrets.connect("github"),
    "SandboxSecrets.delete": lambda sandbox, client: sandbox.secrets.delete("s1"),
    "SandboxSecrets.get": lambda sandbox, client: sandbox.secrets.get("s1"),
    "SandboxSecrets.list": lambda sandbox, client: sandbox.secrets.list(),
    "SandboxSecrets.list_bindings": lambda sandbox, client: sandbox.secrets.list_bindings(),
    "SandboxSecrets.rotate": lambda sandbox, client: sandbox.secrets.rotate("s1", "new"),
    "SandboxSecrets.set": lambda sandbox, client: sandbox.secrets.set(name="TOKEN", value="v"),
    "Sandboxes.browser_cdp_url": lambda sandbox, client: client.sandboxes.browser_cdp_url(sandbox.id, ttl_seconds=60),
    "Sandbox.ssh_certificates": lambda sandbox, client: sandbox.ssh_certificates("ssh-ed25519 AAAA"),
    "Sandbox.ssh_info": lambda sandbox, client: sandbox.ssh_info(),
    "Sandbox.prompt": lambda sandbox, client: sandbox.prompt("hello"),
    "Sandbox.run_agent": lambda sandbox, client: sandbox.run_agent("hello"),
    "Commands.run_computer": lambda sandbox, client: client.commands.run_computer("c1", "true"),
}


def refused(raised):
    assert raised.value.status_code == 501, raised.value
    assert raised.value.code == "not_emulated", raised.value


@pytest.fixture
def sandbox_id(environment, key):
    return Miosa(api_key=key, max_retries=0).sandboxes.create(template_id="blank").id


def test_each_has_a_call():
    assert set(CALLS) == set(ledger.NOT_BUILT)


@pytest.mark.parametrize("method", [method for method, call in CALLS.items() if call])
def test_is_refused(method, sandbox_id, key):
    client = Miosa(api_key=key, max_retries=0)
    with pytest.raises(MiosaError) as raised:
        CALLS[method](client.sandboxes.get(sandbox_id), client)
    refused(raised)


@pytest.mark.asyncio
@pytest.mark.parametrize("method", [method for method, call in CALLS.items() if call])
async def test_is_refused_async(method, sandbox_id, key):
    client = AsyncMiosa(api_key=key, max_retries=0)
    with pytest.raises(MiosaError) as raised:
        answer = CALLS[method](await client.sandboxes.get(sandbox_id), client)
        if inspect.isawaitable(answer):
            await answer
    refused(raised)


def test_input_of_a_background_command_is_refused_by_the_sdk_itself(sandbox_id, key):
    sandbox = Miosa(api_key=key, max_retries=0).sandboxes.get(sandbox_id)
    with pytest.raises(MiosaError, match="no route"):
        sandbox.commands.send_stdin(1, "x")


def test_a_snapshot_cannot_be_deployed_and_leaves_no_fork(sandbox_id, key):
    client = Miosa(api_key=key, max_retries=0)
    sandbox = client.sandboxes.get(sandbox_id)
    snapshot = sandbox.snapshots.create("release")
    with pytest.raises(MiosaError) as raised:
        sandbox.deploy_snapshot(snapshot["id"], name="site")
    refused(raised)
    assert [other.id for other in client.sandboxes.list()] == [sandbox_id]


@pytest.mark.asyncio
async def test_a_snapshot_cannot_be_deployed_async(sandbox_id, key):
    client = AsyncMiosa(api_key=key, max_retries=0)
    sandbox = await client.sandboxes.get(sandbox_id)
    snapshot = await sandbox.snapshots.create("release")
    with pytest.raises(MiosaError) as raised:
        await sandbox.deploy_snapshot(snapshot["id"], name="site")
    refused(raised)
    assert [other.id for other in await client.sandboxes.list()] == [sandbox_id]
