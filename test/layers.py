"""Layers for tests: archives made entry by entry, and the unpacker in a child as the zygote would run it."""

import contextlib
import io
import multiprocessing
import os
import tarfile

from core.diff import settle as settle_job
from core.diff import unpack as unpack_job

NOW = 1_700_000_000


def entry(name, kind=tarfile.REGTYPE, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime, info.mode = kind, len(data), NOW, 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def directory(name, mode=0o755, **fields):
    return entry(name, tarfile.DIRTYPE, mode=mode, **fields)


def file(name, data=b"", **fields):
    return entry(name, data=data, **fields)


def symlink(name, target, **fields):
    return entry(name, tarfile.SYMTYPE, linkname=target, **fields)


def link(name, target, **fields):
    return entry(name, tarfile.LNKTYPE, linkname=target, **fields)


def device(name, major, minor, kind=tarfile.CHRTYPE, **fields):
    return entry(name, kind, devmajor=major, devminor=minor, **fields)


def header(info, form=tarfile.GNU_FORMAT):
    """The header alone, names as they are: tarfile itself strips what is hostile about some."""
    return info.tobuf(form, "utf-8", "surrogateescape")


def archive(*entries, form=tarfile.PAX_FORMAT):
    """An archive, whatever the entries say: names are not cleaned."""
    out = io.BytesIO()
    for info, data in entries:
        out.write(header(info, form))
        out.write(data)
        out.write(bytes(-len(data) % 512))
    return out.getvalue() + bytes(1024)


def fixed(block):
    """A 512-byte header with its checksum made right."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def in_child(function, *arguments, meanwhile=lambda: None):
    """Run `function` in a forked child and `meanwhile` here; return the former's result or raise what it raised."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(sender, function, arguments))
    child.start()
    sender.close()
    meanwhile()
    with receiver:
        try:
            result = receiver.recv()
        except EOFError:
            result = RuntimeError("the child died")
    child.join()
    child.close()
    if isinstance(result, BaseException):
        raise result
    return result


def _report(sender, function, arguments):
    try:
        result = function(*arguments)
    except BaseException as exc:  # noqa: BLE001 the edge of a process
        result = exc
    sender.send(result)


def unpack(data, target, mode="stacked"):
    """Run job "unpack" for a layer of `data` into directory `target`."""
    with contextlib.ExitStack() as opened:
        blob = opened.enter_context(_memory(data))
        target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, target_fd)
        return in_child(unpack_job.run_job, {"mode": mode}, [blob, target_fd], lambda _: None)


def settle(target, *lowers):
    """Run job "settle" for the layer at `target`."""
    target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return in_child(settle_job.run_job, {"lowers": [str(lower) for lower in lowers]}, [target_fd], lambda _: None)
    finally:
        os.close(target_fd)


@contextlib.contextmanager
def _memory(data):
    fd = os.memfd_create("layer")
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        yield fd
    finally:
        os.close(fd)
