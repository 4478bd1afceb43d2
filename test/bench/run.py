"""`make bench`: the same script drives Crisp and Debian's containerd in turn and prints the ratios.

Same OCI runtime (crun), same CNI plugins, same image from a registry on loopback. The JSON is kept beside the table.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from bench import scenarios
from bench.daemons import Daemon, start_containerd, start_crisp
from cri import api
from rig.cgroups import ensure_cgroups
from rig.images import BuiltImage, busybox, push
from rig.registry import running_registry

Figures = dict[str, float]
HIGHER_IS_BETTER = {"pods/s", "log MiB/s"}


def main() -> None:
    ensure_cgroups()
    with tempfile.TemporaryDirectory(prefix="crisp-bench-", dir="/var/tmp", ignore_cleanup_errors=True) as scratch:
        base = Path(scratch)
        (base / "registry").mkdir()
        with running_registry(base / "registry") as registry:
            image = push(busybox(), registry, "library/busybox", "1")
            pause = push(_pause(), registry, "library/pause", "1")
            results = {
                "crisp": measure(start_crisp(base, builtin=False), image, base),
                "containerd": measure(start_containerd(base, pause), image, base),
            }
    print_table(results)
    Path("bench.json").write_text(json.dumps(results, indent=1))


def _pause() -> BuiltImage:
    return busybox(Cmd=["/bin/sleep", "1000000"])


def measure(daemon: Daemon, image: str, base: Path) -> Figures:
    """All scenarios on one daemon, which is stopped at the end."""
    figures: Figures = {}
    try:
        with daemon.client() as client:
            client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=image)))
        for scenario in (scenarios.lifecycle, scenarios.density, scenarios.logging):
            logs = base / "logs" / daemon.name / scenario.__name__
            figures |= scenario(daemon, image, logs)
            print(f"{daemon.name}: {scenario.__name__} done", file=sys.stderr)
    finally:
        daemon.stop()
    return figures


def print_table(results: dict[str, Figures]) -> None:
    print(f"{'':28} {'crisp':>10} {'containerd':>10} {'ratio':>7}")
    for name, ours in results["crisp"].items():
        theirs = results["containerd"].get(name)
        if theirs:
            note = "  (higher is better)" if name in HIGHER_IS_BETTER else ""
            print(f"{name:28} {ours:10.2f} {theirs:10.2f} {ours / theirs:7.2f}{note}")


if __name__ == "__main__":
    main()
