import pytest
from yarl import URL

from core.errdefs import InvalidArgument
from core.remotes.auth import ANONYMOUS, Credentials, login
from core.remotes.hosts import Host

HUB = Host(base=URL("https://registry-1.docker.io/v2"))
QUAY = Host(base=URL("https://quay.io:5000/v2"))


@pytest.mark.parametrize("server", ["", "quay.io:5000", "https://quay.io:5000/v1/", "http://QUAY.io:5000"])
def test_credentials_go_to_the_server_they_name(server):
    assert login(Credentials(username="u", password="p", server_address=server), QUAY).username == "u"


@pytest.mark.parametrize("server", ["quay.io", "quay.io:5001", "https://evil/quay.io:5000", "quay.io:5000@evil", "["])
def test_credentials_go_to_no_other_server(server):
    assert login(Credentials(username="u", password="p", server_address=server), QUAY) is ANONYMOUS


@pytest.mark.parametrize("server", ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"])
def test_the_hub_has_three_names(server):
    assert login(Credentials(username="u", server_address=server), HUB).username == "u"


def test_auth_is_base64_of_username_and_password():
    assert login(Credentials(auth="dTpwOng="), QUAY).password == "p:x"
    for auth in ("%%", "dQ==", "/w=="):
        with pytest.raises(InvalidArgument):
            login(Credentials(auth=auth), QUAY)


def test_secrets_do_not_show():
    credentials = Credentials(password="s3cret", auth="s3cret", identity_token="s3cret", registry_token="s3cret")
    assert "s3cret" not in repr(credentials)
    assert "s3cret" not in repr(login(Credentials(username="u", password="s3cret"), QUAY))
