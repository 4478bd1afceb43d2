"""Images for tests: built in memory from tar bytes, pushed over HTTP.

    image = build([layer(files({"etc/hello": b"hi"}))])
    push(image, registry, "test/hello", "1")            → "127.0.0.1:<port>/test/hello:1"
    push(busybox(), registry, "library/busybox", "1.36")
    push(index([(image, "amd64"), (other, "arm64")]), registry, "test/multi", "1")
"""

import base64
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import urllib.error
import urllib.request

import zstandard

from rig.patience import patient

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
TYPES = {
    "oci": {
        "manifest": f"{OCI}.manifest.v1+json",
        "index": f"{OCI}.index.v1+json",
        "config": f"{OCI}.config.v1+json",
        "": f"{OCI}.layer.v1.tar",
        "gzip": f"{OCI}.layer.v1.tar+gzip",
        "zstd": f"{OCI}.layer.v1.tar+zstd",
    },
    "docker": {
        "manifest": f"{DOCKER}.distribution.manifest.v2+json",
        "index": f"{DOCKER}.distribution.manifest.list.v2+json",
        "config": f"{DOCKER}.container.image.v1+json",
        "": f"{DOCKER}.image.rootfs.diff.tar",
        "gzip": f"{DOCKER}.image.rootfs.diff.tar.gzip",
        "zstd": f"{DOCKER}.image.rootfs.diff.tar.zstd",
    },
}
_COMPRESS = {
    "": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "zstd": lambda data: zstandard.compress(data, 1),
}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclasses.dataclass(frozen=True)
class Layer:
    data: bytes
    diff_id: str
    compression: str


@dataclasses.dataclass(frozen=True)
class BuiltImage:
    """A manifest or an index with everything below it."""

    media_type: str
    manifest: bytes
    blobs: tuple
    config: bytes = b""
    layers: tuple = ()
    inner: tuple = ()
    """Manifests of an index."""

    @property
    def digest(self):
        return sha256(self.manifest)

    @property
    def id(self):
        return sha256(self.config)


def layer(tar, compression="gzip"):
    return Layer(data=_COMPRESS[compression](tar), diff_id=sha256(tar), compression=compression)


def files(content, *, mode=0o644, directories=()):
    """A tar of {path: bytes}, or {path: "link target"}, with the directories above them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        made = set()
        for path in (*(name + "/" for name in directories), *content):
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                if (name := "/".join(parts[:depth])) not in made:
                    made.add(name)
                    tar.addfile(_info(name, tarfile.DIRTYPE, 0o755))
        for path, data in content.items():
            if isinstance(data, str):
                info = _info(path, tarfile.SYMTYPE, 0o777)
                info.linkname = data
                tar.addfile(info)
            else:
                info = _info(path, tarfile.REGTYPE, mode)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def bare(path, data=b"bare"):
    """A tar of one file, without the directories above it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = _info(path, tarfile.REGTYPE, 0o644)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def build(layers, *, kind="oci", config=None, platform=("linux", "amd64"), annotations=None, **fields):
    """An image of `layers`, the lowest first; `config` is its container config (Env, Cmd, …), `fields` go beside it."""
    document = {
        "created": "2024-01-01T00:00:00Z",
        "os": platform[0],
        "architecture": platform[1],
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        **fields,
    }
    config_bytes = json.dumps(document).encode()
    types = TYPES[kind]
    manifest = {
        "schemaVersion": 2,
        "mediaType": types["manifest"],
        "config": descriptor(config_bytes, types["config"]),
        "layers": [descriptor(one.data, types[one.compression]) for one in layers],
    }
    if annotations:
        manifest["annotations"] = annotations
    return BuiltImage(
        media_type=types["manifest"],
        manifest=json.dumps(manifest).encode(),
        blobs=(config_bytes, *(one.data for one in layers)),
        config=config_bytes,
        layers=tuple(layers),
    )


def index(images, *, kind="oci"):
    """An index of (image, architecture) or (image, {platform fields})."""
    entries = []
    for image, platform in images:
        fields = {"os": "linux", "architecture": platform} if isinstance(platform, str) else platform
        entries.append({**descriptor(image.manifest, image.media_type), "platform": fields})
    manifest = {"schemaVersion": 2, "mediaType": TYPES[kind]["index"], "manifests": entries}
    return BuiltImage(
        media_type=TYPES[kind]["index"],
        manifest=json.dumps(manifest).encode(),
        blobs=(),
        inner=tuple(image for image, _ in images),
    )


def artifact(content, *, config=b"not JSON"):
    """What is no image: the files of {title: bytes}, "" for one without a title."""
    titles = ({"org.opencontainers.image.title": title} if title else {} for title in content)
    files = (descriptor(data, "application/x-file") for data in content.values())
    layers = [{**file, "annotations": title} for file, title in zip(files, titles)]
    types = {"mediaType": TYPES["oci"]["manifest"], "config": descriptor(config, "application/x-config")}
    manifest = json.dumps({"schemaVersion": 2, **types, "layers": layers}).encode()
    blobs = (config, *content.values())
    return BuiltImage(media_type=TYPES["oci"]["manifest"], manifest=manifest, blobs=blobs)


def descriptor(data, media_type):
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def busybox(**config):
    """BusyBox with all its commands, /etc/passwd and /tmp; runs `sh` unless `config` (Cmd, Env, …) says otherwise."""
    return build(list(_busybox_layers()), config={"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"], **config})


@functools.cache
def _busybox_layers():
    with open("/bin/busybox", "rb") as file:
        binary = file.read()
    commands = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    content = {"bin/busybox": binary, **{f"bin/{name}": "busybox" for name in commands if name != "busybox"}}
    etc = {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    }
    directories = ("root", "tmp", "var", "proc", "sys", "dev", "home")
    return layer(files(content, mode=0o755)), layer(files(etc, directories=directories))


def push(image, registry, repository, tag=""):
    """Push to a `RunningRegistry`; return the image's full name, by digest without `tag`."""
    for inner in image.inner:
        push(inner, registry, repository)
    for blob in image.blobs:
        _push_blob(registry, repository, blob)
    target = tag or image.digest
    url = f"{registry.url}/v2/{repository}/manifests/{target}"
    _call(registry, "PUT", url, image.manifest, {"Content-Type": image.media_type})
    return f"{registry.host}/{repository}{':' if tag else '@'}{target}"


def _push_blob(registry, repository, data):
    base = f"{registry.url}/v2/{repository}/blobs"
    try:
        _call(registry, "HEAD", f"{base}/{sha256(data)}")
        return
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code != 404:
            raise
    location = _call(registry, "POST", f"{base}/uploads/", b"")["Location"]
    mark = "&" if "?" in location else "?"
    _call(registry, "PUT", f"{location}{mark}digest={sha256(data)}", data, {"Content-Type": "application/octet-stream"})


def _call(registry, method, url, data=None, headers=None):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if registry.credentials:
        secret = base64.b64encode(":".join(registry.credentials).encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
    with urllib.request.urlopen(request, timeout=patient(60), context=registry.context()) as response:
        return response.headers


def _info(path, kind, mode):
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.mtime = kind, mode, 1_700_000_000
    return info
