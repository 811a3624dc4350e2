"""Projects with the official SDK: environments, shared variables, templates, and moving."""

import pytest
from miosa import AsyncMiosa, Miosa
from miosa.errors import MiosaError


def by_name(rows):
    return {row["name"]: row for row in rows}


def test_a_project_lives_from_create_to_delete(environment, key):
    client = Miosa(api_key=key)
    workspace = client.workspaces.create("Clinic")
    other = client.workspaces.create("Other")
    project = client.projects.create("Site", workspace_id=workspace.id, description="d", slug="site", metadata={"a": 1})
    assert (project["slug"], project["metadata"]) == ("site", {"a": 1})
    assert client.projects.get(project["id"]) == project
    assert [row["id"] for row in client.projects.list(workspace_id=workspace.id)] == [project["id"]]
    assert client.projects.update(project["id"], name="Page", metadata={})["name"] == "Page"
    assert client.projects.move(project["id"], other.id)["workspace_id"] == other.id
    assert client.projects.list(workspace_id=workspace.id) == []
    summary = client.projects.summary(project["id"])
    assert summary["project"]["id"] == project["id"] and summary["sandboxes"]["total"] == 0
    client.projects.delete(project["id"])
    with pytest.raises(MiosaError) as gone:
        client.projects.get(project["id"])
    assert gone.value.status_code == 404


def test_environments_have_variables_of_their_own(environment, key):
    client = Miosa(api_key=key)
    projects = client.projects
    project = projects.create("Site", workspace_slug="default")["id"]
    (production,) = projects.environments(project)
    assert (production["slug"], production["is_default"]) == ("production", True)
    staging = projects.create_environment(project, "Staging", slug="staging", kind="staging")
    assert projects.update_environment(project, staging["id"], name="Test")["name"] == "Test"
    rows = projects.set_shared_variables(project, {"API_BASE": "https://api.acme.dev", "TOKEN": "supersecretsecret"})
    assert by_name(rows)["TOKEN"]["preview"] == "sup...ret"
    assert projects.shared_variables(project, environment="staging") == []
    projects.set_shared_variables(project, [{"name": "DEBUG", "value": "1"}], environment="staging")
    look = projects.sync_environment(project, staging["id"], production["id"])
    assert (look["added"], look["only_here"], look["applied"]) == (["API_BASE", "TOKEN"], ["DEBUG"], False)
    assert projects.sync_environment(project, staging["id"], production["id"], apply=True)["applied"] is True
    assert set(by_name(projects.shared_variables(project, environment="staging"))) == {"API_BASE", "DEBUG", "TOKEN"}
    projects.delete_shared_variable(project, "DEBUG", environment="staging")
    copy = projects.duplicate_environment(project, staging["id"], "Copy")
    assert set(by_name(projects.shared_variables(project, environment=copy["id"]))) == {"API_BASE", "TOKEN"}
    projects.delete_environment(project, staging["id"])
    assert {row["slug"] for row in projects.environments(project)} == {"production", "copy"}


def test_templates_are_applied_or_refused_whole(environment, key):
    client = Miosa(api_key=key, max_retries=0)
    projects = client.projects
    project = projects.create("Site", workspace_slug="default")["id"]
    assert projects.capabilities()["template_apply"] is True
    available = [row["slug"] for row in projects.templates() if row["available"]]
    assert projects.template(available[0])["slug"] == available[0]
    applied = projects.apply_template(project, available[0], environment="production", deploy=False)
    assert applied["applied"] is True and applied["added"]
    assert set(by_name(projects.shared_variables(project))) == set(applied["added"])
    with pytest.raises(MiosaError) as refused:
        projects.apply_template(project, "nextjs-postgres")
    assert refused.value.code == "not_emulated"


@pytest.mark.asyncio
async def test_the_same_async(environment, key):
    client = AsyncMiosa(api_key=key)
    projects = client.projects
    workspace = await client.workspaces.create("Clinic")
    made = await projects.create("Site", workspace_id=workspace.id)
    project = made["id"]
    assert await projects.get(project) == made
    assert [row["id"] for row in await projects.list(workspace_id=workspace.id)] == [project]
    assert (await projects.update(project, description="d"))["description"] == "d"
    (production,) = await projects.environments(project)
    staging = await projects.create_environment(project, "Staging")
    assert (await projects.update_environment(project, staging["id"], slug="test"))["slug"] == "test"
    await projects.set_shared_variables(project, {"A": "1"})
    assert (await projects.sync_environment(project, staging["id"], production["id"], apply=True))["added"] == ["A"]
    assert set(by_name(await projects.shared_variables(project, environment="test"))) == {"A"}
    copy = await projects.duplicate_environment(project, staging["id"], "Copy")
    assert copy["variable_count"] == 1
    await projects.delete_shared_variable(project, "A", environment="test")
    await projects.delete_environment(project, staging["id"])
    assert (await projects.capabilities())["services_api"] is False
    slug = next(row["slug"] for row in await projects.templates() if row["available"])
    assert (await projects.template(slug))["slug"] == slug
    assert (await projects.apply_template(project, slug))["applied"] is True
    assert (await projects.summary(project))["shared_variables"] > 1
    other = await client.workspaces.create("Other")
    assert (await projects.move(project, other.id))["workspace_id"] == other.id
    await projects.delete(project)
    assert await projects.list(workspace_id=other.id) == []
