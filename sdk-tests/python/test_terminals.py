"""Terminals, tunnels, tickets and talking with commands, through the SDK's own functions."""

import asyncio
import json
import urllib.request
from urllib.parse import urlencode

import pytest
import websockets
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError
from miosa.resources.exec import ExecProcess

BOUND = 60


async def until(connection, wanted):
    shown = b""
    while wanted not in shown:
        piece = await asyncio.wait_for(connection.recv(), BOUND)
        shown += piece if isinstance(piece, bytes) else piece.encode()
    return shown


def test_terminal(environment, key):
    client = Miosa(api_key=key)
    sandbox = client.sandboxes.create()
    session = sandbox.terminal.create(cols=100, rows=40, shell="sh", cwd="/tmp", env={"PS1": "", "WHO": "wörld"})
    assert (session["cols"], session["rows"]) == (100, 40)

    async def type_and_look():
        async with await client.ws.connect_terminal(sandbox.id) as terminal:
            await terminal.send("pwd; stty size; echo hello-$WHO\n")
            shown = await until(terminal, "hello-wörld".encode())
            assert b"/tmp" in shown and b"40 100" in shown
        # It outlives its socket.
        async with await client.ws.connect_terminal(sandbox.id) as terminal:
            assert b"40 100" in await until(terminal, "hello-wörld".encode())
            await terminal.send(b"exit\n")
            with pytest.raises(websockets.ConnectionClosedOK):
                while True:
                    await asyncio.wait_for(terminal.recv(), BOUND)

    asyncio.run(type_and_look())
    other = sandbox.terminal.create()
    sandbox.terminal.delete(other["session_id"])
    with pytest.raises(MiosaError) as raised:
        sandbox.terminal.delete(other["session_id"])
    assert raised.value.status_code == 404


@pytest.mark.asyncio
async def test_terminal_async(environment, key):
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.create()
    session = await sandbox.terminal.create(cols=90, rows=20, shell="sh", env={"PS1": ""})
    assert (session["cols"], session["rows"]) == (90, 20)
    async with await client.ws.connect_terminal(sandbox.id) as terminal:
        await terminal.send(json.dumps({"type": "resize", "rows": 21, "cols": 91}))
        await terminal.send("stty size\n")
        await until(terminal, b"21 91")
    await sandbox.terminal.delete(session["session_id"])


SERVER = (
    "import socket; s = socket.create_server(('127.0.0.1', 8123)); open('/tmp/listens', 'w').close()\n"
    "while True:\n c, _ = s.accept()\n c.sendall(b'hi ' + c.recv(100)); c.close()\n"
)


@pytest.mark.asyncio
async def test_tunnel(environment, key):
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.create()
    await sandbox.files.write("/workspace/server.py", SERVER)
    await sandbox.exec.run("nohup python3 server.py > /dev/null 2>&1 & while [ ! -e /tmp/listens ]; do sleep 0.05; done")
    async with await client.ws.connect_tunnel("sandbox", sandbox.id, 8123) as tunnel:
        await tunnel.send(b"th\xffere")
        assert await until(tunnel, b"ere") == b"hi th\xffere"
        with pytest.raises(websockets.ConnectionClosedOK):
            await asyncio.wait_for(tunnel.recv(), BOUND)
    with pytest.raises(websockets.InvalidStatus) as raised:
        await client.ws.connect_tunnel("sandbox", sandbox.id, 8124)
    assert raised.value.response.status_code == 503


@pytest.mark.asyncio
async def test_talk_with_a_command(environment, key):
    """The framing of the asynchronous client, which opens it on computers only, on a sandbox."""
    client = AsyncMiosa(api_key=key)
    sandbox = await client.sandboxes.create()
    asked = {"command": "sh", "args": "-c,cat; echo $WHO >&2; exit 5", "env": json.dumps({"WHO": "wörld"})}
    url = client.ws.terminal_url(sandbox.id).replace("/terminal/stream", f"/exec/stream?{urlencode(asked)}")
    process = ExecProcess(await websockets.connect(url, additional_headers={"Authorization": f"Bearer {key}"}))
    await process.write("héllo\n")
    await process.close_stdin()
    assert "".join([piece async for piece in process.stdout()]) == "héllo\n"
    assert await process.wait() == 5
    assert "".join([piece async for piece in process.stderr()]) == "wörld\n"
    await process.close()


def test_ticket(environment, key):
    client = Miosa(api_key=key)
    sandbox = client.sandboxes.create()
    ticket = client.sse_ticket.create()
    assert ticket["ticket"].startswith("sset_") and ticket["expires_in"] == 3600
    # As a browser opens it: no header.
    url = f"{environment.url}/sandboxes/{sandbox.id}/readiness/stream?ticket={ticket['ticket']}"
    assert b"event: ready" in urllib.request.urlopen(url, timeout=BOUND).read()


@pytest.mark.asyncio
async def test_ticket_async(environment, key):
    client = AsyncMiosa(api_key=key)
    ticket = await client.sse_ticket.create(resource_type="sandbox", resource_id="any")
    assert ticket["ticket"].startswith("sset_")
