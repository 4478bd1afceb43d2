from dataclasses import replace

import pytest

from core.errdefs import FailedPrecondition
from core.network.attachments import Attachment, AttachmentFiles, Interface
from core.network.conflist import parse

NETWORK = parse(b'{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","x":1.0}]}')


@pytest.fixture
def attachment():
    return Attachment(
        pod_id="pod1",
        netns="/run/netns/pod1",
        args="IgnoreUnknown=1",
        capability_args={"portMappings": [{"hostPort": 80}]},
        interfaces=(Interface(ifname="eth0", network=NETWORK), Interface(ifname="eth1", network=NETWORK)),
    )


@pytest.fixture
def attached(attachment):
    first, second = attachment.interfaces
    results = (replace(first, result=b'{"ips": []}'), replace(second, result=b"{}"))
    return replace(attachment, interfaces=results)


@pytest.fixture
def files(tmp_path):
    return AttachmentFiles(str(tmp_path / "cni"))


def test_an_attachment_is_read_as_it_was_written(files, attachment, attached, tmp_path):
    files.put(attachment)
    files.sync(attachment.pod_id)
    assert AttachmentFiles(str(tmp_path / "cni")).load() == [attachment]
    files.put_results(attached)
    assert files.load() == [attached]
    assert attached.attached and not attachment.attached


def test_a_deleted_attachment_is_gone(files, attachment, attached):
    files.put(attachment)
    files.put_results(attached)
    files.delete("pod1")
    files.delete("pod1")
    assert files.load() == []


def test_results_that_a_power_cut_has_emptied_are_none(files, attachment, attached, tmp_path):
    files.put(attachment)
    files.put_results(attached)
    (tmp_path / "cni" / "results" / "pod1.json").write_bytes(b"")
    assert files.load() == [attachment]


def test_results_without_an_attachment_are_removed(files, attached, tmp_path):
    files.put_results(attached)
    assert files.load() == []
    assert list((tmp_path / "cni" / "results").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 1}', b"\xff"])
def test_an_attachment_that_cannot_be_read_stays_and_hides_no_other(files, attachment, tmp_path, content):
    files.put(attachment)
    broken = tmp_path / "cni" / "attachments" / "broken.json"
    broken.write_bytes(content)
    assert files.load() == [attachment]
    assert broken.read_bytes() == content


def test_an_attachment_of_a_newer_version_is_refused(files, tmp_path):
    """GC would take it for nobody's (hazards 3.40)."""
    (tmp_path / "cni" / "attachments" / "pod2.json").write_bytes(b'{"version": 2}')
    with pytest.raises(FailedPrecondition, match="install the newer Crisp again"):
        files.load()


def test_what_a_crash_left_of_a_write_is_not_read(files, tmp_path):
    (tmp_path / "cni" / "attachments" / ".pod1.json.new").write_bytes(b"{")
    assert files.load() == []
