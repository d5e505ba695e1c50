"""The URL of the directory: every form, and what is wrong with others, without a word of it in the error."""

import pytest

from glassbridge.cluster.address import DirectoryKind, ServerAddress, read_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("valkey://cache", ServerAddress(DirectoryKind.SERVER, (("cache", 6379),))),
        ("redis://127.0.0.1:7000/3", ServerAddress(DirectoryKind.SERVER, (("127.0.0.1", 7000),), db=3)),
        ("rediss://[::1]:7000", ServerAddress(DirectoryKind.SERVER, (("::1", 7000),), tls=True)),
        ("valkeys://:p%40ss@h", ServerAddress(DirectoryKind.SERVER, (("h", 6379),), True, None, "p@ss")),
        ("valkey://user:a:b@h", ServerAddress(DirectoryKind.SERVER, (("h", 6379),), False, "user", "a:b")),
        (
            "valkey+sentinel://:pass@a,b:26380/mymaster/2",
            ServerAddress(DirectoryKind.SENTINEL, (("a", 26379), ("b", 26380)), False, None, "pass", "mymaster", 2),
        ),
        ("rediss+cluster://a:1,b:2", ServerAddress(DirectoryKind.CLUSTER, (("a", 1), ("b", 2)), tls=True)),
    ],
)
def test_a_url_is_read(url: str, address: ServerAddress) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "", "cache:6379", "http://secretive", "valkey:secretive", "valkey://", "valkey://:secretive@",
        "valkey://secretive@host", "valkey://user:@secretive", "valkey://host:0/secretive", "valkey://host:99999",
        "valkey://host:port", "valkey://a,b", "valkey://secretive host", "valkey://host/secretive", "valkey://host/-1",
        "valkey://host?password=secretive", "valkey://host#secretive", "valkey+sentinel://host",
        "valkey+sentinel://host/bad name", "valkey+sentinel://host/m/secretive", "valkey+cluster://host/1",
        "valkey+cluster://host,,other", "valkey://[::1", "valkey://a@b:secretive@host", "VALKEY+ring://host",
        "valkey+cluster://" + ",".join(["h"] * 33), "valkey://-bad-", "valkey://host/9999",
    ],
)  # fmt: skip
def test_a_wrong_url_is_an_error_that_quotes_nothing(url: str) -> None:
    with pytest.raises(ValueError) as error:
        read_address(url)
    assert "secretive" not in str(error.value)
    assert len(str(error.value)) > 20


def test_no_repr_shows_the_password() -> None:
    address = read_address("valkey://user:hidden@host:7")
    assert "hidden" not in repr(address)
    assert address.shown == "host:7"
    assert read_address("valkey+cluster://[::1]:1,b").shown == "[::1]:1,b:6379"
