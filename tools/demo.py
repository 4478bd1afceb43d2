"""`make demo`: a registry, crispd, a pod of two containers from a real image, and nothing left afterwards.

Everything lives below a temporary directory; the network is the embedded one. Run as root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test"))

from cri import api
from rig.cgroups import ensure_cgroups
from rig.cri_client import CriClient
from rig.images import busybox, push
from rig.patience import patient
from rig.processes import shims_of
from rig.registry import running_registry

CONFIG = """version = 1
root = "{base}/root"
state = "{base}/run"
[grpc]
address = "{base}/run/crisp.sock"
[cni]
conf_dir = "{base}/net.d"
builtin = true
bridge = "crispdemo0"
subnet = "10.89.0.0/24"
[nri]
enable = false
"""


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def main() -> None:
    ensure_cgroups()
    with tempfile.TemporaryDirectory(prefix="crisp-demo-") as scratch:
        base = Path(scratch)
        say("a registry on loopback, with an image made from busybox")
        (base / "registry").mkdir()
        with running_registry(base / "registry") as registry:
            image = push(busybox(), registry, "library/busybox", "1.36")
            print(image)
            pod = run_daemon(base, image)
        say("what is left")
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if scratch in line]
        shims = shims_of(pod)
        bridge = Path("/sys/class/net/crispdemo0").exists()
        print(f"mounts: {mounts}, shims: {shims}, bridge: {bridge}")
        if mounts or shims or bridge:
            raise SystemExit("the demo left something behind")


def run_daemon(base: Path, image: str) -> str:
    """The id of the pod that was run."""
    config = base / "config.toml"
    config.write_text(CONFIG.format(base=base))
    say("crispd on a temporary root")
    with (base / "crispd.log").open("wb") as log:
        daemon = subprocess.Popen([sys.executable, "-m", "cri", "--config", str(config)], stdout=log, stderr=log)
    try:
        with CriClient(str(base / "run/crisp.sock")) as client:
            client.wait_ready()
            print(client.Version(api.VersionRequest()))
            try:
                return run_pod(client, base, image)
            finally:
                remove_pods(client)
    except BaseException:
        print((base / "crispd.log").read_text())
        raise
    finally:
        daemon.terminate()
        daemon.wait(timeout=patient(30))


def run_pod(client: CriClient, base: Path, image: str) -> str:
    say(f"pull {image}")
    started = time.monotonic()
    print(client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=image))).image_ref)
    print(f"{(time.monotonic() - started) * 1e3:.0f} ms")
    say("a pod with two containers: one serves a page, the other fetches it")
    (base / "logs").mkdir()
    metadata = api.PodSandboxMetadata(name="demo", namespace="default", uid=str(uuid.uuid4()))
    config = api.PodSandboxConfig(metadata=metadata, hostname="demo", log_directory=str(base / "logs"))
    pod = client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
    status = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status
    print(f"pod {pod[:13]} has address {status.network.ip}")
    serve = "echo hello from the pod > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    fetch = "until wget -q -O- http://localhost:8080/; do sleep 0.1; done; sleep 1000"
    server = start(client, pod, config, image, "server", serve)
    fetcher = start(client, pod, config, image, "fetcher", fetch)
    log = base / "logs" / "fetcher.log"
    deadline = time.monotonic() + patient(10)
    while not log.exists() or b"hello" not in log.read_bytes():
        if time.monotonic() > deadline:
            raise SystemExit("the page was not fetched in time")
        time.sleep(0.02)
    say("its log, as the kubelet reads it")
    print(log.read_text(), end="")
    say("exec: the processes that the server container sees")
    request = api.ExecSyncRequest(container_id=server, cmd=["ps"], timeout=int(patient(10)))
    execution = client.ExecSync(request)
    print(execution.stdout.decode(), end="")
    if execution.exit_code:
        raise SystemExit(f"ps ended with {execution.exit_code}: {execution.stderr.decode()}")
    say("stop and remove")
    for container in (server, fetcher):
        client.StopContainer(api.StopContainerRequest(container_id=container, timeout=1))
    remove_pods(client)
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=image)))
    return str(pod)


def remove_pods(client: CriClient) -> None:
    for pod in client.ListPodSandbox(api.ListPodSandboxRequest()).items:
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod.id))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))


def start(
    client: CriClient, pod: str, pod_config: api.PodSandboxConfig, image: str, name: str, script: str
) -> str:
    config = api.ContainerConfig(
        metadata=api.ContainerMetadata(name=name),
        image=api.ImageSpec(image=image),
        command=["/bin/sh", "-c", script],
        log_path=f"{name}.log",
    )
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=pod_config)
    container = str(client.CreateContainer(request).container_id)
    client.StartContainer(api.StartContainerRequest(container_id=container))
    return container


if __name__ == "__main__":
    main()
