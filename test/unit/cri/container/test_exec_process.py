import json

from cri.container.exec_sync import exec_process

PROCESS = {"args": ["/pause"], "env": ["A=1"], "user": {"uid": 5}, "terminal": True, "cwd": "/tmp"}
SPEC = json.dumps({"process": PROCESS}).encode()


def test_an_exec_is_the_containers_process_with_another_command() -> None:
    assert exec_process(SPEC, ["ls"], tty=False) == PROCESS | {"args": ["ls"], "terminal": False}


def test_an_exec_on_a_terminal_knows_one() -> None:
    assert exec_process(SPEC, ["ls"], tty=True)["env"] == ["A=1", "TERM=xterm"]
    own = json.dumps({"process": PROCESS | {"env": ["TERM=vt100"]}}).encode()
    assert exec_process(own, ["ls"], tty=True)["env"] == ["TERM=vt100"]


def test_a_process_without_environment_can_have_one() -> None:
    bare = json.dumps({"process": {"args": ["/pause"]}}).encode()
    assert exec_process(bare, ["ls"], tty=True)["env"] == ["TERM=xterm"]
