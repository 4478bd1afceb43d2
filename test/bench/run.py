"""`make bench`: the same script drives Crisp and Debian's containerd in turn and prints the ratios.

Same OCI runtime (crun), same CNI plugins, same image from a registry on loopback. The JSON is kept beside the table.
`make bench SCENARIOS="logging pulling"` measures these only, in that order.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench import pulls, scenarios
from bench.daemons import Daemon, start_containerd, start_crisp
from bench.idle import idling, probing
from bench.lists import listing
from bench.streams import exec_streams
from cri import api
from rig.cgroups import ensure_cgroups
from rig.images import BuiltImage, build, busybox, files, layer, push
from rig.registry import RunningRegistry, running_registry

Figures = dict[str, float]
Scenario = Callable[[Daemon, str, Path], Figures]
HIGHER_IS_BETTER = {"pods/s", "log MiB/s", "exec MiB/s"}
SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        scenarios.lifecycle,
        scenarios.density,
        scenarios.burst,
        listing,
        exec_streams,
        idling,
        probing,
        scenarios.logging,
        scenarios.pulling,
        pulls.sharing,
        pulls.huge,
    )
}


@dataclass(frozen=True, kw_only=True)
class Images:
    """By their names in the registry."""

    small: str
    pause: str
    of: dict[Scenario, str]
    """What some scenarios work with instead of the small one."""


def main(names: list[str]) -> None:
    """Raises KeyError for a scenario that there is none of."""
    wanted = [SCENARIOS[name] for name in names or SCENARIOS]
    ensure_cgroups()
    with tempfile.TemporaryDirectory(prefix="crisp-bench-", dir="/var/tmp", ignore_cleanup_errors=True) as scratch:
        base = Path(scratch)
        (base / "registry").mkdir()
        with running_registry(base / "registry") as registry:
            images = Images(
                small=push(busybox(), registry, "library/busybox", "1"),
                pause=push(busybox(Cmd=["/bin/sleep", "1000000"]), registry, "library/pause", "1"),
                of={scenario: PUSHED[scenario](registry) for scenario in wanted if scenario in PUSHED},
            )
            results = {
                "crisp": measure(start_crisp(base, builtin=False), images, base, wanted),
                "containerd": measure(start_containerd(base, images.pause), images, base, wanted),
            }
            if scenarios.lifecycle in wanted:
                builtin = measure(start_crisp(base, builtin=True), images, base, [scenarios.lifecycle])
                results["crisp"] |= renamed(builtin)
                results["containerd"] |= renamed(results["containerd"])
    print_table(results)
    Path("bench.json").write_text(json.dumps(results, indent=1))


def large_image() -> BuiltImage:
    """150 MB of gzip in 5 layers, 20,000 files, compressible by a third."""
    random = Random(1)
    text = b"A line of text, as most files of an image have them.\n" * 64
    layers = []
    for number in range(5):
        content = {
            f"usr/share/part{number}/{index // 100}/{index}": random.randbytes(7500) + text[: index % len(text)]
            for index in range(4000)
        }
        layers.append(layer(files(content)))
    return build(layers)


PUSHED: dict[Scenario, Callable[[RunningRegistry], str]] = {
    scenarios.pulling: lambda registry: push(large_image(), registry, "library/large", "1"),
    pulls.sharing: pulls.push_sharing,
    pulls.huge: pulls.push_huge,
}


def renamed(figures: Figures) -> Figures:
    """What the network has a part in: the embedded one's figures beside those of a chain of plugins."""
    return {f"{name}, built-in network": figures[name] for name in ("pod ready", "RunPodSandbox", "StopPodSandbox")}


def measure(daemon: Daemon, images: Images, base: Path, wanted: list[Scenario]) -> Figures:
    """The scenarios on one daemon, which is stopped at the end."""
    figures: Figures = {}
    try:
        with daemon.client() as client:
            client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=images.small)))
        for scenario in wanted:
            logs = base / "logs" / Path(daemon.socket).parts[-3] / scenario.__name__
            figures |= scenario(daemon, images.of.get(scenario, images.small), logs)
            print(f"{daemon.name}: {scenario.__name__} done", file=sys.stderr)
    finally:
        daemon.stop()
    return figures


def print_table(results: dict[str, Figures]) -> None:
    print(f"{'':32} {'crisp':>10} {'containerd':>10} {'ratio':>7}")
    for name, ours in results["crisp"].items():
        theirs = results["containerd"].get(name)
        if theirs is not None:
            note = "  (higher is better)" if name in HIGHER_IS_BETTER else ""
            ratio = f"{ours / theirs:7.2f}" if theirs else f"{'':7}"
            print(f"{name:32} {ours:10.2f} {theirs:10.2f} {ratio}{note}")


if __name__ == "__main__":
    main(sys.argv[1:])
