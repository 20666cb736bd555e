"""The JavaScript in web/, held against its types by the TypeScript compiler."""

from . import node as nodes

COMPILER = nodes.MODULES / "node_modules/typescript/bin/tsc"
CHECKED = ("tsconfig.json", "tsconfig.site.json", "tsconfig.sw.json")  # the face, the page and the worker, sw.js


def checks() -> list[list[str]]:
    """The commands that check all of it; each tells what is wrong and fails. Fetches the compiler. Raises Stop."""
    node = nodes.find_node()
    nodes.fetch_modules(node)
    only_check = ("--noEmit", "--emitDeclarationOnly", "false")
    return [[node.program, str(COMPILER), "--project", str(nodes.SOURCES / name), *only_check] for name in CHECKED]
