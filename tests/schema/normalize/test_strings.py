"""Strings: patterns of ECMA-262, formats, lengths in code points."""

from __future__ import annotations

import json

import pytest

from gemma_structured.schema.dialect import DEFAULT_DIALECT
from gemma_structured.schema.formats import format_checker
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.normalize.formats import FORMATS
from gemma_structured.schema.normalize.regex.names import matches

SAMPLES = {
    "date": ["2020-02-29", "2019-02-29", "1900-02-29", "2000-02-29", "0000-01-01", "2020-1-1"],
    "date-time": [
        "2020-02-29T23:59:59Z",
        "2020-02-29T23:59:60Z",
        "2020-02-29T12:00:60Z",
        "2020-02-29t00:00:00.5-23:59",
        "2020-02-29 00:00:00Z",
        "2020-02-30T00:00:00Z",
    ],
    "time": ["12:00:00Z", "12:00:00", "24:00:00Z", "23:59:60+00:00", "12:00:00.25+01:30"],
    "duration": ["P1Y2M3D", "P1Y3D", "PT1H2M", "PT1H2S", "P1W", "P", "PT", "P1.5Y"],
    "email": [
        "a" * 65 + "@b.c",
        "a@" + "b" * 64,
        "a@xn--b",
        "a@b-.c",
        "a@b.c",
        '"a b"@c.d',
        "a@[1.2.3.4]",
        "a@[IPv6:::1]",
        "a@b c",
        "@b",
        "a@-b",
        "é@b.c",
    ],
    "hostname": ["a.b-c.d", "-a.b", "a_b", "a" * 63, "a" * 64, "", "a..b"],
    "ipv4": ["1.2.3.4", "256.1.1.1", "01.2.3.4", "1.2.3"],
    "ipv6": [
        "::",
        "1::8",
        "1:2:3:4:5:6:7::",
        "::ffff:1.2.3.4",
        "1:2:3:4:5:6::8",
        ":::",
        "fe80::1%a",
    ],
    "uri": [
        "http://a/b?c#d",
        "urn:a",
        "//a",
        "http://a b",
        "http://[::1]:80/",
        "http://a/%4",
        "a:",
    ],
    "uri-reference": ["", "../a", "#a", "a b", "//a:1"],
    "iri": ["http://é/é?é", "http://a b", "é:a"],
    "iri-reference": ["é", "//é", "é é"],
    "uuid": ["2eb8aa08-AA98-11ea-b4aa-73b441d16380", "2eb8aa08aa9811eab4aa73b441d16380"],
    "json-pointer": ["", "/a~0~1", "/~2", "a"],
    "relative-json-pointer": ["0", "1/a", "01", "1#", "-1"],
    "regex": ["a", "["],
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in SAMPLES.items() for t in texts])
def test_formats_agree_with_validation(name, text):
    """A format's pattern admits what validation admits; only a loose one admits more."""
    form = FORMATS[name]
    admitted = matches(form.pattern, text) and (form.most is None or len(text) <= form.most)
    valid = format_checker(DEFAULT_DIALECT).conforms(text, name)
    assert admitted or not valid
    assert valid or not admitted or form.loose


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_formats_are_enforced(law, name):
    """The mask enforces each format, and reports the loose ones."""
    schema = {"type": "string", "format": name}
    law(schema, *SAMPLES[name], exact=not FORMATS[name].loose)


def test_unknown_formats_are_annotations(law):
    """A format that no draft defines says nothing."""
    assert law({"type": "string", "format": "path"}).schema.value == {"type": "string"}


def test_formats_may_be_annotations():
    """Where formats are not asserted, the mask admits every text."""
    schema = JsonSchema({"type": "string", "format": "date"})
    annotated = JsonSchema(schema.value, formats="annotation")
    assert normalize(annotated).schema.value == {"type": "string"}


@pytest.mark.parametrize(
    "pattern",
    [
        "^a|b$",
        r"\d",
        r"^\w+$",
        r"^[\w-.]+$",
        r"^\S*$",
        r"^.$",
        r"^(?=.*[a-c])(?=.*\d).{2,5}$",
        r"^(?!ab)[a-z]*$",
        r"^((?!b).)*$",
        r"(?<=a)b",
        r"\bab\b",
        r"^(a|b$)c?",
        r"^\u0061[\u{62}-d]*$",
        r"^\p{Lu}",
        r"^[^\p{L}]*$",
        "^a{2,3}b*?$",
        r"^\/\_\@$",
        "^[^]$",
    ],
)
def test_patterns_are_those_of_ecma_262(law, pattern):
    """The mask reads a pattern as validation does: classes, anchors, lookaround, escapes."""
    texts = ["a\n", "\u0663", "\ufeff", "\u0085", "\u2028", "x y", "a-b", "É", "aab", "a.1", "/_@"]
    law({"type": "string", "pattern": pattern}, *texts)


def test_backreferences_are_residual(law):
    """What is no regular language is left to validation."""
    normalized = law({"type": "string", "pattern": r"^(a|b)\1$"}, "aa", "ab", exact=False)
    assert normalized.residual == (("", "pattern"),)


def test_lengths_count_code_points(law):
    """A character outside the basic plane is one."""
    law({"type": "string", "minLength": 2, "maxLength": 2}, "😀😀", "😀", "😀😀😀", "é\n")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^.{2}$"},
        {"type": "string", "pattern": "^[😀-😂]+$", "maxLength": 2},
        {"type": "string", "pattern": r"^\u{1F600}\p{L}$"},
        {"type": "string", "pattern": r"^\ud83d\ude00$"},
        {"type": "object", "propertyNames": {"minLength": 2, "maxLength": 2}},
        {
            "type": "object",
            "patternProperties": {"^.$": {"const": 1}},
            "additionalProperties": False,
        },
        {"type": "object", "properties": {'😀"\\\n': {"const": 1}}, "required": ['😀"\\\n']},
    ],
)
def test_patterns_and_names_count_code_points(law, schema):
    """A character outside the basic plane is one in patterns and in names, however it is escaped."""
    texts = ["😀", "😀😀", "😀😁😂", "😀é", "éx"]
    names = [{text: 1} for text in texts]
    law(schema, *texts, *names, {'😀"\\\n': 1}, {'😀"\\\n': 2}, {"😀": 2})


def test_texts_are_escaped_where_json_wants_it(mask):
    """Control characters, quotes and backslashes are written as escapes; nothing else is."""
    written = mask({"type": "string", "maxLength": 2})
    for text in ("\x00", "\x1f", '"', "\\", "\n", "\u2028", "😀"):
        assert written.accepts_text(json.dumps(text, ensure_ascii=False)), text
    assert written.accepts_text(r'"\u007f"')
    for text in ('"\\u0041"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\n"', '"\\x41"'):
        assert not written.accepts_text(text), text


def test_lengths_beside_patterns(law):
    """A length that one pattern leaves open is enforced, that several leave open is validated."""
    law({"type": "string", "pattern": "^[a-z]*$", "minLength": 2, "maxLength": 3})
    both = {"type": "string", "pattern": "^a", "allOf": [{"pattern": "b$"}]}
    law(both | {"minLength": 1}, "ab", "axxb")
    assert law(both | {"maxLength": 3}, "ab", "axxxb", exact=False).residual == (("", "maxLength"),)


@pytest.mark.parametrize(
    ("patterns", "exact"),
    [
        (["a", "b", "c", "d"], True),
        (["^[^A]*$", "^[^B]*$", "^[^C]*$", "^[^D]*$", "^[^E]*$", "^[^F]*$"], True),
        (list("abcdefghi"), False),
        ([chr(97 + n) for n in range(26)], False),
        ([f"{letter}.{{{n}}}$" for n, letter in enumerate("abcdefg")], False),
        ([f"(foo|bar)[0-9]+{letter}" for letter in "abcdef"], False),
        ([f"^(a|b)*a(a|b){{{n}}}$" for n in (9, 12, 15)], False),
    ],
)
def test_many_patterns_are_enforced_as_far_as_can_be(law, make_mask, patterns, exact):
    """What the engine could not search is left to validation, and the schema still compiles."""
    schema = {"type": "string", "allOf": [{"pattern": pattern} for pattern in patterns]}
    normalized = law(schema, "dcba", "abcdefghi", "foo1abcdef", "ab" * 9, exact=exact)
    assert {keyword for _, keyword in normalized.residual} == (set() if exact else {"pattern"})
    if not exact:
        assert not make_mask(normalized.schema).accepts("")


def test_a_long_minimum_beside_a_pattern_is_relaxed(law):
    """Llguidance cannot count far beside a pattern."""
    schema = {"type": "string", "pattern": "^a+( a+)*$", "minLength": 100}
    assert law(schema, "a" * 50, "a" * 100, exact=False).residual == (("", "minLength"),)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$", "not": {"pattern": "^(a*)*b$"}},
        {"type": "string", "pattern": "^(([a-z]{1,50} ){1,50}){1,50}$"},
        {"type": "string", "pattern": "(a|a)*" * 40},
        {"type": "string", "not": {"pattern": "^(a|b)*a(a|b){40}$"}},
        {"type": "string", "maxLength": 10**12},
    ],
)
def test_no_pattern_runs_away(mask, schema):
    """Patterns that would blow up are relaxed, in bounded time."""
    assert mask(schema) is not None
