"""Every format of every draft is checked."""

from __future__ import annotations

import time

import pytest

from gemma_structured.schema import JsonSchema
from gemma_structured.schema.formats import FORMATS
from gemma_structured.schema.validator import compile_validator

VALID = {
    "email": [
        "joe.bloggs@example.com",
        "te~st@example.com",
        '"joe bloggs"@example.com',
        "joe.bloggs@[127.0.0.1]",
        "joe.bloggs@[IPv6:::1]",
    ],
    "ipv6": ["::1", "::", "1:2:3:4:5:6:7:8", "1::d6:192.168.0.1", "1:2:3:4:5:6:7::"],
    "ipv4": ["192.168.0.1", "0.0.0.0"],
    "uri": [
        "http://foo.bar/?baz=qux#quux",
        "http://-.~_!$&'()*+,;=:%40:80%2f::::::@example.com",
        "ldap://[2001:db8::7]/c=GB?objectClass?one",
        "tel:+1-816-555-1212",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
        "a:",
    ],
    "uri-reference": ["//foo.bar/?baz=qux#quux", "/abc", "abc", "?a", "#f", "", "./a:b"],
    "iri": ["http://ƒøø.ßår/?∂éœ=πîx#πîüx", "http://[2001:0db8::7334]"],
    "iri-reference": ["âππ", "#ƒrägmênt", "/âππ"],
    "uri-template": ["http://a/{term:1}/{term}", "http://a/dictionary", "{/id*}", "{?x,y}", "é"],
    "json-pointer": ["/foo/bar~0/baz~1/%a", "", "/", "/foo//bar"],
    "relative-json-pointer": ["1", "0/foo/bar", "0#", "120/foo"],
    "duration": ["P4DT12H30M5S", "P4Y", "PT0S", "PT36H", "P1DT12H", "P2W"],
    "uuid": ["2EB8AA08-AA98-11EA-B4AA-73B441D16380"],
    "hostname": ["www.example.com", "xn--4gbwdl.xn--wgbh1c", "a", "1host", "a" * 63],
    "idn-hostname": ["실례.테스트", "example.com", "faß.de"],
    "idn-email": ["실례@실례.테스트", "joe.bloggs@example.com"],
    "date": ["1963-06-19", "2020-02-29"],
    "time": ["08:30:06Z", "23:59:60Z", "15:59:60-08:00", "01:29:60+01:30", "08:30:06.283185z"],
    "date-time": ["1963-06-19T08:30:06.283185Z", "1990-12-31T15:59:60.123-08:00"],
    "regex": [r"([abc])+\s+$", r"\p{L}"],
}
INVALID = {
    "email": ["2962", "", ".a@b.c", "a.@b.c", "a..b@c.d", "a@b=c.d", "a@[127.0.0.300]", "@b", "a@"],
    "ipv6": ["12345::", "1:2:3:4:5:6:7", "1::2::3", "fe80::a%eth1", "::1/64", "1:2:3:4:5:6:7:৪"],
    "ipv4": ["127.0.0.0.1", "256.1.1.1", "127.0", "0x7f000001", "087.10.0.1", "1২7.0.0.1"],
    "uri": ["//foo.bar/", "/abc", "abc", "", "http:// a.b", "bar,baz:x", "https://[@a/x", "a:^"],
    "uri-reference": ["\\\\WINDOWS\\share", "#frag\\ment", "1a:b", "é", "a b"],
    "iri": ["http://2001:0db8:85a3::7334", "/abc", "âππ", "http:// ƒ.com"],
    "iri-reference": ["\\\\WINDOWS\\filëßåré", "#ƒräg\\mênt"],
    "uri-template": ["http://a/{term:1}/{term", "{", "}", "{}", "{a b}", "%zz"],
    "json-pointer": ["/foo/bar~", "a", "#/", "/~2"],
    "relative-json-pointer": ["/foo", "-1/foo", "0##", "01/a", "", "+1/a"],
    "duration": ["PT1D", "P", "P1YT", "PT", "P1D2H", "P2S", "P1Y2W", "P1", "P2৪", "P1.5D", "P1Y2D"],
    "uuid": ["2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98-11ea-b4ga-73b441d16380", ""],
    "hostname": ["-a-", "not_valid", "a" * 64, "", "a.", "a..b", "xn--X", "실례.com", "é" * 99],
    "idn-hostname": ["〮실례.테스트", "-> $1.00 --", "-hello", "a\u00b7l", "", "a" * 300],
    "idn-email": ["2962", "실례@", "@실례"],
    "date": [
        "06/19/1963",
        "2020-11-31",
        "1963-6-19",
        "20230328",
        "2023-W01",
        "1963-06-1৪",
        "2020-01-01\n",
    ],
    "time": ["24:00:00Z", "00:60:00Z", "22:59:60Z", "12:00:00", "01:02:03+24:00", "1২:00:00Z"],
    "date-time": ["1990-02-31T15:59:59Z", "1963-06-19T08:30:06", "1963-06-19 08:30:06Z", "x"],
    "regex": ["^(abc]", r"\a", r"^a\Z"],
}


def test_every_format_has_examples():
    """No format goes untested."""
    assert VALID.keys() == INVALID.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_format(name):
    """A format takes what its specification takes, and nothing else."""
    assert [text for text in VALID[name] if not FORMATS[name](text)] == []
    assert [text for text in INVALID[name] if FORMATS[name](text)] == []


DRAFTS = [
    "http://json-schema.org/draft-03/schema#",
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("draft", DRAFTS)
def test_each_draft_asserts_it(draft, name):
    """Validation asserts each format under each draft, and leaves what is no string alone."""
    validator = compile_validator(JsonSchema({"$schema": draft, "format": name}))
    is_clock = name == "time" and "draft-03" in draft
    assert validator.is_valid("12:00:00" if is_clock else VALID[name][0])
    assert not validator.is_valid("25:00:00" if is_clock else INVALID[name][0])
    assert validator.is_valid(7)


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        ("color", "#fA0", "#ff"),
        ("color", "Teal", "tea"),
        ("host-name", "a.b", "a_b"),
        ("ip-address", "1.2.3.4", "1.2.3"),
    ],
)
def test_formats_of_draft_3(name, valid, invalid):
    """Draft 3 has formats of its own."""
    schema = {"$schema": DRAFTS[0], "format": name}
    validator = compile_validator(JsonSchema(schema))
    assert validator.is_valid(valid)
    assert not validator.is_valid(invalid)


def test_unknown_format_is_an_annotation():
    """A format that no draft defines is not asserted."""
    assert compile_validator(JsonSchema({"format": "int32"})).is_valid("x")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_format_runs_away(name):
    """Long text is told in bounded time."""
    for text in ("http://a.b/" + "c" * 100_000, "a." * 50_000, "1" * 100_000 + "@", "/~0" * 40_000):
        before = time.perf_counter()
        FORMATS[name](text)
        assert time.perf_counter() - before < 1
