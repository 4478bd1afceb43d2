"""Plugins that hang, lie, flood and fail: the error says what happened, and nothing is left behind."""

import os
import stat
import sys
from dataclasses import replace

import pytest

from core.errdefs import DeadlineExceeded, InvalidArgument, Unavailable
from core.network.plugin import TIMEOUTS
from rig.networks import BRIDGE, PLUGINS, CniNode, Pods, filter_lines, links, node_namespace, wait_until
from rig.patience import patient

pytestmark = pytest.mark.root

PROLOGUE = f"""#!{sys.executable} -IS
import json, os, sys, time
command = os.environ["CNI_COMMAND"]
config = json.load(sys.stdin)
directory = os.path.dirname(__file__)
with open(directory + "/calls", "a") as calls:
    calls.write(command + "\\n")
def count(name):
    return open(directory + "/calls").read().split().count(name)
def succeed():
    print(json.dumps(config.get("prevResult", {{}})) if command == "ADD" else "")
    sys.exit(0)
"""


class Hostile(CniNode):
    """bridge and host-local, and behind them the plugin `evil` of the test."""

    def __init__(self, directory, **config):
        self.bin_dir = directory / "bin"
        self.bin_dir.mkdir()
        super().__init__(directory, (str(self.bin_dir), PLUGINS), **config)

    def chain(self, script, prologue=PROLOGUE):
        path = self.bin_dir / "evil"
        path.write_text(prologue + script)
        path.chmod(0o755)
        self.write("pods", self.bridge(), {"type": "evil"})

    def shorten(self, command):
        """Give plugins a time for `command` that the real ones among them need a part of."""
        self.config = replace(self.config, timeouts={**TIMEOUTS, command: patient(2)})

    def calls(self):
        return (self.bin_dir / "calls").read_text().split()

    def running(self):
        """Command lines of processes that came from the bin directory."""
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    found.append(file.read())
            except (FileNotFoundError, ProcessLookupError):
                continue
        return [line for line in found if str(self.bin_dir).encode() in line]


@pytest.fixture
def node(tmp_path):
    with node_namespace():
        yield Hostile(tmp_path, retry_delays=(0.05,))


@pytest.fixture
def pods(node, tmp_path):
    pods = Pods(tmp_path / "pods")
    yield pods
    pods.end_all()


async def fails_and_leaves_nothing(node, pods, error):
    """Attach; returns the message of the error."""
    pod = pods.new()
    async with node.open() as network:
        with pytest.raises(error) as raised:
            await network.attach(pod)
        await wait_until(lambda: not node.leftovers())
        await wait_until(lambda: links() <= {BRIDGE})
        assert filter_lines("10.77", "CNI-") == []
        assert node.running() == []
    return str(raised.value)


async def test_a_plugin_that_hangs_is_killed_with_its_children(node, pods):
    node.shorten("ADD")
    os.symlink("/bin/sleep", node.bin_dir / "sleep")
    node.chain("if command == 'ADD': os.system(directory + '/sleep 1000; true')\nsucceed()")
    message = await fails_and_leaves_nothing(node, pods, DeadlineExceeded)
    assert f"evil ADD: no answer in {patient(2):g} s" in message


async def test_a_plugin_that_ignores_signals_and_hangs_is_killed(node, pods):
    node.shorten("ADD")
    node.chain("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile command == 'ADD': pass\nsucceed()")
    await fails_and_leaves_nothing(node, pods, DeadlineExceeded)


async def test_garbage_on_stdout_is_told_as_what_it_is(node, pods):
    node.chain("if command == 'ADD': print('<html>502 Bad Gateway</html>'); sys.exit(0)\nsucceed()")
    assert "evil: result is no CNI result" in await fails_and_leaves_nothing(node, pods, Unavailable)


async def test_nothing_on_stdout_is_no_result(node, pods):
    node.chain("if command == 'ADD': sys.exit(0)\nsucceed()")
    assert "result is no CNI result" in await fails_and_leaves_nothing(node, pods, Unavailable)


async def test_deep_nesting_on_stdout_is_no_result(node, pods):
    node.chain("if command == 'ADD': print('{\"ips\":' + '[' * 500_000); sys.exit(0)\nsucceed()")
    assert "result is no CNI result" in await fails_and_leaves_nothing(node, pods, Unavailable)


async def test_100_mb_on_stdout_are_not_read(node, pods):
    node.chain("if command == 'ADD':\n    for _ in range(100): sys.stdout.write('x' * 1_000_000)\nsucceed()")
    assert "wrote more than 1048576 bytes and was killed" in await fails_and_leaves_nothing(node, pods, Unavailable)


async def test_100_mb_on_stderr_do_not_block_the_plugin(node, pods):
    node.chain("for _ in range(100): sys.stderr.write('x' * 1_000_000)\nsucceed()")
    pod = pods.new()
    async with node.open() as network:
        assert (await network.attach(pod)).ips == ("10.77.0.2",)
        await network.detach(pod)


async def test_an_error_document_becomes_the_message(node, pods):
    node.chain(
        "error = {'cniVersion': '1.0.0', 'code': 7, 'msg': 'Invalid Configuration', 'details': 'no uplink'}\n"
        "if command == 'ADD': print(json.dumps(error)); sys.exit(1)\n"
        "succeed()"
    )
    message = await fails_and_leaves_nothing(node, pods, Unavailable)
    assert message == "CNI plugin evil ADD: Invalid Configuration: no uplink (exit code 1)"


async def test_what_a_plugin_logged_stands_beside_its_error(node, pods):
    node.chain(
        "if command == 'ADD':\n"
        "    print('x' * 100_000 + ' dial 10.0.0.1: refused', file=sys.stderr)\n"
        "    print(json.dumps({'code': 11, 'msg': 'try again'})); sys.exit(1)\n"
        "succeed()"
    )
    message = await fails_and_leaves_nothing(node, pods, Unavailable)
    assert message.startswith("CNI plugin evil ADD: try again (exit code 1); its log: xxx")
    assert len(message) < 600


async def test_a_failure_without_an_error_document_is_told_by_stderr(node, pods):
    node.chain("if command == 'ADD': sys.exit('panic: \\x1b[31mno uplink')\nsucceed()")
    message = await fails_and_leaves_nothing(node, pods, Unavailable)
    assert message == "CNI plugin evil ADD: panic:  [31mno uplink (exit code 1)"


async def test_a_plugin_that_crashes_is_told_by_its_signal(node, pods):
    node.chain("if command == 'ADD': os.kill(os.getpid(), 11)\nsucceed()")
    assert "killed by signal 11" in await fails_and_leaves_nothing(node, pods, Unavailable)


async def test_a_result_without_addresses_is_a_failure(node, pods):
    """Hazard "CNI cache": nothing is left of a failed ADD."""
    node.chain("if command == 'ADD': print('{\"cniVersion\": \"1.0.0\"}'); sys.exit(0)\nsucceed()")
    assert "gave the pod's interface eth0 no address" in await fails_and_leaves_nothing(node, pods, Unavailable)


@pytest.mark.parametrize("address", ["10.77.0.300/24", "10.77.0.2/64", "", "../../etc/passwd"])
async def test_a_result_with_an_invalid_address_is_a_failure(node, pods, address):
    node.chain(
        f"result = {{'ips': [{{'address': {address!r}}}]}}\n"
        "if command == 'ADD': print(json.dumps(result)); sys.exit(0)\n"
        "succeed()"
    )
    assert "result has the address" in await fails_and_leaves_nothing(node, pods, Unavailable)


@pytest.mark.parametrize("interface", [7, -1])
async def test_an_address_of_no_interface_is_not_the_pods(node, pods, interface):
    node.chain(
        "result = config.get('prevResult')\n"
        f"if command == 'ADD': result['ips'][0]['interface'] = {interface}\n"
        "succeed()"
    )
    await fails_and_leaves_nothing(node, pods, Unavailable)


async def test_a_daemon_that_a_plugin_leaves_behind_does_not_hold_up_the_answer(node, pods):
    node.chain(
        "import subprocess\n"
        "daemon = subprocess.Popen(['sleep', '1000']) if command == 'ADD' else None\n"
        "if daemon: open(directory + '/daemon', 'w').write(str(daemon.pid))\n"
        "if command == 'DEL': os.kill(int(open(directory + '/daemon').read()), 9)\n"
        "succeed()"
    )
    pod = pods.new()
    async with node.open() as network:
        assert (await network.attach(pod)).ips == ("10.77.0.2",)
        await network.detach(pod)


async def test_a_plugin_that_is_no_program_is_told(node, pods):
    node.chain("not a program", prologue="")
    assert "evil cannot be run" in await fails_and_leaves_nothing_but_a_record(node, pods)


async def test_a_plugin_that_is_not_installed_makes_the_network_not_ready(node, pods):
    node.chain("succeed()")
    (node.bin_dir / "evil").unlink()
    async with node.open() as network:
        assert "'evil' is not in" in network.status().message
        node.chain("succeed()")
        await wait_until(lambda: network.status().ready)


async def fails_and_leaves_nothing_but_a_record(node, pods):
    """The plugin can never DEL, so that the attachment must not be forgotten; returns the message of the error."""
    pod = pods.new()
    async with node.open() as network:
        with pytest.raises(Unavailable) as raised:
            await network.attach(pod)
        assert node.leftovers()
        node.chain("succeed()")
        await wait_until(lambda: not node.leftovers())
    return str(raised.value)


async def test_a_del_that_fails_is_tried_until_it_succeeds(node, pods):
    node.chain("if command == 'DEL' and count('DEL') < 6: sys.exit('busy')\nsucceed()")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        with pytest.raises(Unavailable, match="busy"):
            await network.detach(pod)
        assert node.leftovers()
        pods.end(pod)
        await wait_until(lambda: not node.leftovers())
        await wait_until(lambda: links() <= {BRIDGE})
    assert node.calls().count("DEL") == 6


async def test_a_del_that_hangs_is_killed_and_tried_again(node, pods):
    node.shorten("DEL")
    node.chain("if command == 'DEL' and count('DEL') < 2: time.sleep(1000)\nsucceed()")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        with pytest.raises(DeadlineExceeded):
            await network.detach(pod)
        assert node.running() == []
        await wait_until(lambda: not node.leftovers())


async def test_a_del_that_failed_is_not_forgotten_by_a_restart(node, pods):
    node.chain("if command == 'DEL' and not os.path.exists(directory + '/heal'): sys.exit('busy')\nsucceed()")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        with pytest.raises(Unavailable, match="busy"):
            await network.detach(pod)
    (node.bin_dir / "heal").touch()
    async with node.open() as network:
        await network.collect(network.held())
    assert node.leftovers() == []


async def test_a_del_of_a_pod_that_the_plugin_does_not_know_is_done(node, pods):
    node.chain("if command == 'DEL': print('{\"code\": 3, \"msg\": \"unknown container\"}'); sys.exit(1)\nsucceed()")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        await network.detach(pod)
    assert node.leftovers() == []


async def test_del_uses_the_configuration_of_its_add(node, pods):
    node.chain("succeed()")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        for path in node.conf_dir.iterdir():
            path.unlink()
        await wait_until(lambda: not network.status().ready)
        await network.detach(pod)
    assert node.calls() == ["ADD", "DEL"]
    assert node.leftovers() == []


@pytest.mark.parametrize("name", ["../../../tmp/evil", "/tmp/evil", "..", ".", "", "a/b", "a\0b"])
async def test_a_plugin_type_that_is_a_path_is_never_run(node, pods, name):
    """CVE-2021-20206."""
    node.write("pods", {"type": name})
    async with node.open() as network:
        assert not network.status().ready
        with pytest.raises(Unavailable, match="name of an executable"):
            await network.attach(pods.new())


@pytest.mark.parametrize("key", ["name", "namespace", "uid"])
async def test_a_pod_cannot_smuggle_cni_args(node, pods, key):
    node.chain("succeed()")
    pod = pods.new()
    pod = type(pod)(**{**{name: getattr(pod, name) for name in pod.__slots__}, key: "x;K8S_POD_NAMESPACE=kube-system"})
    async with node.open() as network:
        with pytest.raises(InvalidArgument):
            await network.attach(pod)
    assert node.leftovers() == []


async def test_records_are_for_root_only(node, pods):
    """Hazard "CNI cache"."""
    node.chain("succeed()")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in node.root.rglob("*")}
        assert modes == {0o700, 0o600}
        assert stat.S_IMODE(node.root.stat().st_mode) == 0o700
        await network.detach(pod)
