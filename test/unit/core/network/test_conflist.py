import json

import pytest

from core.errdefs import FailedPrecondition, InvalidArgument, Unavailable
from core.network.confdir import find_plugin, load_networks
from core.network.conflist import parse, parse_single

BRIDGE = {"type": "bridge", "bridge": "cni0", "capabilities": {"portMappings": True, "mac": False}}


def document(**keys):
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [BRIDGE], **keys}).encode()


def test_fields_that_nobody_knows_reach_the_plugin_as_they_were_written():
    written = b'"type":"x","big":12345678901234567890123,"f":1.10,"s":"\\u00e9"'
    network = parse(b'{"cniVersion":"1.0.0","name":"n","plugins":[{' + written + b"}]}")
    request = network.request(network.plugins[0], {})
    assert request == b"{" + written + b',"cniVersion":"1.0.0","name":"n"}'


def test_what_the_runtime_inserts_replaces_what_was_written():
    reserved = {"capabilities": {"mac": True}, "runtimeConfig": 1, "prevResult": 1, "cni.dev/attachments": 1}
    network = parse(document(plugins=[{"type": "x", "name": "other", "cniVersion": "0.1.0", **reserved}]))
    request = json.loads(network.request(network.plugins[0], {"runtimeConfig": {"mac": "00"}}))
    assert request == {"type": "x", "name": "pods", "cniVersion": "1.0.0", "runtimeConfig": {"mac": "00"}}


def test_arguments_that_an_administrator_wrote_reach_the_plugin():
    arguments = {"cni": {"ips": ["10.2.2.42"]}}
    network = parse(document(plugins=[{"type": "x", "args": arguments}]))
    assert json.loads(network.request(network.plugins[0], {}))["args"] == arguments


def test_only_capabilities_that_are_true_are_offered():
    assert parse(document()).plugins[0].capabilities == {"portMappings"}


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"cniVersion": "0.3.1"}, "0.3.1"),
        ({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "1.1.0", "9.0.0"]}, "1.1.0"),
        ({"cniVersion": "9.0.0", "cniVersions": ["0.3.0"]}, "0.3.0"),
    ],
)
def test_the_highest_version_that_both_speak_is_chosen(versions, chosen):
    assert parse(document(**versions)).version == chosen


def test_among_what_plugins_speak_the_highest_version_is_chosen():
    network = parse(document(cniVersions=["0.4.0", "1.1.0"]))
    assert network.among({"0.3.1", "0.4.0", "1.0.0"}).version == "1.0.0"
    with pytest.raises(InvalidArgument, match=r"cniVersion 0\.4\.0 or 1\.0\.0 or 1\.1\.0 of network 'pods'"):
        network.among({"0.3.1"})


@pytest.mark.parametrize("version", ["0.2.0", "2.0.0", ""])
def test_a_version_that_we_do_not_speak_is_refused(version):
    with pytest.raises(InvalidArgument, match="want one of"):
        parse(document(cniVersion=version))


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_switches_may_be_strings(value):
    network = parse(document(disableCheck=value, disableGC=value, loadOnlyInlinedPlugins=value))
    assert network.disable_check and network.disable_gc and network.load_only_inlined_plugins


@pytest.mark.parametrize("name", ["", "../pods", "a/b", ".hidden", "a b", "ü"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(InvalidArgument):
        parse(document(name=name))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"name": 1}', b"\xff", b"[" * 9999, b'{"name":"n","plugins":1}'])
def test_what_is_no_configuration_is_refused(raw):
    for parser in (parse, parse_single):
        with pytest.raises(InvalidArgument):
            parser(raw)


def test_loading_only_inlined_plugins_needs_plugins():
    with pytest.raises(InvalidArgument):
        parse(document(plugins=[], loadOnlyInlinedPlugins=True))


def test_a_single_configuration_is_a_chain_of_one():
    network = parse_single(json.dumps({"cniVersion": "0.4.0", "name": "pods", **BRIDGE}).encode())
    assert (network.name, network.version, [plugin.type for plugin in network.plugins]) == ("pods", "0.4.0", ["bridge"])


def test_a_document_reads_as_the_configuration_that_it_was_made_from():
    network = parse(document(disableGC=True))
    assert parse(network.document()) == network


def test_the_first_file_in_lexical_order_is_the_network(tmp_path):
    (tmp_path / "20-b.conflist").write_bytes(document(name="second"))
    (tmp_path / "10-a.json").write_bytes(json.dumps({"cniVersion": "1.0.0", "name": "first", "type": "x"}).encode())
    (tmp_path / "00-readme.txt").write_text("no network")
    (tmp_path / "05-directory.conflist").mkdir()
    assert [network.name for network in load_networks(str(tmp_path))] == ["first"]
    assert [network.name for network in load_networks(str(tmp_path), limit=5)] == ["first", "second"]


def test_two_networks_of_one_name_are_refused_by_both_files_unless_one_is_not_used(tmp_path):
    (tmp_path / "10-a.conflist").write_bytes(document())
    (tmp_path / "20-b.conflist").write_bytes(document())
    assert [network.name for network in load_networks(str(tmp_path))] == ["pods"]
    with pytest.raises(InvalidArgument, match=r"20-b\.conflist: network 'pods' is that of .*10-a\.conflist"):
        load_networks(str(tmp_path), limit=2)


@pytest.mark.parametrize("inlined", [False, True])
def test_plugins_beside_the_configuration_are_appended_unless_only_inlined_ones_count(tmp_path, inlined):
    (tmp_path / "10.conflist").write_bytes(document(loadOnlyInlinedPlugins=inlined))
    (tmp_path / "pods").mkdir()
    for name in ("b.conf", "a.conf", "c.txt"):
        (tmp_path / "pods" / name).write_text(json.dumps({"type": name[0]}))
    [network] = load_networks(str(tmp_path))
    assert [plugin.type for plugin in network.plugins] == (["bridge"] if inlined else ["bridge", "a", "b"])


def test_no_configuration_and_no_directory_say_what_to_do(tmp_path):
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FailedPrecondition, match="no network config found in"):
            load_networks(str(directory))


def test_an_invalid_file_is_named_and_not_skipped(tmp_path):
    (tmp_path / "10.conflist").write_bytes(b"{")
    (tmp_path / "20.conflist").write_bytes(document())
    with pytest.raises(InvalidArgument, match=r"10\.conflist"):
        load_networks(str(tmp_path))


def test_a_configuration_without_any_plugin_is_refused(tmp_path):
    (tmp_path / "10.conflist").write_bytes(document(plugins=[]))
    with pytest.raises(InvalidArgument, match="no plugins"):
        load_networks(str(tmp_path))


def test_a_huge_configuration_is_refused(tmp_path):
    (tmp_path / "10.conflist").write_bytes(b" " * (1 << 20) + document())
    with pytest.raises(InvalidArgument):
        load_networks(str(tmp_path))


def test_a_plugin_is_found_in_the_first_directory_that_has_it_executable(tmp_path):
    for name, mode in (("one", 0o644), ("two", 0o755), ("three", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bridge").touch(mode)
    directories = [str(tmp_path / name) for name in ("missing", "one", "two", "three")]
    assert find_plugin("bridge", directories) == str(tmp_path / "two" / "bridge")
    with pytest.raises(Unavailable, match="install it"):
        find_plugin("portmap", directories)
