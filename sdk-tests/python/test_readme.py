"""The examples of the emulator's README, run as they stand."""

import contextlib
import io
import json
import os
import pathlib
import re
import subprocess

README = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def marked(name):
    return re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL).group(1)


def test_readme_curl(environment):
    outputs = []
    for line in marked("curl").strip().splitlines():
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True)
        outputs.append(json.loads(done.stdout))
    created, ran, deleted = outputs
    assert created["state"] == "running"
    assert ran["stdout"].startswith("Linux ")
    assert deleted["state"] == "destroyed"


def test_readme_python(environment):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(marked("python"), "README", "exec"), {})  # the point of the test: it runs as printed
    assert out.getvalue().startswith("hello from ")


def test_env_points_a_shell_at_the_emulator(emulator):
    listen = emulator.ready["listen"]
    script = 'eval "$("$MIOSA_EMULATOR" env --listen "$LISTEN")"; curl -sf "$MIOSA_BASE_URL/whoami" -H "Authorization: Bearer $MIOSA_API_KEY"'
    done = subprocess.run(["bash", "-c", script], env={**os.environ, "LISTEN": listen}, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["organization"]["id"]
