"""Vaultless tokens: FF1 of the value under a field key, nothing stored.

The token looks like the value and turns back into it with the same key, tenant, field and template.
There is no integrity: a token made up, or presented with another key version, turns into a plausible
value and nobody can tell. See docs/explanation/fpe-limits.md.

Many values go together where they can: in columns of bytes if the template can sort them by layout
(`formats.columnar`) or make numbers of them (`formats.column`), else taken apart one by one and transformed
in groups. What is refused, and why, is the same in each of these ways.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vault.context import TAG_FIELD, TAG_KEPT, TAG_TEMPLATE, TAG_TENANT, canonical
from vault.crypto.ff1 import MIN_DOMAIN
from vault.crypto.ff1_batch import COLUMNS_FROM, SCALAR_BELOW, FF1Batch
from vault.crypto.texts import Bytes, Places, Texts
from vault.errors import CoatcheckError, ValueRefused
from vault.formats.column import CharRows
from vault.formats.columnar import all_members, kept_rows, layouts, text_columns
from vault.formats.template import MAX_SPEC, Reversible, Shape, Template, require_domain
from vault.secret import Secret
from vault.tokens.columns import Turning
from vault.tokens.lines import Lines, strings_of, wide_texts

# With these and MAX_SPEC, MAX_KEPT_BYTES the widest tweak is
# 1 + 4 * 5 + 63 + 64 + (64 + 2) + 33 = 247 bytes, under FF1's bound of 256.
MAX_TENANT: Final = 63  # bytes
MAX_FIELD: Final = 64  # bytes
_CIPHERS: Final = 16  # alphabets of one template

Refused = dict[int, CoatcheckError]
"""What is wrong with values, by their index."""


class Vaultless:
    """Tokenizes the values of one field under one key version. Safe to share between threads.

    Args:
        key: the field key, 16, 24 or 32 bytes.
        tenant: the tenant's name, at most 63 bytes of UTF-8.
        field: the field's name, at most 64 bytes of UTF-8.
        template: what values of the field look like; one that FF1 can reverse.

    Raises:
        ValueError: a name is empty or too long, the template is not for FF1, or the key is not for AES.
    """

    __slots__ = ("_bare", "_cipher", "_head", "_template")

    def __init__(self, key: Secret, tenant: str, field: str, template: Template) -> None:
        if not template.reversible_by_ff1:
            raise ValueError("the template is not one that FF1 can reverse")
        if not 0 < len(tenant.encode()) <= MAX_TENANT or not 0 < len(field.encode()) <= MAX_FIELD:
            raise ValueError("a tenant has 1 to 63 bytes, a field 1 to 64")
        if len(template.spec) > MAX_SPEC:
            raise ValueError("a template's spelling has at most 64 characters")
        self._template = template
        self._cipher: Callable[[str], FF1Batch] = lru_cache(_CIPHERS)(lambda text: FF1Batch(key, text))
        self._head = canonical(
            (
                (TAG_TENANT, tenant.encode()),
                (TAG_FIELD, field.encode()),
                (TAG_TEMPLATE, template.spec.encode() + template.version.to_bytes(2, "big")),
            ),
        )
        self._bare = self._head + _kept_part(b"")
        FF1Batch(key, "01")  # a key that is none is told of here

    def tokenize(self, value: str) -> str:
        """The token of a value: the same for the same value, always.

        Raises:
            ValueRefused: what the template refuses; `domain_too_small`, there are fewer than 1,000,000
                values of this shape.
        """
        shape = self._template.parse(value)
        require_domain(shape)
        return self._template.render_token(shape, self._turn(shape, decrypt=False))

    def detokenize(self, token: str) -> str:
        """The value of a token; a plausible one if the token is not of this field and key version.

        Raises:
            ValueRefused: as `tokenize`, by the template's rule for tokens.
        """
        shape = self._template.parse_token(token)
        require_domain(shape)
        return self._template.render_value(shape, self._turn(shape, decrypt=True))

    def tokenize_many(self, values: Sequence[str | None]) -> tuple[list[str | None], Refused]:
        """The tokens of values, in order; None for None, and for what is refused, with the reasons."""
        return self._many(values, decrypt=False)

    def detokenize_many(self, tokens: Sequence[str | None]) -> tuple[list[str | None], Refused]:
        """The values of tokens, in order; None for None, and for what is refused, with the reasons."""
        return self._many(tokens, decrypt=True)

    def tokenize_texts(self, texts: Texts, out: Bytes) -> Places:
        """Writes the tokens of ASCII texts to their places in another buffer.

        Returns:
            Which texts are left, in order: they are for `tokenize`, which may refuse them.
        """
        return self._texts(texts, out, decrypt=False)

    def detokenize_texts(self, texts: Texts, out: Bytes) -> Places:
        """The inverse of `tokenize_texts`; what is left is for `detokenize`."""
        return self._texts(texts, out, decrypt=True)

    # One value

    def _turn(self, shape: Shape, *, decrypt: bool) -> str:
        characters = shape.alphabet.characters
        ff1 = self._cipher(characters).one
        turn = ff1.decrypt_str if decrypt else ff1.encrypt_str
        tweak = self._tweak(shape)
        text = turn(shape.text, characters, tweak)
        while not shape.takes(text):  # cycle walking: at most every second number of so many bits is none
            text = turn(text, characters, tweak)
        return text

    def _tweak(self, shape: Shape) -> bytes:
        """The canonical encoding of tenant, field, template and kept characters; at most 256 bytes.

        Of what a caller sends only characters that the token shows anyway get in, by position.
        """
        kept = shape.kept_bytes()
        return self._head + _kept_part(kept) if kept else self._bare

    # Many values

    def _many(self, given: Sequence[str | None], *, decrypt: bool) -> tuple[list[str | None], Refused]:
        if len(given) < SCALAR_BELOW:
            return self._each(given, range(len(given)), [None] * len(given), decrypt=decrypt)
        template = self._template
        worth = COLUMNS_FROM
        if isinstance(template, Reversible) and template.in_columns:
            worth = template.columns_from
            if len(given) >= worth:
                return self._in_columns(template, given, decrypt=decrypt)
        if not isinstance(template, Reversible) or (template.classes is None and len(given) < COLUMNS_FROM):
            return self._in_groups(given, decrypt=decrypt)
        if template.classes is None and not template.in_columns:
            return self._in_groups(given, decrypt=decrypt)
        if len(given) < worth:
            return self._each(given, range(len(given)), [None] * len(given), decrypt=decrypt)
        lines = Lines.of(given)
        out = lines.like()
        left = self._texts(lines.texts, out, decrypt=decrypt)
        rest = sorted([*lines.others, *lines.in_list(left)])
        return self._each(given, rest, lines.strings(out), decrypt=decrypt)

    def _each(
        self, given: Sequence[str | None], places: Sequence[int], made: list[str | None], *, decrypt: bool
    ) -> tuple[list[str | None], Refused]:
        """Those at some places, one by one, into `made`."""
        turn = self.detokenize if decrypt else self.tokenize
        refused: Refused = {}
        for place in places:
            one = given[place]
            made[place] = None
            if one is not None:
                try:
                    made[place] = turn(one)
                except CoatcheckError as refusal:
                    refused[place] = refusal
        return made, refused

    def _in_columns(
        self, template: Reversible, given: Sequence[str | None], *, decrypt: bool
    ) -> tuple[list[str | None], Refused]:
        """In columns that the template makes, as far as it does."""
        lines = Lines.of(given)
        made: list[str | None] = [None] * len(given)
        left = []
        parts = [(lines.texts, lines.places or range(len(given)))]
        if template.in_columns == "unicode" and len(lines.others) >= COLUMNS_FROM:
            parts.append((wide_texts([given[place] or "" for place in lines.others]), lines.others))
        else:
            left += lines.others
        for texts, places in parts:
            done = np.zeros(len(texts.starts), bool)
            for width, at in texts.by_width():
                for rows, written in self._columns(template, texts, width, at, decrypt=decrypt):
                    if len(rows) == len(given):  # as they are, for columns have rows in order
                        return [*strings_of(written)], {}
                    done[rows] = True
                    for row, text in zip(rows.tolist(), strings_of(written), strict=True):
                        made[places[row]] = text
            left += [places[row] for row in np.flatnonzero(~done).tolist()]
        if not left:
            return made, {}
        left.sort()
        rest, refused = self._many_others([given[place] for place in left], decrypt=decrypt)
        for place, one in zip(left, rest, strict=True):
            made[place] = one
        return made, {left[place]: refusal for place, refusal in refused.items()}

    def _many_others(self, given: Sequence[str | None], *, decrypt: bool) -> tuple[list[str | None], Refused]:
        """Those that are in no column."""
        if len(given) < SCALAR_BELOW:
            return self._each(given, range(len(given)), [None] * len(given), decrypt=decrypt)
        return self._in_groups(given, decrypt=decrypt)

    def _columns(
        self, template: Reversible, texts: Texts, width: int, at: Places, *, decrypt: bool
    ) -> Iterator[tuple[Places, CharRows]]:
        """(which texts, what they turn into) of some texts, without those that are in no column."""
        if len(at) < COLUMNS_FROM:
            return
        rows = texts.padded(at, min(width, int(texts.lengths[at].max())))
        full = np.count_nonzero(rows, axis=1) == texts.lengths[at]
        if not full.all():  # a zero of their own
            at, rows = at[full], rows[full]
        turning = Turning(self._cipher, _kept_part, self._head, decrypt)
        for column in template.columns(rows, token=decrypt):
            places, written = turning.rows(column)
            yield at[places], written

    def _in_groups(self, given: Sequence[str | None], *, decrypt: bool) -> tuple[list[str | None], Refused]:
        """Taken apart one by one, and transformed together where alphabet and length agree."""
        template = self._template
        parse = template.parse_token if decrypt else template.parse
        render = template.render_value if decrypt else template.render_token
        made: list[str | None] = [None] * len(given)
        refused: Refused = {}
        groups: dict[tuple[str, int, int], list[tuple[int, Shape]]] = defaultdict(list)
        for place, one in enumerate(given):
            if one is None:
                continue
            try:
                shape = parse(one)
                require_domain(shape)
            except CoatcheckError as refusal:
                refused[place] = refusal
            else:
                key = (shape.alphabet.characters, len(shape.text), shape.ranks)
                groups[key].append((place, shape))
        for group in groups.values():
            texts = self._turn_group([shape for _, shape in group], decrypt=decrypt)
            for (place, shape), text in zip(group, texts, strict=True):
                try:
                    made[place] = render(shape, text)
                except CoatcheckError as refusal:
                    refused[place] = refusal
        return made, refused

    def _turn_group(self, shapes: list[Shape], *, decrypt: bool) -> list[str]:
        """The texts of shapes of one alphabet, length and count."""
        cipher = self._cipher(shapes[0].alphabet.characters)
        turn = cipher.decrypt if decrypt else cipher.encrypt
        tweaks = [_kept_part(shape.kept_bytes()) for shape in shapes]
        texts = turn([shape.text for shape in shapes], tweaks, self._head)
        walking = [place for place, text in enumerate(texts) if not shapes[0].takes(text)]
        while walking:
            on = turn([texts[place] for place in walking], [tweaks[place] for place in walking], self._head)
            for place, text in zip(walking, on, strict=True):
                texts[place] = text
            walking = [place for place in walking if not shapes[0].takes(texts[place])]
        return texts

    def _texts(self, texts: Texts, out: Bytes, *, decrypt: bool) -> Places:
        template = self._template
        done = np.zeros(len(texts.starts), bool)
        if not isinstance(template, Reversible) or not template.keeps_layout:
            return np.flatnonzero(~done)
        if template.in_columns:
            for width, some in texts.by_width():
                for places, written in self._columns(template, texts, width, some, decrypt=decrypt):
                    if written.itemsize > 1:
                        continue  # an alphabet that goes beyond ASCII
                    texts.put_characters(out, places, written)
                    done[places] = True
            return np.flatnonzero(~done)
        if template.classes is None:
            return np.flatnonzero(~done)
        for width, at in texts.by_length():
            if not width:
                continue
            rows, view = texts.rows(at, width), texts.view(out, at, width)
            made = np.empty_like(rows) if view is None else view
            ready = self._rows(template, rows, made, decrypt=decrypt)
            if view is None:
                texts.put(out, at, made)
            done[at] = ready
        return np.flatnonzero(~done)

    def _rows(self, template: Reversible, rows: Bytes, made: Bytes, *, decrypt: bool) -> NDArray[np.bool_]:
        """Writes what rows of one length turn into, and says which did; others become zeros."""
        ready = np.zeros(len(rows), bool)
        for at, shape in layouts(template, rows, COLUMNS_FROM, token=decrypt):
            if shape.ranks or shape.size < MIN_DOMAIN:
                continue
            if len(at) == len(rows) and self._layout(template, rows, made, shape, decrypt=decrypt):
                ready[:] = True
                return ready
            members = at[all_members(template, shape, rows[at])]
            some = rows[members]
            turned = np.empty_like(some)
            if len(some) and self._layout(template, some, turned, shape, decrypt=decrypt):
                made[members], ready[members] = turned, True
        made[~ready] = 0
        return ready

    def _layout(self, template: Reversible, rows: Bytes, made: Bytes, shape: Shape, *, decrypt: bool) -> bool:
        """Writes what rows of one layout turn into; False where one has a character that values have not."""
        cipher = self._cipher(shape.alphabet.characters)
        turn = cipher.decrypt_matrix if decrypt else cipher.encrypt_matrix
        columns = text_columns(template, shape)
        kept = kept_rows(rows, shape)
        tweak = _kept_part(kept) if isinstance(kept, bytes) else _kept_parts(kept)
        try:
            turned = turn(rows[:, columns], tweak, self._head)
        except ValueRefused:
            return False
        made[:] = rows
        made[:, columns] = turned
        template.complete(made, shape, token=not decrypt)
        return True


def _kept_part(kept: bytes) -> bytes:
    """TAG_KEPT as it continues `_head`: its tag is the last, so the encoding is one after the other."""
    return canonical(((TAG_KEPT, kept),))[1:]


def _kept_parts(kept: Bytes) -> Bytes:
    """The same for a matrix of kept bytes, which have one length."""
    head = np.frombuffer(_kept_part(bytes(kept.shape[1]))[: -kept.shape[1]], np.uint8)
    parts = np.empty((len(kept), len(head) + kept.shape[1]), np.uint8)
    parts[:, : len(head)] = head
    parts[:, len(head) :] = kept
    return parts
