"""Starts a real emulator for the official SDK, once per kind of machine.

The SDK is driven as its README says: two environment variables, nothing patched. `MIOSA_EMULATOR` names the
binary; `MIOSA_TEST_MACHINES` the kinds (comma list, `namespace,docker` by default).
"""

import json
import os
import signal
import subprocess
import urllib.request
import uuid
from pathlib import Path

import pytest

import ledger

ledger.watch()

KINDS = os.environ.get("MIOSA_TEST_MACHINES", "namespace,docker").split(",")


class Emulator:
    def __init__(self, kind, tmp_path):
        self.kind = kind
        self.log = open(tmp_path / f"{kind}.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [os.environ["MIOSA_EMULATOR"], "serve", "--listen", "127.0.0.1:0", "--ephemeral", "--machines", kind,
             "--rate-limit", "off", "--log", "debug"],
            stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        line = self.process.stdout.readline()
        assert line, f"the emulator did not start: {self.read_log()}"
        self.ready = json.loads(line)
        self.url = self.ready["url"]
        self.origin = self.url.removesuffix("/api/v1")

    def read_log(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        log = self.read_log()
        self.log.close()
        assert code == 0, log
        assert "panic" not in log, log


@pytest.fixture(scope="session", params=KINDS)
def emulator(request, tmp_path_factory):
    running = Emulator(request.param, tmp_path_factory.mktemp("emulator"))
    yield running
    running.stop()


@pytest.fixture
def key():
    """An organization of its own, so that tests never meet."""
    return f"msk_test_{uuid.uuid4().hex}"


@pytest.fixture
def environment(emulator, key, monkeypatch):
    """What a user exports; the SDK reads nothing else."""
    ledger.on(emulator.kind)
    monkeypatch.setenv("MIOSA_BASE_URL", emulator.url)
    monkeypatch.setenv("MIOSA_API_KEY", key)
    monkeypatch.delenv("MIOSA_ACCESS_TOKEN", raising=False)
    yield emulator
    # The quickstart carries its own key, so the default organization is emptied too.
    for used in (key, "msk_live_..."):
        request = urllib.request.Request(
            f"{emulator.origin}/_emulator/reset", method="POST", headers={"Authorization": f"Bearer {used}"})
        urllib.request.urlopen(request, timeout=30).read()


def pytest_collection_modifyitems(config, items):
    """The ledger is closed last, and only when every test file was asked for."""
    here = Path(__file__).parent
    chosen = {item.path.name for item in items}
    whole = chosen >= {path.name for path in here.glob("test_*.py")} and not config.option.keyword
    closing = [item for item in items if item.path.name == "test_ledger.py"]
    rest = [item for item in items if item.path.name != "test_ledger.py"]
    items[:] = rest + closing if whole else rest
    if not whole:
        config.hook.pytest_deselected(items=closing)
