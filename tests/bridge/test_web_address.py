"""URLs arrive as they were written."""

import pytest

from glassbridge.bridge.web_address import parse_address

PLAIN = "http://h.example"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/voice.wav?response-content-type=audio%2Fwav&X=1",
        "/foo%27bar%28test%29.wav",
        "/dir%2Fvoice.wav?at=12%3A30",
        "/a?sig=a%7Eb",
        "/a?sig=a~b'(*)!",
        "/a+b?c+d=%20+e",
        "/%e4?%E4",
        "/%zz?100%",
        "/a?",
        "/a?b?c",
        "/?",
        "/a/../b/./c//d",
        "/a;b=c,d:e@f&g=h",
        "/[x]|y?[z]|w^`{}",
        "/a?url=http://other/%2e%2e/x",
        "/" + "x" * 3000,
    ],
)
def test_what_a_request_line_can_hold_is_asked_for_as_written(target: str) -> None:
    address = parse_address(PLAIN + target)
    assert address.target == target
    assert address.url.raw_path_qs == target
    assert parse_address("http://elsewhere.example/x").follow(PLAIN + target).target == target
    assert parse_address("http://h.example/x").follow(target).target == target


@pytest.mark.parametrize(
    ("written", "host", "port", "target"),
    [
        ("http://h", "h", 80, "/"),
        ("https://h", "h", 443, "/"),
        ("HTTP://H.EXAMPLE/A", "h.example", 80, "/A"),
        ("http://h:8080?x=1", "h", 8080, "/?x=1"),
        ("http://h:/x", "h", 80, "/x"),
        ("http://h/x#part", "h", 80, "/x"),
        ("http://h/x?y#part", "h", 80, "/x?y"),
        ("  http://h/x \n", "h", 80, "/x"),
        ("http://h/a\r\n b", "h", 80, "/a%20b"),
        ("http://h/ä ö?ü <ß>", "h", 80, "/%C3%A4%20%C3%B6?%C3%BC%20%3C%C3%9F%3E"),
        ('http://h/a"b`{c}?d"e', "h", 80, "/a%22b%60%7Bc%7D?d%22e"),
        ("http://h/a\x00\x7f", "h", 80, "/a%00%7F"),
        ("http:\\\\h\\a\\b?c\\d", "h", 80, "/a/b?c\\d"),
        ("http://[::1]:81/x", "::1", 81, "/x"),
        ("http://[2001:DB8::1]/x", "2001:db8::1", 80, "/x"),
        ("http://bücher.example/x", "xn--bcher-kva.example", 80, "/x"),
        ("http://ex%61mple.org/", "example.org", 80, "/"),
        ("http://\uff11\uff12\uff17.0.0.1/", "127.0.0.1", 80, "/"),
        ("http://good.example\\@127.0.0.1/", "good.example", 80, "/@127.0.0.1/"),
        ("http://u:p@h/x", "h", 80, "/x"),
        ("http://good.example:80@127.0.0.1/", "127.0.0.1", 80, "/"),
    ],
)
def test_the_rest_is_what_a_browser_would_ask_for(written: str, host: str, port: int, target: str) -> None:
    address = parse_address(written)
    assert (address.host, address.port, address.target) == (host, port, target)
    assert (address.url.raw_host, address.url.port) == (host, port)
    assert not address.url.user


@pytest.mark.parametrize(
    "written",
    [
        "", "x", "/x", "http:", "http://", "http:///x", "http://?x", "http:x", "ftp://h/", "file:///x", "javascript:1",
        "http://h:x/", "http://h:0/", "http://h:65536/", "http://h:-1/", "http://h o/", "http://[::1/", "http://[x]/",
        "http://a%20b/", "http://a%2Fb/", "http://u@/", "http://[::1]x/", "http://h:\uff180/",
    ],
)  # fmt: skip
def test_what_is_no_url_of_the_web(written: str) -> None:
    with pytest.raises(ValueError):
        parse_address(written)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://other/x%2Fy?z%3A", "https://other/x%2Fy?z%3A"),
        ("//other:81/x%2Fy?", "http://other:81/x%2Fy?"),
        ("/x%2Fy?z=%27", "http://h/x%2Fy?z=%27"),
        ("/x/../y", "http://h/x/../y"),
        ("y%2Fz", "http://h/a/b%2Fc/y%2Fz"),
        ("./y?q", "http://h/a/b%2Fc/y?q"),
        ("../y", "http://h/a/y"),
        ("../../../y", "http://h/y"),
        ("..", "http://h/a/"),
        (".", "http://h/a/b%2Fc/"),
        ("?q=%2F", "http://h/a/b%2Fc/d?q=%2F"),
        ("?", "http://h/a/b%2Fc/d?"),
        ("#there", "http://h/a/b%2Fc/d?e=%2F"),
        ("", "http://h/a/b%2Fc/d?e=%2F"),
        ("\\\\other\\x", "http://other/x"),
        ("y z", "http://h/a/b%2Fc/y%20z"),
        ("/caf\udcc3\udca9", "http://h/caf%C3%A9"),
        ("/caf\udce9", "http://h/caf%E9"),
        ("/x#part", "http://h/x"),
    ],
)
def test_redirects(location: str, url: str) -> None:
    found = parse_address("http://h/a/b%2Fc/d?e=%2F#f").follow(location)
    expected = parse_address(url)
    assert (found.scheme, found.host, found.port, found.target) == (
        expected.scheme, expected.host, expected.port, expected.target)  # fmt: skip


def test_credentials_are_a_header_and_stay_at_their_server() -> None:
    address = parse_address("http://us%65r:p%40ss%C3%A9@h/x")
    assert address.headers == {"Authorization": "Basic dXNlcjpwQHNzw6k="}
    assert address.follow("/y").headers == address.headers
    assert address.follow("http://other/y").headers == {}
    assert address.follow("//other/y").headers == {}
    assert parse_address("http://h/x").headers == {}
