import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errdefs import FailedPrecondition
from core.remotes.hosts import PULL, RESOLVE, is_loopback, load_hosts


def write(config, directory, text, **files):
    path = config / directory
    path.mkdir()
    if text is not None:
        (path / "hosts.toml").write_text(text)
    for name, content in files.items():
        (path / name.replace("_dot_", ".")).write_text(content)
    return path


def bases(config, registry):
    return [str(host.base) for host in load_hosts(str(config), registry)]


@pytest.mark.parametrize(
    ("registry", "base"),
    [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("quay.io", "https://quay.io/v2"),
        ("quay.io:5000", "https://quay.io:5000/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
        ("localhost.example:5000", "https://localhost.example:5000/v2"),
    ],
)
def test_a_registry_without_a_directory_is_asked_itself(tmp_path, registry, base):
    assert bases(tmp_path, registry) == [base]
    assert bases("", registry) == [base]


def test_hosts_are_asked_in_the_order_of_the_file_and_the_server_last(tmp_path):
    write(tmp_path, "quay.io", 'server = "https://up.example"\n[host."z.example"]\n[host."http://a.example:1/x/"]\n')
    assert bases(tmp_path, "quay.io") == ["https://z.example/v2", "http://a.example:1/x/v2", "https://up.example/v2"]


def test_every_setting_of_a_host_is_read(tmp_path):
    directory = write(
        tmp_path,
        "quay.io_5000_",
        """
        [host."https://mirror.example/v2/proxy"]
          capabilities = ["pull", "Resolve"]
          ca = ["one.crt", "/two.crt"]
          client = [["c.cert", "c.key"], "both.pem"]
          skip_verify = true
          override_path = true
          dial_timeout = "1m1.5s"
          [host."https://mirror.example/v2/proxy".header]
            one = "1"
            many = ["2", "3"]
        """,
    )
    mirror, itself = load_hosts(str(tmp_path), "quay.io:5000")
    assert str(mirror.base) == "https://mirror.example/v2/proxy"
    assert mirror.capabilities == {PULL, RESOLVE}
    assert mirror.ca == (f"{directory}/one.crt", "/two.crt")
    assert mirror.client == ((f"{directory}/c.cert", f"{directory}/c.key"), (f"{directory}/both.pem", ""))
    assert mirror.skip_verify
    assert mirror.header == (("one", "1"), ("many", "2"), ("many", "3"))
    assert mirror.dial_timeout == 61.5
    assert (mirror.namespace, itself.namespace) == ("quay.io:5000", "")


@pytest.mark.parametrize("directory", ["quay.io:5000", "quay.io_5000_", "_default"])
def test_the_directory_of_a_registry_with_a_port(tmp_path, directory):
    write(tmp_path, directory, 'server = "http://found"')
    assert bases(tmp_path, "quay.io:5000") == ["http://found/v2"]


def test_the_default_directory_keeps_the_registry_as_server(tmp_path):
    write(tmp_path, "_default", '[host."https://mirror"]')
    assert bases(tmp_path, "quay.io") == ["https://mirror/v2", "https://quay.io/v2"]


def test_certificates_without_a_hosts_file_are_used(tmp_path):
    directory = write(tmp_path, "quay.io", None, ca_dot_crt="", a_dot_cert="", a_dot_key="", b_dot_cert="")
    (host,) = load_hosts(str(tmp_path), "quay.io")
    assert host.ca == (f"{directory}/ca.crt",)
    assert host.client == ((f"{directory}/a.cert", f"{directory}/a.key"), (f"{directory}/b.cert", ""))


def test_the_file_is_read_anew_each_time(tmp_path):
    directory = write(tmp_path, "quay.io", 'server = "http://one"')
    assert bases(tmp_path, "quay.io") == ["http://one/v2"]
    (directory / "hosts.toml").write_text('server = "http://two"')
    assert bases(tmp_path, "quay.io") == ["http://two/v2"]


@pytest.mark.parametrize(
    "text",
    [
        "server =",
        "server = 1",
        'server = "ftp://x"',
        'server = "https://user@x"',
        'server = "https://"',
        'host = "x"',
        '[host."x"]\ncapabilities = ["fly"]',
        '[host."x"]\nca = 1',
        '[host."x"]\nclient = [["a"]]',
        '[host."x"]\nclient = [["a", "b", "c"]]',
        '[host."x"]\ndial_timeout = "soon"',
        '[host."x"]\nskip_verify = "no"',
        '[host."http://x:99999"]',
        "\x00",
    ],
)
def test_a_file_that_makes_no_sense_stops_the_pull_and_is_named(tmp_path, text):
    write(tmp_path, "quay.io", text)
    with pytest.raises(FailedPrecondition, match=r"quay\.io/hosts\.toml"):
        load_hosts(str(tmp_path), "quay.io")


def test_loopback_is_only_this_machine():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "10.0.0.1", "example", "")))


HOSTS = """server = "https://a"
[host."https://b:5000"]
capabilities = ["pull", "resolve"]
ca = ["/a", "b.crt"]
client = [["c", "k"], "d"]
skip_verify = false
override_path = true
dial_timeout = "1m3s"
[host."https://b:5000".header]
x = ["1", "2"]
"""
_EDIT = st.tuples(st.integers(0, len(HOSTS)), st.integers(0, 12), st.text(max_size=6))


@given(st.lists(_EDIT, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_means_hosts_or_is_refused(tmp_path, edits):
    text = HOSTS
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed :]
    directory = tmp_path / "any.example"
    directory.mkdir(exist_ok=True)
    (directory / "hosts.toml").write_bytes(text.encode(errors="surrogatepass"))
    with contextlib.suppress(FailedPrecondition):
        assert load_hosts(str(tmp_path), "any.example")
