"""Create, exec, file, destroy: what every version of the SDK can do. Run on 1.4.0, 2.10.0 and the newest."""

from miosa import Miosa
import pytest


@pytest.fixture
def client(environment, key):
    return Miosa(api_key=key, base_url=environment.url)


def test_create_exec_file_destroy(client):
    sandbox = client.sandboxes.create(name="basics")
    assert sandbox.state == "running"
    result = sandbox.exec("echo to-stdout; echo to-stderr >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("to-stdout\n", "to-stderr\n", 3)
    content = bytes(range(256)) * 10
    sandbox.upload("/workspace/deep/er/data.bin", content)
    assert sandbox.download("/workspace/deep/er/data.bin") == content
    assert sandbox.exec("wc -c < deep/er/data.bin").stdout.strip() == "2560"
    assert sandbox.stat_file("/workspace/deep/er/data.bin")["size"] == 2560
    assert "deep" in [entry["name"] for entry in sandbox.list_files("/workspace")["entries"]]
    sandbox.write_file("/workspace/text.json", '{"a": 1}')
    assert sandbox.read_file("/workspace/text.json") == '{"a": 1}'
    sandbox.destroy()
    with pytest.raises(Exception) as refused:
        client.sandboxes.get(sandbox.id)
    assert refused.value.status_code == 404


def test_a_sandbox_is_destroyed_at_the_end_of_its_block(client):
    with client.sandboxes.create() as sandbox:
        assert sandbox.exec("python3 -c 'print(6 * 7)'").stdout == "42\n"
    assert sandbox.id not in [listed.id for listed in client.sandboxes.list()]


def test_a_stream_brings_lines_and_the_exit_code(client):
    with client.sandboxes.create() as sandbox:
        events = list(sandbox.exec_stream("echo one; echo two >&2; exit 5"))
        lines = [(event.type, event.data.get("line")) for event in events if event.type != "exit"]
        assert ("stdout", "one") in lines and ("stderr", "two") in lines
        assert events[-1].type == "exit"
        assert events[-1].data["exit_code"] == 5
