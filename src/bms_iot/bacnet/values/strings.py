"""Character strings (ASHRAE 135 clause 20.2.9), also those whose character set is not what their first octet says."""

DBCS, JIS, UCS4, UCS2, LATIN1 = 1, 2, 3, 4, 5


def decode_text(octets: bytes) -> str:
    """The contents of a CharacterString, character set octet first, as text; never raises, never holds a lone surrogate.

    What the declared set cannot decode is tried as UTF-8 and taken as ISO 8859-1 at last, where every octet is a character.
    """
    if not octets:
        return ""
    charset, text = octets[0], octets[1:]
    for codec, candidate in _candidates(charset, text):
        try:
            return candidate.decode(codec)
        except (UnicodeError, LookupError):  # not of that set, or a code page nobody has
            continue
    return text.decode("latin-1")


def _candidates(charset: int, text: bytes) -> list[tuple[str, bytes]]:
    """Codecs to try, in order, with the octets each is to decode."""
    if charset == DBCS and len(text) >= 2:
        return [(f"cp{int.from_bytes(text[:2], 'big')}", text[2:]), ("utf-8", text[2:]), ("latin-1", text[2:])]
    if charset == JIS:
        # JIS X 0208 is two octets of seven bits; EUC-JP is the same with the eighth bit set.
        return [("euc_jp", bytes(octet | 0x80 for octet in text)), ("utf-8", text)]
    if charset == UCS4:
        return [("utf-32-be", text), ("utf-8", text)]
    if charset == UCS2:
        little = text.startswith(b"\xff\xfe")
        return [("utf-16-le" if little else "utf-16-be", text[2:] if little else text.removeprefix(b"\xfe\xff")), ("utf-8", text)]
    if charset == LATIN1:
        return []
    return [("utf-8", text)]
