"""A real registry (Debian's docker-registry) on loopback.

    with running_registry(tmp_path) as registry:                  plain HTTP, nobody asks for a password
    with running_registry(tmp_path, tls=True, auth=True) as registry:
        registry.host       "127.0.0.1:<port>": what stands in front of an image's name
        registry.url        "http(s)://127.0.0.1:<port>"
        registry.ca         the CA's file, of a registry with TLS
        registry.trust(certs_d)   write hosts.toml so that pulls find and trust it
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from rig.patience import patient

USERNAME, PASSWORD = "crisp", "open sesame"
_HTPASSWD = "crisp:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"  # bcrypt of PASSWORD
_START = 20  # seconds


@dataclasses.dataclass
class RunningRegistry:
    url: str
    host: str
    storage: pathlib.Path
    process: subprocess.Popen
    ca: str = ""
    auth: bool = False

    @property
    def credentials(self):
        return (USERNAME, PASSWORD) if self.auth else None

    def context(self):
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    def trust(self, certs_d):
        """Make `certs_d` the config path with which pulls from this registry work."""
        directory = pathlib.Path(certs_d) / self.host
        directory.mkdir(parents=True)
        ca = f"ca = {json.dumps(self.ca)}\n" if self.ca else ""
        (directory / "hosts.toml").write_text(f"server = {json.dumps(self.url)}\n{ca}")

    def stop(self):
        """Idempotent."""
        self.process.terminate()
        self.process.wait(patient(10))


@contextlib.contextmanager
def running_registry(directory, *, tls=False, auth=False, port=0, mirror_of=""):
    """Serve from below `directory`, an empty one; `mirror_of` makes it a pull-through cache of a registry's url."""
    directory = pathlib.Path(directory)
    port = port or free_port()
    scheme = "https" if tls else "http"
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    ca = ""
    if tls:
        ca, certificate, key = make_certificates(directory)
        config["http"]["tls"] = {"certificate": certificate, "key": key}
    if auth:
        (directory / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    if mirror_of:
        config["proxy"] = {"remoteurl": mirror_of}
    (directory / "registry.yml").write_text(json.dumps(config))  # JSON is YAML
    with (directory / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "registry.yml")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
    registry = RunningRegistry(
        url=f"{scheme}://127.0.0.1:{port}",
        host=f"127.0.0.1:{port}",
        storage=directory / "storage",
        process=process,
        ca=ca,
        auth=auth,
    )
    try:
        _wait_until_served(registry)
        yield registry
    finally:
        registry.stop()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def make_certificates(directory):
    """A CA and a server certificate for 127.0.0.1 and localhost: paths of CA, certificate, key."""
    directory = pathlib.Path(directory)
    ca, ca_key = str(directory / "ca.crt"), str(directory / "ca.key")
    certificate, key, request = (str(directory / f"server.{suffix}") for suffix in ("crt", "key", "csr"))
    (directory / "server.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca_use = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    _openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", "/CN=test CA", "-days", "2", *ca_use)
    _openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1")
    signer = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial"]
    extensions = ["-extfile", str(directory / "server.ext")]
    _openssl("x509", "-req", "-in", request, *signer, "-out", certificate, "-days", "2", *extensions)
    return ca, certificate, key


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _wait_until_served(registry):
    deadline = time.monotonic() + patient(_START)
    while time.monotonic() < deadline and registry.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{registry.url}/v2/", timeout=patient(1), context=registry.context()):
                return
        except urllib.error.HTTPError as exc:
            exc.close()
            return  # 401: it serves
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"docker-registry does not serve: see {registry.storage.parent}/registry.log")
