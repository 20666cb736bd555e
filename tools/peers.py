"""What `build.py bench --peers` measures beside us: npm brings it into build/peers, and into nothing else."""

import platform
import shutil
import sys

from .site import node as nodes
from .site.stages import digest_of, is_current, making
from .steps import ROOT, Stop, one_at_a_time, say

SOURCES = ROOT / "bench/peers"
MODULES = ROOT / "build/peers"
PACKAGE_FILES = (SOURCES / "package.json", SOURCES / "package-lock.json", SOURCES / ".npmrc")


def fetch_peers() -> nodes.Node:
    """Have the packages of bench/peers/package-lock.json in MODULES; the Node.js that runs them. Raises Stop."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Stop("the peers' builds are fetched for Linux on x86-64 alone; this is another system")
    with one_at_a_time():
        node = nodes.find_node()
        state = digest_of(*PACKAGE_FILES)
        if not is_current(MODULES, state):
            say("npm fetches the peers: llama.cpp's builds of node-llama-cpp")
            with making(MODULES, state) as folder:
                for file in PACKAGE_FILES:
                    shutil.copy(file, folder)
                nodes.install(node, folder)
    return node
