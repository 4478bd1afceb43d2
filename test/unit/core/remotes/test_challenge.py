from hypothesis import given
from hypothesis import strategies as st

from core.remotes.challenge import parse_challenges


def parsed(*headers):
    return [(challenge.scheme, dict(challenge.parameters)) for challenge in parse_challenges(headers)]


def test_a_bearer_challenge_with_commas_and_quotes_in_values():
    header = r'Bearer realm="https://auth/token",service="a \"b\"",scope="repository:x:pull,push", error=invalid_token'
    assert parsed(header) == [
        (
            "bearer",
            {
                "realm": "https://auth/token",
                "service": 'a "b"',
                "scope": "repository:x:pull,push",
                "error": "invalid_token",
            },
        )
    ]


def test_several_challenges_in_one_header_and_in_several():
    assert parsed('Basic realm="a", Bearer Realm = "b"', "Negotiate") == [
        ("basic", {"realm": "a"}),
        ("bearer", {"realm": "b"}),
        ("negotiate", {}),
    ]


def test_of_a_parameter_given_twice_the_first_counts():
    assert parsed("Basic a=1, a=2") == [("basic", {"a": "1"})]


def test_garbage_ends_its_header():
    bearer = ("bearer", {"realm": "b"})
    assert parsed('Basic realm="open', '"', "", "=,=", 'Bearer realm="b"') == [("basic", {}), bearer]


@given(st.text(alphabet='aB=", \t\\;é', max_size=60))
def test_nothing_makes_the_parser_raise(text):
    parse_challenges([text])


def test_a_long_header_takes_no_time():
    parse_challenges(['Bearer realm="' + "\\" * 100_000, "a=" * 50_000, "a " * 50_000, "," * 100_000])
