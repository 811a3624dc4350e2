"""Workspaces with the official SDK: their life, their policy, their members, and what moves between them."""

import uuid

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError


def test_a_workspace_lives_from_create_to_delete(environment, key):
    client = Miosa(api_key=key)
    made = client.workspaces.create(
        "Clinic", description="d", metadata={"plan": "pro"}, external_workspace_id="c1", external_user_id="dr-smith")
    assert (made.name, made.slug, made.metadata) == ("Clinic", "clinic", {"plan": "pro"})
    assert client.workspaces.create("Clinic", external_workspace_id="c1").reused is True
    twin = client.workspaces.create("Clinic", allow_duplicate_name=True)
    assert twin.id != made.id
    assert client.workspaces.get(made.id).name == "Clinic"
    assert client.workspaces.update(made.id, name="Practice").name == "Practice"
    assert {workspace.id for workspace in client.workspaces.list()} >= {made.id, twin.id}
    assert client.workspaces.list_computers(made.id) == []
    client.workspaces.delete(twin.id)
    assert twin.id not in {workspace.id for workspace in client.workspaces.list()}


@pytest.mark.asyncio
async def test_a_workspace_lives_from_create_to_delete_async(environment, key):
    client = AsyncMiosa(api_key=key)
    made = await client.workspaces.create("Clinic", description="d")
    assert (await client.workspaces.get(made.id)).description == "d"
    assert (await client.workspaces.update(made.id, name="Practice")).name == "Practice"
    assert made.id in {workspace.id for workspace in await client.workspaces.list()}
    await client.workspaces.delete(made.id)
    assert made.id not in {workspace.id for workspace in await client.workspaces.list()}


def test_a_policy_holds_where_it_is_nearest(environment, key):
    client = Miosa(api_key=key, max_retries=0)
    workspace = client.workspaces.create("Bounded")
    policy = client.workspaces(workspace.id).policy
    assert policy.set({"quotas": {"max_sandboxes": 1}})["quotas"] == {"max_sandboxes": 1}
    assert client.tenant.policy.set({"features": {"snapshot_enabled": False}})["features"] == {"snapshot_enabled": False}
    assert client.tenant.policy.get()["features"] == {"snapshot_enabled": False}
    user = client.external_users("alice").policy
    user.set({"permissions": {"can_create_sandbox": False}})
    effective = user.effective()
    assert effective.permissions.can_create_sandbox.value is False
    assert effective.permissions.can_create_sandbox.source == "user"
    assert effective.features.snapshot_enabled.source == "tenant"
    assert effective.quotas.max_concurrent.source == "platform"
    sandbox = client.sandboxes.create(template_id="blank", workspace_id=workspace.id)
    with pytest.raises(MiosaError) as full:
        client.sandboxes.create(template_id="blank", workspace_id=workspace.id)
    assert (full.value.status_code, full.value.code) == (422, "PLAN_CAP_EXCEEDED")
    assert full.value.details["whose"] == {"type": "workspace", "id": workspace.id}
    with pytest.raises(MiosaError) as forbidden:
        client.sandboxes.create(template_id="blank", external_user_id="alice")
    assert forbidden.value.status_code == 403
    with pytest.raises(MiosaError) as off:
        sandbox.snapshots.create("no")
    assert off.value.status_code == 403
    policy.delete()
    client.tenant.policy.delete()
    user.delete()
    assert policy.get()["quotas"] == {} and user.get()["permissions"] == {}
    client.sandboxes.create(template_id="blank", workspace_id=workspace.id, external_user_id="alice")


def test_members_come_by_invite(environment, key):
    client = Miosa(api_key=key)
    workspace = client.workspaces.create("Team")
    members = client.workspaces(workspace.id).members
    assert [member["role"] for member in members.list()] == ["owner"]
    invited = client.workspace_invites.create(workspace.id, email="jane@example.com", role="viewer")
    assert invited["type"] == "invited"
    preview = client.workspace_invites.preview(invited["data"]["token"])
    assert (preview["workspace_name"], preview["expired"]) == ("Team", False)
    assert client.workspace_invites.accept(invited["data"]["token"])["accepted"] is True
    jane = next(member for member in members.list() if member["email"] == "jane@example.com")
    assert client.workspace_members.update_role(workspace.id, jane["user_id"], role="admin")["role"] == "admin"
    members.remove(jane["id"])
    assert members.invite("jane@example.com", "member")["user_id"] == jane["user_id"]
    pending = client.workspace_invites.create(workspace.id, email="joe@example.com")
    assert [invite["email"] for invite in client.workspace_invites.list(workspace.id)] == ["joe@example.com"]
    assert client.workspace_invites.revoke(workspace.id, pending["data"]["id"])["revoked"] is True
    with pytest.raises(MiosaError) as stranger:
        client.workspace_members.add(workspace.id, user_id=str(uuid.uuid4()))
    assert stranger.value.code == "NOT_TENANT_MEMBER"
    owner = next(member for member in members.list() if member["role"] == "owner")
    with pytest.raises(MiosaError) as last:
        client.workspace_members.remove(workspace.id, owner["user_id"])
    assert last.value.code == "LAST_OWNER"


def test_a_transfer_moves_a_sandbox_that_goes_on(environment, key):
    client = Miosa(api_key=key)
    one, two = client.workspaces.create("One"), client.workspaces.create("Two")
    sandbox = client.sandboxes.create(template_id="blank", workspace_id=one.id)
    assert client.workspaces(one.id).transfer([sandbox.id], two.id)["transferred"] == 1
    moved = client.sandboxes.get(sandbox.id)
    assert moved.workspace_id == two.id
    assert moved.exec.run("echo here").stdout == "here\n"
