"""Distinguished names: read as RFC 4514 writes them, with the fields of Russian certificates."""

import pytest
from asn1crypto import x509
from hypothesis import given
from hypothesis import strategies as st

from host_tools.pki.errors import BadName
from host_tools.pki.names import FIELDS, format_name, parse_name

SBERBANK = "CN=ПАО Сбербанк,O=ПАО Сбербанк,ИННЮЛ=7707083893,ОГРН=1027700132195,C=RU"


@pytest.mark.parametrize(
    "text",
    [
        "CN=Ann Lee,O=Acme,C=GB",
        "CN=Иванов Иван Иванович,SN=Иванов,GN=Иван Иванович,T=Директор,C=RU",
        "CN=a\\,b\\+c\\=d,OU=\\ blanks\\ ,STREET=ул. Ленина\\, 1",
        "CN=Ann+UID=ann,DC=example,DC=com",
        "1.2.3.4=made up,email=ann@example.com",
    ],
)
def test_a_name_is_shown_as_it_was_written(text: str) -> None:
    assert format_name(x509.Name.load(parse_name(text).dump())) == text


def test_what_is_written_last_comes_first() -> None:
    first, *_, last = parse_name("CN=Ann Lee,O=Acme,C=GB").chosen
    assert first[0]["type"].native == "country_name"
    assert first[0]["value"].chosen.tag == 19  # PrintableString, RFC 5280 A.1
    assert last[0]["type"].native == "common_name"
    assert last[0]["value"].chosen.tag == 12  # UTF8String


def test_russian_numbers_have_their_identifiers_and_are_numeric_strings() -> None:
    name = parse_name(SBERBANK)
    found = {
        part[0]["type"].dotted: (part[0]["value"].tag, part[0]["value"].native)
        for part in name.chosen
        if part[0]["type"].dotted.startswith("1.2.643")
    }
    assert found == {
        "1.2.643.100.4": (18, "7707083893"),
        "1.2.643.100.1": (18, "1027700132195"),
    }
    assert "INNLE=7707083893,OGRN=1027700132195" in format_name(name)


@pytest.mark.parametrize("text", ["СНИЛС=112-233-445 95", "snils=11223344595"])
def test_a_number_may_be_written_in_groups(text: str) -> None:
    assert format_name(parse_name(text)) == "SNILS=11223344595"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ИНН=500100732259", "ИНН=500100732258"),
        ("ИНН=007707083893", "ИНН=007707083894"),
        ("ИННЮЛ=7707083893", "ИННЮЛ=7707083892"),
        ("СНИЛС=11223344595", "СНИЛС=11223344596"),
        ("ОГРН=1027700132195", "ОГРН=1027700132196"),
        ("ОГРНИП=304500116000157", "ОГРНИП=304500116000158"),
    ],
)
def test_wrong_check_digits_are_told_and_can_be_let_through(right: str, wrong: str) -> None:
    parse_name(right)
    with pytest.raises(BadName, match="check digits") as caught:
        parse_name(wrong)
    assert "--any-numbers" in caught.value.hint
    parse_name(wrong, checked=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no name", "no part of a name"),
        ("", "no part of a name"),
        ("CN=Ann,", "no part of a name"),
        ("CN=", "is empty"),
        ("XX=1", "no field XX"),
        ("C=RUS", "two letters"),
        ("ИНН=77070838", "12 digits"),
        ("ОГРН=102770013219x", "13 digits"),
        ("serialNumber=№ 5", "Latin letters"),
        ("CN=\\ff", "UTF-8"),
    ],
)
def test_what_is_no_name_is_told_what_it_lacks(text: str, said: str) -> None:
    with pytest.raises(BadName, match=said):
        parse_name(text)
    with pytest.raises(BadName, match=said):
        parse_name(text, checked=False)


FREE = [field.type for field in FIELDS if not field.digits and not field.printable]
FREE = [name for name in FREE if name not in ("domain_component", "email_address")]


@given(st.dictionaries(st.sampled_from(FREE), st.text(min_size=1), min_size=1))
def test_every_value_survives_being_shown_and_read(fields: dict[str, str]) -> None:
    name = x509.Name.build(fields)
    assert parse_name(format_name(name)).dump() == name.dump()
