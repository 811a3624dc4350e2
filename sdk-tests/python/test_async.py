"""The async twin of the quickstart."""

import pytest
from miosa import AsyncMiosa

pytestmark = pytest.mark.asyncio


async def test_quickstart_async(environment, key):
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.create_agent_workspace("my-build", external_workspace_id="customer-workspace-123")
    result = await sandbox.exec.run("python --version")
    assert result.stdout.startswith("Python 3.")
    await sandbox.files.write("/workspace/hello.py", "print('hello from miosa')")
    assert (await sandbox.exec.run("python /workspace/hello.py")).stdout == "hello from miosa\n"
    assert (await sandbox.preview.create(port=8000))["url"].startswith("http://")
    await sandbox.snapshots.create("after-hello-world")
    await sandbox.pause()
    assert (await client.sandboxes.get(sandbox.id)).state == "paused"


async def test_agent_workspace_async(environment, key):
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.get_or_create(
        "acme-marketing-page", template_id="miosa-sandbox", persistent=True, external_workspace_id="acme",
        external_user_id="jane", wait_until_ready=True)
    await sandbox.files.write_files([{"path": "/workspace/index.html", "data": "<main></main>"}])
    events = [event async for event in sandbox.exec_stream("cat /workspace/index.html; echo; exit 4")]
    assert events[0].data["line"] == "<main></main>"
    assert events[-1].data["exit_code"] == 4
