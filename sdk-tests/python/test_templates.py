"""Templates through the official SDK: every public method of `templates`, `sandbox_templates` and the template methods of
`sandboxes`, and their async twins. Builds really run; sandboxes really start from them."""

import asyncio
import time

import pytest
from miosa import AsyncMiosa, Miosa

ENDED = ("ready", "failed", "cancelled")


def spec(*steps):
    return {"from": "blank", "steps": [{"run": step} for step in steps]}


def ended(client, build):
    """The build when it has ended, within a bound."""
    deadline = time.monotonic() + 120
    while True:
        found = client.sandboxes.get_template_build(build["id"])["data"]
        if found["state"] in ENDED:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


async def async_ended(client, build):
    deadline = time.monotonic() + 120
    while True:
        found = (await client.sandboxes.get_template_build(build["id"]))["data"]
        if found["state"] in ENDED:
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


def test_the_catalogue_tells_what_can_be_started(environment):
    with Miosa() as client:
        catalogue = client.templates.catalog()
        assert catalogue["readiness_states"] == ["fast_ready", "cold_boot_only", "missing"]
        listed = client.templates.list(product="sandbox")
        assert "miosa-sandbox" in [template["id"] for template in listed]
        assert client.templates.get("miosa-sandbox")["default_size"] == "small"
        sizes = client.templates.readiness("blank")
        assert [size["size"] for size in sizes] == ["xs", "small", "medium", "large", "xl"]
        assert {size["state"] for size in sizes} == {"fast_ready"}
        with pytest.raises(KeyError):
            client.templates.get("nope")


def test_a_template_is_built_and_started_from(environment):
    with Miosa() as client:
        assert client.sandbox_templates.build_spec_schema()["version"] == "2026-05-13"
        assert client.sandbox_templates.validate(spec("true"))["valid"] is True
        made = client.sandbox_templates.create(name="scanner", build_spec=spec("echo $TOOL > tool"), description="d")
        assert made["status"] == "draft"
        assert client.sandbox_templates.get(made["id"])["slug"] == "scanner"
        assert made["id"] in [template["id"] for template in client.sandbox_templates.list()]
        with_aliases = client.sandbox_templates.list(include_aliases=True)
        assert "python-3.12" in [template["id"] for template in with_aliases]
        build = client.sandbox_templates.create_build(
            made["id"], build_spec={**spec("echo $TOOL > tool"), "env": {"TOOL": "pnpm"}}, metadata={"by": "ci"})
        assert build["state"] == "queued" and build["metadata"]["by"] == "ci"
        done = ended(client, build)
        assert done["state"] == "ready", done
        assert [b["id"] for b in client.sandbox_templates.list_builds(made["id"])] == [build["id"]]
        assert client.templates.get(made["id"])["readiness"] == "fast_ready"
        sandbox = client.sandboxes.create(template_id="scanner", timeout_sec=600)
        assert sandbox.exec("cat tool; echo $TOOL").stdout == "pnpm\npnpm\n"
        sandbox.destroy()


def test_the_older_names_do_the_same(environment):
    with Miosa() as client:
        assert "steps" in client.templates.build_spec_schema()["fields"]
        wrong = client.templates.validate({"previewPort": 0})
        assert [error["code"] for error in wrong["errors"]] == ["REQUIRED", "INVALID_PORT"]
        made = client.templates.create(name="older", build_spec=spec("exit 3"))
        build = client.templates.create_build(made["id"])
        failed = ended(client, build)
        assert (failed["state"], failed["error_code"]) == ("failed", "BUILD_STEP_FAILED")
        assert failed["error_message"] == "step 1 `exit 3` exited 3"
        assert client.templates.list_builds(made["id"])[0]["state"] == "failed"


def test_sandboxes_have_the_template_methods_too(environment):
    with Miosa() as client:
        assert client.sandboxes.get_build_spec_schema()["data"]["version"] == "2026-05-13"
        assert client.sandboxes.validate_build_spec(spec())["valid"] is True
        made = client.sandboxes.create_template(
            name="mine", build_spec=spec("touch made"), slug="my-own", description="d", metadata={"a": 1})["data"]
        assert (made["slug"], made["metadata"]) == ("my-own", {"a": 1})
        listed = client.sandboxes.list_templates(include_aliases=True)["data"]
        assert made["id"] in [template["id"] for template in listed]
        assert client.sandboxes.get_template("my-own")["data"]["id"] == made["id"]
        build = client.sandboxes.create_template_build(made["id"], build_spec=spec("touch other"), metadata={"n": 1})
        assert ended(client, build["data"])["state"] == "ready"
        builds = client.sandboxes.list_template_builds(made["id"])["data"]
        assert [b["state"] for b in builds] == ["ready"]


def test_the_async_catalogue(environment):
    async def main():
        async with AsyncMiosa() as client:
            assert (await client.templates.catalog())["shape_contracts"]["sandbox"]
            assert "blank" in [template["id"] for template in await client.templates.list(product="sandbox")]
            assert (await client.templates.get("blank"))["product"] == "sandbox"
            assert len(await client.templates.readiness("blank")) == 5

    asyncio.run(main())


def test_the_async_templates(environment):
    async def main():
        async with AsyncMiosa() as client:
            own = client.sandbox_templates
            assert (await own.build_spec_schema())["version"] == "2026-05-13"
            assert (await own.validate(spec()))["errors"] == []
            made = await own.create(name="scanner", build_spec=spec("echo built > f"))
            assert (await own.get("scanner"))["id"] == made["id"]
            assert made["id"] in [template["id"] for template in await own.list(include_aliases=True)]
            build = await own.create_build(made["id"])
            assert (await async_ended(client, build))["state"] == "ready"
            assert (await own.list_builds(made["id"]))[0]["id"] == build["id"]
            sandbox = await client.sandboxes.create(template_id=made["id"])
            assert (await sandbox.exec("cat f")).stdout == "built\n"
            await sandbox.destroy()

    asyncio.run(main())


def test_the_async_older_names(environment):
    async def main():
        async with AsyncMiosa() as client:
            assert (await client.templates.build_spec_schema())["fields"]["from"]["required"] is True
            assert (await client.templates.validate({}))["valid"] is False
            made = await client.templates.create(name="older", build_spec=spec("false"))
            build = await client.templates.create_build(made["id"])
            assert (await async_ended(client, build))["state"] == "failed"
            assert len(await client.templates.list_builds(made["id"])) == 1

    asyncio.run(main())


def test_the_async_template_methods_of_sandboxes(environment):
    async def main():
        async with AsyncMiosa() as client:
            sandboxes = client.sandboxes
            assert (await sandboxes.get_build_spec_schema())["data"]["version"] == "2026-05-13"
            assert (await sandboxes.validate_build_spec(spec()))["valid"] is True
            made = (await sandboxes.create_template(name="mine", build_spec=spec("true"), slug="m"))["data"]
            assert made["id"] in [t["id"] for t in (await sandboxes.list_templates())["data"]]
            assert (await sandboxes.get_template("m"))["data"]["id"] == made["id"]
            build = (await sandboxes.create_template_build(made["id"]))["data"]
            assert (await async_ended(client, build))["state"] == "ready"
            assert (await sandboxes.list_template_builds(made["id"]))["data"][0]["id"] == build["id"]

    asyncio.run(main())
