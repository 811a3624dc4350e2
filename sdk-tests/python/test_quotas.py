"""Quotas of an end user with the official SDK: set, held to, taken away."""

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError


def test_a_quota_is_held(environment, key):
    client = Miosa(api_key=key, max_retries=0)
    quota = client.quotas.set("usr_123", max_sandboxes=2, max_concurrent=1, max_storage_gb=10, max_credit_cents=5000)
    assert (quota["max_sandboxes"], quota["limits"]["max_storage_gb"]) == (2, 10)
    assert quota["enforcement"]["max_credit_cents"] == "not_metered"
    sandbox = client.sandboxes.create(template_id="blank", external_user_id="usr_123")
    with pytest.raises(MiosaError) as running:
        client.sandboxes.create(template_id="blank", external_user_id="usr_123")
    assert (running.value.status_code, running.value.code) == (429, "MEMBER_LIMIT_REACHED")
    sandbox.pause()
    client.sandboxes.create(template_id="blank", external_user_id="usr_123").pause()
    with pytest.raises(MiosaError) as full:
        client.sandboxes.create(template_id="blank", external_user_id="usr_123")
    assert (full.value.status_code, full.value.code) == (422, "PLAN_CAP_EXCEEDED")
    usage = client.quotas.get("usr_123")["usage"]
    assert (usage["sandboxes"], usage["concurrent"]) == (2, 0)
    assert client.bill_to.limits()["can_start"] is True
    client.quotas.delete("usr_123")
    assert client.quotas.get("usr_123")["limits"]["max_sandboxes"] is None
    client.sandboxes.create(template_id="blank", external_user_id="usr_123")


@pytest.mark.asyncio
async def test_a_quota_is_held_async(environment, key):
    client = AsyncMiosa(api_key=key, max_retries=0)
    assert (await client.quotas.set("usr_123", max_sandboxes=0))["max_sandboxes"] == 0
    with pytest.raises(MiosaError) as full:
        await client.sandboxes.create(template_id="blank", external_user_id="usr_123")
    assert full.value.code == "PLAN_CAP_EXCEEDED"
    assert (await client.quotas.get("usr_123"))["usage"]["total_sandboxes"] == 0
    await client.quotas.delete("usr_123")
    await client.sandboxes.create(template_id="blank", external_user_id="usr_123")
