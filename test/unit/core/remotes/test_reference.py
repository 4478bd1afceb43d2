import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errdefs import InvalidArgument
from core.remotes.reference import Reference

D256, D512 = "sha256:" + "a" * 64, "sha512:" + "b" * 128


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/user/app", "docker.io/user/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("host:5000/app", "host:5000/app:latest"),
        ("Host/app", "Host/app:latest"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest"),
        ("127.0.0.1/a/b_c/d__e/f-g/h---i/j.k", "127.0.0.1/a/b_c/d__e/f-g/h---i/j.k:latest"),
        (f"quay.io/a/b:1@{D256}", f"quay.io/a/b@{D256}"),
        (f"busybox@{D512}", f"docker.io/library/busybox@{D512}"),
        ("a/" + "b" * 64, "docker.io/a/" + "b" * 64 + ":latest"),
        ("app:_" + "x" * 127, "docker.io/library/app:_" + "x" * 127),
    ],
)
def test_the_full_form_of_a_reference(text, full):
    assert str(Reference.parse(text)) == full
    assert Reference.parse(full) == Reference.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "/",
        "@",
        "../../x",
        "a/../b",
        "localhost:5000//x",
        "localhost:5000/",
        "localhost:99999/x",
        "host:0/x",
        "host:port/x",
        "Busybox",
        "a/B",
        "app:",
        "app:-1",
        "app:" + "x" * 129,
        "app@",
        "app@sha256:",
        "app@md5:" + "0" * 32,
        "app@sha256:" + "A" * 64,
        "app@sha256:../../x",
        f"app@{D256}0",
        f"app@{D256}@{D256}",
        "a" * 300 + "/b",
        "a/" * 200 + "b",
        "f" * 64,
        "sha256:" + "f" * 64,
        "[::1/app",
        "[:::::]/app",
        "[::1%25eth0]/app",
        "-host.x/app",
        "host..x/app",
        "http://host/app",
        "user@host/app",
        "app\n",
        "app\0",
        "a__-b",
        "a___b",
        ".a",
        "\u0430pp",
        "\uff11.x/app",
        "/etc/passwd",
    ],
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidArgument, match="image reference"):
        Reference.parse(text)


@given(st.text(alphabet="aA0.:/@[]_-\n\0é" + "sha256f", max_size=80))
def test_parsing_ends_in_a_stable_full_form_or_is_refused(text):
    try:
        reference = Reference.parse(text)
    except InvalidArgument:
        return
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.path.split("/")
