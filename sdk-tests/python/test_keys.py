"""Keys, presets and tokens through the official SDK."""

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError


def test_keys(environment, key):
    client = Miosa(max_retries=0)
    made = client.api_keys.create(name="ci", scopes=["sandboxes:read"], rate_limit_rpm=100)
    assert made["key"].startswith("msk_u_") and made["token"] == made["key"]
    assert [row["id"] for row in client.api_keys.list()] == [made["id"]]
    assert client.api_keys.get(made["id"])["scopes"] == ["sandboxes:read"]
    assert Miosa(api_key=made["key"]).sandboxes.list() == []

    changed = client.api_keys.update(made["id"], name="new", status="inactive")
    assert (changed["name"], changed["status"]) == ("new", "inactive")
    with pytest.raises(MiosaError) as raised:
        Miosa(api_key=made["key"], max_retries=0).sandboxes.list()
    assert (raised.value.status_code, raised.value.code) == (401, "TOKEN_INACTIVE")
    client.api_keys.update(made["id"], status="active")

    rotated = client.api_keys.rotate(made["id"])
    assert rotated["id"] == made["id"] and rotated["key"] != made["key"]
    events = client.api_keys.events(made["id"], limit=10)
    assert {"api_key.create", "api_key.update", "api_key.rotate"} <= {event["type"] for event in events}
    assert [event["type"] for event in client.api_keys.events(made["id"], event_type="api_key.create")] == [
        "api_key.create"]
    client.api_keys.delete(made["id"])
    assert client.api_keys.list() == []


def test_presets_and_delegation(environment, key):
    client = Miosa(max_retries=0)
    saved = client.api_keys.create_preset(name="look", scopes=["sandboxes:read"], description="d")
    assert saved["scopes"] == ["sandboxes:read"]
    assert [preset["name"] for preset in client.api_keys.presets()] == ["read-only", "ci", "agent", "cli", "look"]
    client.api_keys.delete_preset("look")
    assert "look" not in [preset["name"] for preset in client.api_keys.presets()]
    scoped = client.api_keys.create_scoped(
        external_user_id="u1", scopes=["sandboxes:read"], expires_at="2099-01-01T00:00:00Z")
    assert client.api_keys.get(scoped["id"])["end_user"]["external_user_id"] == "u1"
    assert Miosa(api_key=scoped["token"]).sandboxes.list() == []


def test_tokens(environment, key):
    client = Miosa(max_retries=0)
    workspace = client.workspaces.list()[0]["id"]
    made = client.tokens.create_scoped(
        user_id="u1", workspace_id=workspace, scopes=["sandboxes:read"], expires_in_seconds=60)
    assert made["token"].startswith("eyJ") and made["scopes"] == ["sandboxes:read"]
    assert Miosa(api_key=made["token"]).sandboxes.list() == []
    assert [row["id"] for row in client.tokens.list_scoped()] == [made["id"]]
    client.tokens.delete_scoped(made["id"])
    assert client.tokens.list_scoped() == []


@pytest.mark.asyncio
async def test_keys_async(environment, key):
    client = AsyncMiosa(max_retries=0)
    made = await client.api_keys.create(name="ci", preset="ci")
    assert "sandboxes:exec" in made["scopes"]
    assert [row["id"] for row in await client.api_keys.list()] == [made["id"]]
    assert (await client.api_keys.update(made["id"], name="new"))["name"] == "new"
    assert (await client.api_keys.get(made["id"]))["name"] == "new"
    rotated = await client.api_keys.rotate(made["id"])
    assert rotated["key"] != made["key"]
    events = await client.api_keys.events(made["id"])
    assert events[0]["type"] == "api_key.rotate"
    await client.api_keys.delete(made["id"])
    assert await client.api_keys.list() == []

    saved = await client.api_keys.create_preset(name="look", scopes=["sandboxes:read"])
    assert saved["name"] == "look"
    assert (await client.api_keys.presets())[-1]["name"] == "look"
    await client.api_keys.delete_preset("look")
    scoped = await client.api_keys.create_scoped(external_user_id="u1", scopes=["sandboxes:read"])
    assert scoped["external_user_id"] == "u1"


@pytest.mark.asyncio
async def test_tokens_async(environment, key):
    client = AsyncMiosa(max_retries=0)
    workspace = (await client.workspaces.list())[0]["id"]
    made = await client.tokens.create_scoped(user_id="u1", workspace_id=workspace, scopes=["sandboxes:read"])
    assert made["token"].startswith("eyJ")
    assert [row["id"] for row in await client.tokens.list_scoped()] == [made["id"]]
    await client.tokens.delete_scoped(made["id"])
    assert await client.tokens.list_scoped() == []
