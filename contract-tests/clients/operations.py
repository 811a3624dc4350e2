"""Fails when an operation of the document is missing in what was generated from it.

usage: operations.py DOCUMENT PYTHON_CLIENT TYPES
"""

import json
import re
import sys
from pathlib import Path

METHODS = ("get", "put", "post", "patch", "delete", "head", "options")


def shape(path: str) -> str:
    """A path without the names of its parameters, which generators change."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def main() -> int:
    """Compares, and says what is missing."""
    document, client, types = (Path(argument) for argument in sys.argv[1:])
    operations = {
        (method, shape(path)): operation["operationId"]
        for path, item in json.loads(document.read_text())["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }
    generated = set()
    for module in client.glob("api/*/*.py"):
        found = re.search(r'"method": "(\w+)",\s+"url": "([^"]+)"', module.read_text())
        if found:
            generated.add((found[1], shape(found[2])))
    typed = set(re.findall(r"^ {4}(\w+): \{$", types.read_text().split("export interface operations {")[1], re.MULTILINE))
    missing = [f"Python: {name}" for key, name in operations.items() if key not in generated]
    missing += [f"TypeScript: {name}" for name in operations.values() if name not in typed]
    for name in missing:
        print(f"missing in the generated code, {name}", file=sys.stderr)
    if not operations or len(generated) != len(operations):
        print(f"{len(operations)} operations, and {len(generated)} in the Python client", file=sys.stderr)
        return 1
    print(f"{len(operations)} operations are in both clients")
    return 1 if missing else 0


sys.exit(main())
