"""The lines of a block to columns in one pass over its bytes, by code that numba compiles.

What belongs here: the compiled functions, and what they must be given. What does not: any import of the
package, when they are used (`accelerator`), and tables (`scanned_lines`). This module can be imported only
where numba is installed.

Eight bytes are taken at a time: those that begin at byte i of the memory at the address `words`, the first in
the lowest bits. What is searched for, copied, compared or hashed is so 64 bytes at a time, which LLVM makes
the processor's own way to do it: few texts are longer, so the processor seldom guesses wrong how often it
must go round.

Texts are numbered in the same pass: of each column only those are kept that are new in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from pipeline_assets.kernel.scan_layout import (
    AGENT,
    BATCH,
    COMBINED,
    COMMON,
    DIRECTIVE,
    DONE,
    EXTRA,
    FULL,
    HOST,
    IDENTITY,
    KEYS_AT,
    LARGEST_OFFSET_MINUTES,
    METHODS,
    MOST_DIGITS,
    MOST_LEFT,
    NGINX_MAIN,
    OVER,
    PROTOCOLS,
    REFERER,
    REQUEST,
    SECRETS,
    SLACK,
    SLOTS,
    STEP,
    TARGET,
    TEXTS,
    USER,
)

_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


def _word(text: str) -> int:
    return int.from_bytes(text.encode().ljust(8, b"\0"), "little")


# The seconds of a time, in the third of its words.
_SECONDS: Final = np.uint64(0xFFFF0000)
_WAYS: Final = len(METHODS) * len(PROTOCOLS)
_METHOD_WORDS: Final = np.array([_word(text) for text in METHODS], np.uint64)
_PROTOCOL_WORDS: Final = np.array([_word(text) for text in PROTOCOLS], np.uint64)
# What `extra` is where there is an X-Forwarded-For, in front of it and behind it.
_FORWARDED: Final = '{"forwarded_for":"'
_FORWARDED_BYTES: Final = len(_FORWARDED)
_FORWARDED_WORDS: Final = np.array([_word(_FORWARDED[at : at + 8]) for at in (0, 8, 16)], np.uint64)
_FORWARDED_END: Final = np.uint64(_word('"}'))
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_WORDS: Final = np.array([_word(text) for text in _MONTHS], np.uint64)
_MONTH_DAYS: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)

_LEAP_DAYS_BEFORE_1970: Final = 1969 // 4 - 1969 // 100 + 1969 // 400

# To compare or shift by a signed number would turn words into floating-point numbers.
_DASH: Final = np.uint64(0x2D)
_BLANK: Final = np.uint64(0x20)
_HASH: Final = np.uint64(0x23)
_FIELDS: Final = np.uint64(_word(DIRECTIVE))
_BRACKET: Final = np.uint64(0x5B)
_BACKSLASH: Final = np.uint64(0x5C)
_QUOTE: Final = np.uint64(0x22)
_LESS: Final = np.uint64(0x3C)
_BEFORE_REQUEST: Final = np.uint64(_word('] "'))
_DASH_QUOTE: Final = np.uint64(_word('-"'))
_QUOTE_BLANK: Final = np.uint64(_word('" '))
_BLANK_QUOTE: Final = np.uint64(_word(' "'))
_BETWEEN_QUOTED: Final = np.uint64(_word('" "'))
_TWO: Final = np.uint64(2)
_U6: Final = np.uint64(6)
_U8: Final = np.uint64(8)
_ONE: Final = np.uint64(1)
_ZERO: Final = np.uint64(0x30)
_ZEROS: Final = np.uint64(_word("0" * 8))
_LOW_BITS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
# What makes a byte one of 0x80 or more if it is ten or more.
_BEFORE_TEN: Final = np.uint64(0x7676767676767676)
_BYTE: Final = np.uint64(0xFF)
_HALF: Final = np.uint64(32)
_LOW_HALF: Final = np.uint64(0xFFFFFFFF)


# What numba generates code for has one argument more than its calls.
_code_for: Final[Callable[[Any], Any]] = intrinsic


def _pointer(builder: Any, base: Any, at: Any) -> Any:
    return builder.inttoptr(builder.add(base, at), ir.IntType(64).as_pointer())


@_code_for
def _loaded(typing: Any, base: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, *arguments), align=1)

    return types.uint64(types.uint64, types.uint64), code


@_code_for
def _stored(typing: Any, base: Any, at: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(builder, *arguments[:2]), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), code


@_code_for
def _mixed(typing: Any, one: Any, other: Any) -> Any:
    """Both halves of a product of 128 bits, folded."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))
        return builder.xor(high, builder.trunc(product, ir.IntType(64)))

    return types.uint64(types.uint64, types.uint64), code


@_code_for
def _wanted_soon(typing: Any, words: Any, number: Any) -> Any:
    """Tell the processor that of the words from an address on this one is read soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, short = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, short, short, short])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        first = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        place = builder.bitcast(builder.gep(first, [arguments[1]]), byte)
        # To read it, which is worth keeping, as data.
        builder.call(fetch, [place, *(ir.Constant(short, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64), code


def _bits(ask: Callable[[Any, Any], Any]) -> Any:
    """What gives a bit for each of the 64 bytes from a place on, the first in the lowest: what `ask` says."""

    def asked(typing: Any, base: Any, at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            found = ask(builder, _bytes_at(builder, builder.add(*arguments)))
            return builder.bitcast(found, ir.IntType(64))

        return types.uint64(types.uint64, types.uint64), code

    return _code_for(asked)


_BYTES: Final = ir.VectorType(ir.IntType(8), STEP)


def _place(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _BYTES.as_pointer())


def _bytes_at(builder: Any, address: Any) -> Any:
    return builder.load(_place(builder, address), align=1)


def _compared(builder: Any, how: str, found: Any, byte: int) -> Any:
    return builder.icmp_unsigned(how, found, ir.Constant(_BYTES, [byte] * STEP))


def _are_first(builder: Any, size: Any) -> Any:
    """Which of 64 bytes are among the first `size`."""
    nothing = ir.Constant(_BYTES, ir.Undefined)
    one = builder.insert_element(nothing, builder.trunc(size, ir.IntType(8)), ir.Constant(ir.IntType(32), 0))
    sizes = builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), STEP), [0] * STEP))
    return builder.icmp_unsigned("<", ir.Constant(_BYTES, list(range(STEP))), sizes)


# Quotes, blanks and control characters; quotes and control characters; bytes of 0x7F or above; line feeds.
_marks: Final = _bits(
    lambda builder, found: builder.and_(
        _compared(builder, "<", found, 0x23), _compared(builder, "!=", found, 0x21)
    )
)
_quotes: Final = _bits(
    lambda builder, found: builder.or_(
        _compared(builder, "<", found, 0x20), _compared(builder, "==", found, 0x22)
    )
)
_others: Final = _bits(lambda builder, found: _compared(builder, ">=", found, 0x7F))
_feeds: Final = _bits(lambda builder, found: _compared(builder, "==", found, 0x0A))


@_code_for
def _differing(typing: Any, one: Any, other: Any, size: Any) -> Any:
    """A bit for each of the first `size` bytes, up to 64, in which what begins at two addresses differs."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = [_bytes_at(builder, address) for address in arguments[:2]]
        differ = builder.icmp_unsigned("!=", *found)
        return builder.bitcast(builder.and_(differ, _are_first(builder, arguments[2])), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64, types.uint64), code


@_code_for
def _copied(typing: Any, to: Any, begin: Any) -> Any:
    """Copy 64 bytes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, begin = arguments
        builder.store(_bytes_at(builder, begin), _place(builder, to), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), code


@_code_for
def _summed(typing: Any, begin: Any, size: Any, keys: Any) -> Any:
    """The first `size`, up to 64, bytes from an address on as one number, by NH with 64 bytes of secret keys.

    Pairs of 32 bits are multiplied, and the products added (Black and others, "UMAC: Fast and Secure Message
    Authentication", 1999, section 4.1): two texts have the same by a chance of 2 to the power of -32.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        begin, size, keys = arguments
        half, whole = ir.VectorType(ir.IntType(32), 16), ir.VectorType(ir.IntType(64), 8)
        text = builder.select(
            _are_first(builder, size), _bytes_at(builder, begin), ir.Constant(_BYTES, [0] * STEP)
        )
        halves = builder.add(builder.bitcast(text, half), builder.bitcast(_bytes_at(builder, keys), half))
        pairs = builder.bitcast(halves, whole)
        low = builder.and_(pairs, ir.Constant(whole, [0xFFFFFFFF] * 8))
        sums = builder.mul(low, builder.lshr(pairs, ir.Constant(whole, [32] * 8)))
        for many in (4, 2, 1):
            parts = [
                builder.shuffle_vector(
                    sums, sums, ir.Constant(ir.VectorType(ir.IntType(32), many), list(range(at, at + many)))
                )
                for at in (0, many)
            ]
            sums = builder.add(*parts)
        return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

    return types.uint64(types.uint64, types.uint64, types.uint64), code


@_code_for
def _lowest(typing: Any, bits: Any) -> Any:
    """Which is the lowest bit that is set; 64 if none is."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@numba.njit(nogil=True)
def _eight(words: int, at: int) -> Any:
    """The eight bytes from `at` on."""
    return _loaded(np.uint64(words), np.uint64(at))


@numba.njit(nogil=True)
def _one(words: int, at: int) -> Any:
    """The byte at `at`."""
    return _eight(words, at) & _BYTE


@numba.njit(nogil=True)
def _next_mark(words: Any, at: int) -> Any:
    """Where the next quote, blank or control character stands."""
    found = _marks(words, np.uint64(at))
    while not found:
        at += STEP
        found = _marks(words, np.uint64(at))
    return at + _lowest(found)


@numba.njit(nogil=True)
def _mark_from(words: Any, start: int, marks: Any, at: int) -> Any:
    """As `_next_mark`, given the marks of the 64 bytes from `start` on: most lines have four fields there."""
    if at - start < STEP:
        left = marks >> np.uint64(at - start)
        if left:
            return at + _lowest(left)
    return _next_mark(words, at)


@numba.njit(nogil=True)
def _closing_quote(words: Any, at: int) -> Any:
    """Where the quote stands that ends a text; -1 if a control character comes first."""
    begin = at
    found = _quotes(words, np.uint64(at))
    while True:
        while not found:
            at += STEP
            found = _quotes(words, np.uint64(at))
        quote = at + _lowest(found)
        if _one(words, quote) != _QUOTE:
            return -1
        # A quote behind an odd number of backslashes is part of the text.
        if not _is_escaped(words, begin, quote):
            return quote
        found &= found - _ONE


@numba.njit(nogil=True)
def _is_escaped(words: Any, begin: int, at: int) -> Any:
    """Whether the byte at `at` stands behind an odd number of backslashes."""
    behind = at
    while behind > begin and _one(words, behind - 1) == _BACKSLASH:
        behind -= 1
    return (at - behind) & 1 == 1


@numba.njit(nogil=True)
def _pair(words: Any, at: int) -> Any:
    """The number of two digits; a negative one far from zero if they are none."""
    first = np.int64(_one(words, at)) - 48
    second = np.int64(_eight(words, at + 1) & _BYTE) - 48
    if first < 0 or first > 9 or second < 0 or second > 9:
        return -10_000_000
    return first * 10 + second


@numba.njit(nogil=True)
def _number(words: Any, at: int) -> Any:
    """The number of the digits that stand from `at` on, and how many they are; of no more than 19."""
    word = _eight(words, at) ^ _ZEROS
    others = (((word & _LOW_BITS) + _BEFORE_TEN) | word) & ~_LOW_BITS
    if others:
        many = _lowest(others) >> 3
        if many == 0:
            return 0, 0
        # The digits become the last of eight; then pairs, fours and all of them are put together.
        word <<= np.uint64(64 - 8 * many)
        word = (word * np.uint64(2561)) >> np.uint64(8) & np.uint64(0x00FF00FF00FF00FF)
        word = (word * np.uint64(6553601)) >> np.uint64(16) & np.uint64(0x0000FFFF0000FFFF)
        return np.int64((word * np.uint64(42949672960001)) >> np.uint64(32)), many
    found, many = np.int64(0), 0
    digit = np.int64(_one(words, at)) - 48
    while digit >= 0 and digit <= 9 and many <= MOST_DIGITS:
        found = found * 10 + digit
        many += 1
        digit = np.int64(_one(words, at + many)) - 48
    return found, many


@numba.njit(nogil=True)
def _minute(words: Any, at: int) -> Any:
    """Seconds since 1970, minutes east of UTC, and whether it is a time, of `17/Dec/2025:09:03:01 +0000`.

    The seconds of the minute are left out.
    """
    for place, sign in ((2, 0x2F), (6, 0x2F), (11, 0x3A), (14, 0x3A), (17, 0x3A), (20, 0x20)):
        if _one(words, at + place) != np.uint64(sign):
            return 0, 0, False
    name = _eight(words, at + 3) & _MASKS[3]
    month = 0
    while month < 12 and _MONTH_WORDS[month] != name:
        month += 1
    day, year = _pair(words, at), _pair(words, at + 7) * 100 + _pair(words, at + 9)
    hour, minute = _pair(words, at + 12), _pair(words, at + 15)
    hours, minutes = _pair(words, at + 22), _pair(words, at + 24)
    if month == 12 or day < 1 or year < 0 or hour < 0 or minute < 0:
        return 0, 0, False
    if hours < 0 or minutes < 0 or hour > 23 or minute > 59 or minutes > 59:
        return 0, 0, False
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _MONTH_DAYS[month] + (is_leap and month == 1):
        return 0, 0, False
    east = hours * 60 + minutes
    sign_byte = _one(words, at + 21)
    # A zone of -0000 is none that could be written again.
    if east > LARGEST_OFFSET_MINUTES or (sign_byte == _DASH and east == 0):
        return 0, 0, False
    if sign_byte == _DASH:
        east = -east
    elif sign_byte != np.uint64(0x2B):
        return 0, 0, False
    # Leap days before this year, and the days of its months so far.
    past = year - 1
    days = (year - 1970) * 365 + past // 4 - past // 100 + past // 400 - _LEAP_DAYS_BEFORE_1970 + day - 1
    for number in range(month):
        days += _MONTH_DAYS[number]
    days += is_leap and month > 1
    return days * 86_400 + hour * 3_600 + minute * 60 - east * 60, east, True


@numba.njit(nogil=True)
def _time(words: Any, at: int, last: Any, last_minute: Any) -> Any:
    """As `_minute`, with the seconds. `last` is the minute seen last, as words, `last_minute` what it says.

    Even where hardly any line has the second of the one before, nearly all have its minute.
    """
    zero, one = _eight(words, at), _eight(words, at + 8)
    two, three = _eight(words, at + 16) & ~_SECONDS, _eight(words, at + 24) & _MASKS[2]
    if zero != last[0] or one != last[1] or two != last[2] or three != last[3]:
        last[0], last[1], last[2], last[3] = zero, one, two, three
        last_minute[0], last_minute[1], last_minute[2] = _minute(words, at)
    second = _pair(words, at + 18)
    return last_minute[0] + second, last_minute[1], last_minute[2] != 0 and 0 <= second <= 59


@numba.njit(nogil=True)
def _is_text(words: Any, at: int, end: int) -> Any:
    """Whether these bytes are UTF-8 (RFC 3629, section 4) without 0x7F."""
    while at < end:
        first = np.int64(_one(words, at))
        second = np.int64(_one(words, at + 1))
        if first < 0x80:
            size = 1
            good = first != 0x7F
        elif first < 0xE0:
            size = 2
            good = first >= 0xC2
        elif first < 0xF0:
            size = 3
            good = (first != 0xE0 or second >= 0xA0) and (first != 0xED or second < 0xA0)
        else:
            size = 4
            good = first < 0xF5 and (first != 0xF0 or second >= 0x90) and (first != 0xF4 or second < 0x90)
        for place in range(at + 1, at + size):
            good = good and place < end and _one(words, place) >> _U6 == _TWO
        if not good:
            return False
        at += size
    return True


@numba.njit(nogil=True)
def _is_ascii(words: Any, start: int, end: int) -> Any:
    """Whether none of these bytes is 0x7F or above; perhaps False where what follows them has such."""
    found = np.uint64(0)
    for at in range(start, end, STEP):
        found |= _others(words, np.uint64(at))
    return found == np.uint64(0)


@numba.njit(nogil=True)
def _is_plain(words: Any, start: int, end: int) -> Any:
    """Whether these bytes are ASCII without a backslash."""
    for at in range(start, end):
        code = _one(words, at)
        if code == _BACKSLASH or code > np.uint64(0x7F):
            return False
    return True


@numba.njit(nogil=True)
def _next_lines(words: Any, begin: int, size: int, ends: Any) -> Any:
    """Where the next lines of the first `size` bytes end; how many they are, and whether all is ASCII.

    There are up to `BATCH`: the processor's nearest cache holds them until they are read.
    """
    count, at, others = 0, begin, np.uint64(0)
    while at < size and count < BATCH:
        others |= _others(words, np.uint64(at))
        feeds = _feeds(words, np.uint64(at))
        # Most lines are longer than `STEP`: what is always written need not be guessed.
        ends[count] = at + _lowest(feeds)
        count += feeds != np.uint64(0)
        feeds &= feeds - _ONE
        while feeds:
            ends[count] = at + _lowest(feeds)
            count += 1
            feeds &= feeds - _ONE
        at += STEP
    # What stands behind the last byte is no line, whatever it is.
    while count and ends[count - 1] >= size:
        count -= 1
    return min(count, BATCH), others == np.uint64(0)


@numba.njit(nogil=True)
def _hash(words: Any, begin: Any, size: Any, secrets: Any) -> Any:
    """A number of 32 bits for a text, which nobody can foretell without `secrets`."""
    found = secrets[0] ^ np.uint64(size)
    for at in range(0, max(size, 1), STEP):
        some, keys = np.uint64(min(size - at, STEP)), np.uint64(secrets.ctypes.data + KEYS_AT)
        found = _mixed(found ^ _summed(np.uint64(words) + np.uint64(begin + at), some, keys), secrets[1])
    return _mixed(found, secrets[2]) & _LOW_HALF


@numba.njit(nogil=True)
def _are_same(words: Any, begin: Any, values: Any, at: Any, size: Any) -> Any:
    """Whether the text that begins at `begin` is the one so far behind the address `values`."""
    one, other = np.uint64(words) + np.uint64(begin), values + np.uint64(at)
    while size > STEP:
        if _differing(one, other, np.uint64(STEP)):
            return False
        one += np.uint64(STEP)
        other += np.uint64(STEP)
        size -= STEP
    return _differing(one, other, np.uint64(size)) == np.uint64(0)


@numba.njit(nogil=True)
def _first_slot(key: Any, area: int) -> Any:
    """Where a key is looked for first in a table of `area` slots, which begin at the slot of that number."""
    return area + np.int64(key & np.uint64(area - 1))


@numba.njit(nogil=True)
def _scrambled(number: int, secrets: Any) -> Any:
    """Another number of 32 bits for each one; which it is, nobody can foretell without `secrets`.

    To multiply by an odd number, and to add upper bits to lower ones, can be undone, so no two become one.
    """
    found = np.uint64(number) * (secrets[2] | _ONE) & _LOW_HALF
    found ^= found >> np.uint64(16)
    found = found * (secrets[3] | _ONE) & _LOW_HALF
    return found ^ (found >> np.uint64(15))


@numba.njit(nogil=True)
def _next_slot(slot: int, area: int) -> Any:
    return area + ((slot + 1) & (area - 1))


@numba.njit(nogil=True)
def _slot_of(slots: Any, slot: int, area: int, key: Any) -> Any:
    """The first slot from this one on that has the key, or is free."""
    while slots[slot] and slots[slot] >> _HALF != key:
        slot = _next_slot(slot, area)
    return slot


@numba.njit(nogil=True)
def _enter(slots: Any, areas: Any, text: int, slot: int, key: Any, number: int, held: Any) -> None:
    """Put a key and its number in a free slot of a table that holds so many.

    The table is made twice as large when half of it is taken.
    """
    slots[slot] = (key << _HALF) | np.uint64(number + 1)
    area = areas[text]
    if 2 * (held + 1) <= area:
        return
    larger = 2 * area
    areas[text] = larger
    for place in range(larger, 2 * larger):
        slots[place] = np.uint64(0)
    for place in range(area, larger):
        entry = slots[place]
        if entry:
            to = _first_slot(entry >> _HALF, larger)
            while slots[to]:
                to = _next_slot(to, larger)
            slots[to] = entry


@numba.njit(nogil=True)
def _append(words: Any, begin: Any, end: Any, number: Any, values: Any, bounds: Any) -> None:
    """Put a text behind the others of its column, of which there are so many."""
    here = np.int64(bounds[number])
    for some in range(0, max(end - begin, 1), STEP):
        _copied(values + np.uint64(here + some), np.uint64(words) + np.uint64(begin + some))
    bounds[number + 1] = here + end - begin


@numba.njit(nogil=True)
def _number_of(
    words: Any,
    begin: Any,
    end: Any,
    key: Any,
    many: int,
    held: int,
    text: int,
    values: Any,
    bounds: Any,
    slots: Any,
    areas: Any,
) -> Any:
    """Which of so many texts a text is, given its hash; if it is none of them, it becomes the next.

    `held` of them are in the hash table.
    """
    area = areas[text]
    slot = _slot_of(slots, _first_slot(key, area), area, key)
    while slots[slot]:
        number = np.int64(slots[slot] & _LOW_HALF) - 1
        at = np.int64(bounds[number])
        if bounds[number + 1] - at == end - begin and _are_same(words, begin, values, at, end - begin):
            return number
        slot = _slot_of(slots, _next_slot(slot, area), area, key)
    _append(words, begin, end, many, values, bounds)
    _enter(slots, areas, text, slot, key, many, held)
    return many


@numba.njit(nogil=True)
def _number_texts(
    words: Any,
    text: int,
    rows: int,
    lefts: Any,
    rights: Any,
    absent: Any,
    numbered: Any,
    keys: Any,
    values: Any,
    bounds: Any,
    counts: Any,
    slots: Any,
    areas: Any,
    secrets: Any,
) -> None:
    """Say of a column's texts in so many rows which they are among its different ones, of which some are new.

    Where they are looked for is known for all of them first, so that the processor can fetch it meanwhile.
    """
    area = areas[text]
    for row in range(rows):
        if not absent[row]:
            keys[row] = _hash(words, lefts[row], rights[row] - lefts[row], secrets)
            _wanted_soon(slots.ctypes.data, _first_slot(keys[row], area))
    many = counts[text]
    for row in range(rows):
        numbered[row] = 0
        if absent[row]:
            continue
        begin, end = np.int64(lefts[row]), np.int64(rights[row])
        number = _number_of(words, begin, end, keys[row], many, many, text, values, bounds, slots, areas)
        numbered[row] = number
        many += number == many
    counts[text] = many


@numba.njit(nogil=True)
def _number_requests(
    words: Any,
    rows: int,
    lefts: Any,
    rights: Any,
    targets: Any,
    first_new: int,
    no_request: Any,
    no_target: Any,
    method: Any,
    protocol: Any,
    numbered: Any,
    values: Any,
    bounds: Any,
    counts: Any,
    slots: Any,
    areas: Any,
    secrets: Any,
    firsts: Any,
) -> None:
    """As `_number_texts` for requests, which are known by method, protocol and the number of the target.

    Most targets are asked for in one way: `firsts` has for each target the first one, and its request.
    Targets from number `first_new` on come in these rows for the first time. Garbage in place of a request
    has no target, and is looked for in the hash table of `EXTRA`, which numbers nothing else.
    """
    many = counts[REQUEST]
    for row in range(rows):
        if no_target[row]:
            numbered[row] = 0
            if not no_request[row]:
                begin, end = np.int64(lefts[row]), np.int64(rights[row])
                key, held = _hash(words, begin, end - begin, secrets), counts[EXTRA]
                number = _number_of(
                    words, begin, end, key, many, held, EXTRA, values, bounds, slots[EXTRA], areas
                )
                numbered[row] = number
                counts[EXTRA] += number == many
                many += number == many
            continue
        target = np.int64(targets[row])
        way = np.int64(method[row]) * len(_PROTOCOL_WORDS) + protocol[row]
        number = many
        if target == first_new:
            first_new += 1
            firsts[target] = (np.uint64(way) << _HALF) | np.uint64(number)
        elif firsts[target] >> _HALF == np.uint64(way):
            number = np.int64(firsts[target] & _LOW_HALF)
        else:
            key = _scrambled(target * _WAYS + way, secrets)
            area = areas[REQUEST]
            slot = _slot_of(slots[REQUEST], _first_slot(key, area), area, key)
            if slots[REQUEST, slot]:
                number = np.int64(slots[REQUEST, slot] & _LOW_HALF) - 1
            else:
                # The first request of each target is not there.
                _enter(slots[REQUEST], areas, REQUEST, slot, key, number, many - first_new)
        numbered[row] = number
        if number == many:
            _append(words, lefts[row], rights[row], number, values, bounds)
            many += 1
    counts[REQUEST] = many


@numba.njit(nogil=True)
def _forwarded_texts(
    words: Any, rows: int, lefts: Any, rights: Any, absent: Any, at: int, values: Any, bounds: Any
) -> None:
    """Put what `extra` is of so many rows behind the `at` before them."""
    for row in range(rows):
        here = np.int64(bounds[at + row])
        if not absent[row]:
            for some in range(3):
                _stored(values, np.uint64(here + 8 * some), _FORWARDED_WORDS[some])
            here += _FORWARDED_BYTES
            size = np.int64(rights[row]) - lefts[row]
            for some in range(0, size, 8):
                _stored(values, np.uint64(here + some), _eight(words, lefts[row] + some))
            _stored(values, np.uint64(here + size), _FORWARDED_END)
            here += size + 2
        bounds[at + row + 1] = here


@numba.njit(nogil=True)
def _take_texts(
    words: Any,
    begin: int,
    end: int,
    places: Any,
    keys: Any,
    bounds: Any,
    values: Any,
    width: int,
    absent: Any,
    known: Any,
    numbered: Any,
    counts: Any,
    slots: Any,
    areas: Any,
    firsts: Any,
    secrets: Any,
    coded: Any,
) -> None:
    """The texts of the rows from `begin` to `end`, which stand between `places`, into their columns.

    The different texts of a column stand one behind the other in `width` bytes from the address `values` on;
    `bounds` says where they begin and end, `counts` how many they are, and `numbered` which of them a row
    has. Where a column is not `coded`, and for `EXTRA`, they are those of all rows; `counts` has for `EXTRA`
    how many of the requests are garbage. `slots` are a hash table for each column: the table of `areas[text]`
    slots begins at the slot of that number, so each size has a place of its own. A slot that is not free has
    a key in its upper half, and in its lower one the number of a text, and one more.
    """
    rows = end - begin
    first_new = counts[TARGET]
    for text in (HOST, IDENTITY, USER, TARGET, REFERER, AGENT, REQUEST):
        lefts, rights = places[0, text], places[1, text]
        column = np.uint64(values + text * width)
        if not coded[text]:
            for row in range(rows):
                right = lefts[row] if absent[text, begin + row] else rights[row]
                _append(words, lefts[row], right, begin + row, column, bounds[text])
            counts[text] = end
        elif text == REQUEST:
            _number_requests(
                words,
                rows,
                lefts,
                rights,
                numbered[TARGET, begin:end],
                first_new,
                absent[REQUEST, begin:end],
                absent[TARGET, begin:end],
                known[0, begin:end],
                known[1, begin:end],
                numbered[REQUEST, begin:end],
                column,
                bounds[REQUEST],
                counts,
                slots,
                areas,
                secrets,
                firsts,
            )
        else:
            _number_texts(
                words,
                text,
                rows,
                lefts,
                rights,
                absent[text, begin:end],
                numbered[text, begin:end],
                keys,
                column,
                bounds[text],
                counts,
                slots[text],
                areas,
                secrets,
            )
    _forwarded_texts(
        words,
        rows,
        places[0, EXTRA],
        places[1, EXTRA],
        absent[EXTRA, begin:end],
        begin,
        np.uint64(values + EXTRA * width),
        bounds[EXTRA],
    )


@numba.njit(nogil=True)
def _scan(
    words: Any,
    begin: int,
    size: int,
    number: int,
    offset: int,
    longest: int,
    first_second: int,
    end_second: int,
    row: int,
    most: int,
    room: int,
    over: int,
    last: Any,
    last_minute: Any,
    absent: Any,
    wide: Any,
    narrow: Any,
    known: Any,
    places: Any,
    ends: Any,
    taken: Any,
    lefts: Any,
) -> Any:
    """Read up to `BATCH` of the lines that begin at `begin`, of which the first has this number.

    It gives why it came back, where the next line begins, its number, the rows so far, the room left, and how
    many lines are left over by now: `lefts` has where they begin and end, and their numbers.

    Every line that is not written just so is left over, and one that could be a comment. `taken` is for
    saying which of these lines are rows. Of the rows: `wide` has line number, byte offset, microseconds since
    1970 and size; `narrow` status and minutes east of UTC; `known` method, protocol and format.

    `places` has where each text of a row begins and ends in the block; `absent` which are null, and, last,
    which sizes. `last` and `last_minute` are as in `_time`.
    """
    before, code = row, DONE
    count, are_ascii = _next_lines(words, begin, size, ends)
    done, following = count, begin
    for line in range(count):
        start, end = following, ends[line]
        following = end + 1
        taken[line] = False
        length = end - start
        if _one(words, start) == _HASH:
            if _eight(words, start) == _FIELDS:
                code, done = OVER, line
                break
            continue
        # What a shipper puts in front, such as `<13>`, is for the expressions to take off.
        if length > longest or _one(words, start) == _LESS:
            continue
        if row == most or room < length + SLACK:
            code, done = FULL, line
            break
        marks = _marks(words, np.uint64(start))
        host = _mark_from(words, start, marks, start)
        if host == start or _one(words, host) != _BLANK:
            continue
        identity = _mark_from(words, start, marks, host + 1)
        if identity == host + 1 or _one(words, identity) != _BLANK:
            continue
        user = _mark_from(words, start, marks, identity + 1)
        if user == identity + 1 or _one(words, user) != _BLANK or user + 45 > end:
            continue
        if _one(words, user + 1) != _BRACKET or _eight(words, user + 28) & _MASKS[3] != _BEFORE_REQUEST:
            continue
        second, east, is_time = _time(words, user + 2, last, last_minute)
        if not is_time or second < first_second or second >= end_second:
            continue
        request = user + 31
        target, target_end, method, protocol = request, request, 0, 0
        method_end = _mark_from(words, start, marks, request)
        # No method begins with a backslash, and none has a quote: one before the first blank ends a single
        # word, or is escaped. Of such lines the expressions would take off what a shipper puts in front:
        # never where the user is a dash.
        is_garbage = _one(words, request) == _BACKSLASH or _one(words, method_end) == _QUOTE
        if is_garbage:
            if user != identity + 2 or _one(words, identity + 1) != _DASH:
                continue
            request_end = _closing_quote(words, request)
            if request_end < 0:
                continue
        else:
            if _one(words, method_end) != _BLANK or method_end == request or method_end > request + 8:
                continue
            word = _eight(words, request) & _MASKS[method_end - request]
            while method < len(_METHOD_WORDS) and _METHOD_WORDS[method] != word:
                method += 1
            if method == len(_METHOD_WORDS):
                continue
            target = method_end + 1
            target_end = _next_mark(words, target)
            while _one(words, target_end) == _QUOTE and _is_escaped(words, method_end, target_end):
                target_end = _next_mark(words, target_end + 1)
            if _one(words, target_end) != _BLANK or target_end == target:
                continue
            if _one(words, target_end - 1) == _BACKSLASH:
                continue
            word = _eight(words, target_end + 1)
            while protocol < len(_PROTOCOL_WORDS) and _PROTOCOL_WORDS[protocol] != word:
                protocol += 1
            request_end = target_end + 9
            if protocol == len(_PROTOCOL_WORDS):
                continue
        if _eight(words, request_end) & _MASKS[2] != _QUOTE_BLANK:
            continue
        word = _eight(words, request_end + 2)
        hundreds = np.int64(word & _BYTE) - 48
        tens = np.int64((word >> _U8) & _BYTE) - 48
        units = np.int64((word >> np.uint64(16)) & _BYTE) - 48
        if hundreds < 1 or hundreds > 9 or tens < 0 or tens > 9 or units < 0 or units > 9:
            continue
        if (word >> np.uint64(24)) & _BYTE != _BLANK:
            continue
        at = request_end + 6
        written, digits = _number(words, at)
        is_dash = digits == 0
        if is_dash and _one(words, at) != _DASH:
            continue
        # As many digits as surely fit into 64 bits.
        if digits > MOST_DIGITS or (digits > 1 and _one(words, at) == _ZERO):
            continue
        at += digits + is_dash
        referer, closing, agent, agent_end = at, at, at, at
        forwarded, form = at, COMMON
        if at != end:
            if _eight(words, at) & _MASKS[2] != _BLANK_QUOTE:
                continue
            form = COMBINED
            referer = at + 2
            closing = _closing_quote(words, referer)
            if closing < 0 or _eight(words, closing) & _MASKS[3] != _BETWEEN_QUOTED:
                continue
            agent = closing + 3
            agent_end = _closing_quote(words, agent)
            if agent_end < 0:
                continue
            if agent_end != end - 1:
                form = NGINX_MAIN
                forwarded = agent_end + 3
                if _eight(words, agent_end) & _MASKS[3] != _BETWEEN_QUOTED:
                    continue
                # Texts that JSON would write in another way are rare.
                if _closing_quote(words, forwarded) != end - 1 or not _is_plain(words, forwarded, end):
                    continue
        if not (are_ascii or _is_ascii(words, start, end) or _is_text(words, start, end)):
            continue
        here = row - before
        for text, left, right in (
            (HOST, start, host),
            (IDENTITY, host + 1, identity),
            (USER, identity + 1, user),
            (REQUEST, request, request_end),
            (TARGET, target, target_end),
            (REFERER, referer, closing),
            (AGENT, agent, agent_end),
            (EXTRA, forwarded, end - 1),
        ):
            places[0, text, here], places[1, text, here] = left, right
            if text in (IDENTITY, USER, REFERER, AGENT, EXTRA):
                absent[text, row] = right - left == 1 and _one(words, left) == _DASH
        absent[REQUEST, row] = is_garbage and _eight(words, request) & _MASKS[2] == _DASH_QUOTE
        absent[TARGET, row] = is_garbage
        if form != NGINX_MAIN:
            absent[EXTRA, row] = True
            if form == COMMON:
                absent[REFERER, row] = absent[AGENT, row] = True
        wide[0, row], wide[1, row] = number + line, offset + start
        wide[2, row], wide[3, row] = second * 1_000_000, written
        absent[TEXTS, row] = is_dash
        narrow[0, row], narrow[1, row] = hundreds * 100 + tens * 10 + units, east
        known[0, row], known[1, row] = method, protocol
        known[2, row] = form
        taken[line] = True
        room -= length
        row += 1
    at = begin
    for line in range(done):
        if not taken[line]:
            lefts[0, over], lefts[1, over], lefts[2, over] = at, ends[line], number + line
            over += 1
        at = ends[line] + 1
    # Where no line feed is left, there is no line.
    if not count:
        at = size
    return code, at, number + done, row, room, over


def _scan_at(
    words: int,
    size: int,
    offset: int,
    longest: int,
    first_second: int,
    end_second: int,
    rows: int,
    last: Any,
    last_minute: Any,
    bounds: Any,
    values: int,
    width: int,
    absent: Any,
    wide: Any,
    narrow: Any,
    known: Any,
    numbered: Any,
    counts: Any,
    slots: Any,
    areas: Any,
    firsts: Any,
    places: Any,
    keys: Any,
    ends: Any,
    taken: Any,
    secrets: Any,
    coded: Any,
    lefts: Any,
    so_far: Any,
) -> Any:
    """`_scan` for arrays by their addresses, until the first `size` bytes are read, or there is no room.

    It gives why it came back: also `DONE` where more lines are left over than `lefts` may take beside another
    batch. `so_far` has where the next line begins, its number, the rows so far, the room left, and how many
    lines are left over.
    """
    state = carray(so_far, (5,), np.int64)
    where = carray(places, (2, TEXTS, BATCH), np.int32)
    bound, missing = carray(bounds, (TEXTS, rows + 1), np.int32), carray(absent, (TEXTS + 1, rows), np.bool_)
    named, number = carray(known, (3, rows), np.int32), carray(numbered, (TEXTS, rows), np.int32)
    code = DONE
    while code == DONE and state[0] < size and state[4] <= MOST_LEFT - BATCH:
        before = state[2]
        code, state[0], state[1], state[2], state[3], state[4] = _scan(
            words,
            state[0],
            size,
            state[1],
            offset,
            longest,
            first_second,
            end_second,
            before,
            rows,
            state[3],
            state[4],
            carray(last, (4,), np.uint64),
            carray(last_minute, (3,), np.int64),
            missing,
            carray(wide, (4, rows), np.int64),
            carray(narrow, (2, rows), np.int16),
            named,
            where,
            carray(ends, (BATCH + STEP,), np.int64),
            carray(taken, (BATCH,), np.bool_),
            carray(lefts, (3, MOST_LEFT), np.int64),
        )
        _take_texts(
            words,
            before,
            state[2],
            where,
            carray(keys, (BATCH,), np.uint64),
            bound,
            values,
            width,
            missing,
            named,
            number,
            carray(counts, (TEXTS,), np.int64),
            carray(slots, (TEXTS, SLOTS), np.uint64),
            carray(areas, (TEXTS,), np.int64),
            carray(firsts, (rows,), np.uint64),
            carray(secrets, (SECRETS,), np.uint64),
            carray(coded, (TEXTS,), np.bool_),
        )
    return code


def _entry(*arguments: Any) -> Any:
    return numba.cfunc(types.int64(*arguments))


_NUMBER: Final = types.int64
_ARRAY: Final = types.voidptr
ENTRIES: Final = {
    "scan": _entry(types.uint64, *[_NUMBER] * 6, *[_ARRAY] * 3, types.uint64, _NUMBER, *[_ARRAY] * 17)(
        _scan_at
    ),
}
