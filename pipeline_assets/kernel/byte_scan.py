"""The lines of a block to columns in one pass over its bytes, by code that numba compiles.

What belongs here: the compiled functions, and what they must be given. What does not: any import of the
package, when they are used (`accelerator`), and tables (`scanned_lines`). This module can be imported only
where numba is installed.

Eight bytes are looked at at a time: those that begin at byte i of the memory at the address `words`, the
first in the lowest bits.
To ask which of them is below a limit, or is a certain one, is the arithmetic of Hacker's Delight, section 6-1
(Henry S. Warren, 2nd edition): of the bytes found, only the lowest is certain.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from pipeline_assets.kernel.scan_layout import (
    AGENT,
    COMBINED,
    COMMON,
    DONE,
    EXTRA,
    FULL,
    HOST,
    IDENTITY,
    LARGEST_OFFSET_MINUTES,
    LONGEST,
    METHODS,
    NGINX_MAIN,
    PROTOCOLS,
    REFERER,
    REQUEST,
    SLACK,
    TARGET,
    TEXTS,
    USER,
)

_ONES: Final = np.uint64(0x0101010101010101)
_TOPS: Final = np.uint64(0x8080808080808080)
_BELOW_BLANK: Final = np.uint64(0x2020202020202020)
_BELOW_MARK: Final = np.uint64(0x2323232323232323)
_QUOTES: Final = np.uint64(0x2222222222222222)
_LINE_FEEDS: Final = np.uint64(0x0A0A0A0A0A0A0A0A)
_BELOW_TOPS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


def _word(text: str) -> int:
    return int.from_bytes(text.encode().ljust(8, b"\0"), "little")


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
_BRACKET: Final = np.uint64(0x5B)
_BACKSLASH: Final = np.uint64(0x5C)
_BEFORE_REQUEST: Final = np.uint64(_word('] "'))
_QUOTE_BLANK: Final = np.uint64(_word('" '))
_BLANK_QUOTE: Final = np.uint64(_word(' "'))
_BETWEEN_QUOTED: Final = np.uint64(_word('" "'))
_TWO: Final = np.uint64(2)
_U6: Final = np.uint64(6)
_U7: Final = np.uint64(7)
_U8: Final = np.uint64(8)
_U56: Final = np.uint64(56)
_ONE: Final = np.uint64(1)
_BYTE: Final = np.uint64(0xFF)


# What numba generates code for has one argument more than its calls.
_code_for: Final[Any] = intrinsic


def _pointer(builder: Any, base: Any, at: Any) -> Any:
    return builder.inttoptr(builder.add(base, at), ir.IntType(64).as_pointer())


@_code_for  # type: ignore[untyped-decorator]
def _loaded(typing: Any, base: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, *arguments), align=1)

    return types.uint64(types.uint64, types.uint64), code


@_code_for  # type: ignore[untyped-decorator]
def _stored(typing: Any, base: Any, at: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(builder, *arguments[:2]), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), code


@numba.njit(nogil=True)
def _eight(words: int, at: int) -> Any:
    """The eight bytes from `at` on."""
    return _loaded(np.uint64(words), np.uint64(at))


@numba.njit(nogil=True)
def _one(words: int, at: int) -> Any:
    """The byte at `at`."""
    return _eight(words, at) & _BYTE


@numba.njit(nogil=True)
def _lowest(mask: Any) -> Any:
    """Which byte of a word has the lowest of the top bits that are set in a mask."""
    below = (((mask & (~mask + _ONE)) >> _U7) - _ONE) & _ONES
    return np.int64((below * _ONES) >> _U56)


@numba.njit(nogil=True)
def _next_mark(words: Any, at: int) -> Any:
    """Where the next quote, blank or control character stands."""
    while True:
        word = _eight(words, at)
        found = (word - _BELOW_MARK) & ~word & _TOPS
        if not found:
            at += 8
            continue
        at += _lowest(found)
        if _one(words, at) != np.uint64(0x21):
            return at
        at += 1


@numba.njit(nogil=True)
def _closing_quote(words: Any, at: int) -> Any:
    """Where the quote stands that ends a text; -1 if a control character comes first."""
    begin = at
    while True:
        word = _eight(words, at)
        quoted = word ^ _QUOTES
        found = (((word - _BELOW_BLANK) & ~word) | ((quoted - _ONES) & ~quoted)) & _TOPS
        if not found:
            at += 8
            continue
        at += _lowest(found)
        if _one(words, at) != np.uint64(0x22):
            return -1
        # A quote behind an odd number of backslashes is part of the text.
        behind = at
        while behind > begin and _one(words, behind - 1) == np.uint64(0x5C):
            behind -= 1
        if (at - behind) & 1 == 0:
            return at
        at += 1


@numba.njit(nogil=True)
def _pair(words: Any, at: int) -> Any:
    """The number of two digits; a negative one far from zero if they are none."""
    first = np.int64(_one(words, at)) - 48
    second = np.int64(_eight(words, at + 1) & _BYTE) - 48
    if first < 0 or first > 9 or second < 0 or second > 9:
        return -10_000_000
    return first * 10 + second


@numba.njit(nogil=True)
def _time(words: Any, at: int) -> Any:
    """Seconds since 1970, minutes east of UTC, and whether it is a time, of `17/Dec/2025:09:03:01 +0000`."""
    for place, sign in ((2, 0x2F), (6, 0x2F), (11, 0x3A), (14, 0x3A), (17, 0x3A), (20, 0x20)):
        if _one(words, at + place) != np.uint64(sign):
            return 0, 0, False
    name = _eight(words, at + 3) & _MASKS[3]
    month = 0
    while month < 12 and _MONTH_WORDS[month] != name:
        month += 1
    day, year = _pair(words, at), _pair(words, at + 7) * 100 + _pair(words, at + 9)
    hour, minute, second = _pair(words, at + 12), _pair(words, at + 15), _pair(words, at + 18)
    hours, minutes = _pair(words, at + 22), _pair(words, at + 24)
    if month == 12 or day < 1 or year < 0 or hour < 0 or minute < 0 or second < 0:
        return 0, 0, False
    if hours < 0 or minutes < 0 or hour > 23 or minute > 59 or second > 59 or minutes > 59:
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
    return days * 86_400 + hour * 3_600 + minute * 60 + second - east * 60, east, True


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
    for at in range(start, end, 8):
        word = _eight(words, at)
        # A byte of 0x7F, and none below, gets its top bit by the addition.
        found |= word | (word + _ONES)
    return found & _TOPS == np.uint64(0)


@numba.njit(nogil=True)
def _is_plain(words: Any, start: int, end: int) -> Any:
    """Whether these bytes are ASCII without a backslash."""
    for at in range(start, end):
        code = _one(words, at)
        if code == _BACKSLASH or code > _BELOW_TOPS & _BYTE:
            return False
    return True


@numba.njit(nogil=True)
def _line_feeds(words: Any, size: int, found: Any) -> Any:
    """How many line feeds there are in the first `size` bytes; `found` has where."""
    count = 0
    for begin in range(0, size, 8):
        other = _eight(words, begin) ^ _LINE_FEEDS
        # Here each of several zero bytes must be told, so no carry may leave its byte.
        zeros = ~(((other & _BELOW_TOPS) + _BELOW_TOPS) | other | _BELOW_TOPS)
        while zeros:
            at = begin + _lowest(zeros)
            if at < size:
                found[count] = at
                count += 1
            zeros &= zeros - _ONE
    return count


@numba.njit(nogil=True)
def _scan(
    words: Any,
    starts: Any,
    ends: Any,
    numbers: Any,
    offsets: Any,
    first_second: int,
    end_second: int,
    begin: int,
    taken: Any,
    row: int,
    room: int,
    last: Any,
    last_time: Any,
    bounds: Any,
    values: Any,
    width: int,
    absent: Any,
    wide: Any,
    narrow: Any,
    coded: Any,
) -> Any:
    """Read lines from line `begin` on; why it came back, the next line, the rows so far, and the room left.

    Every line that is not written just so is left out. One that becomes a row is marked in `taken`. Of the
    rows: `wide` has line number, byte offset, microseconds since 1970 and size; `narrow` status and minutes
    east of UTC; `coded` method, protocol and format. The texts of a column stand one behind the other in
    `width` bytes from the address `values` on, and `bounds` says where they begin and end; `absent` says
    which of them are null, and, last, which sizes.
    `last` is the time seen last, as words, and `last_time` what it says.
    """
    most = len(wide[0])
    for line in range(begin, len(starts)):
        start, end = starts[line], ends[line]
        length = end - start
        if length > LONGEST:
            continue
        if row == most or room < length + SLACK:
            return FULL, line, row, room
        host = _next_mark(words, start)
        if host == start or _one(words, host) != _BLANK:
            continue
        identity = _next_mark(words, host + 1)
        if identity == host + 1 or _one(words, identity) != _BLANK:
            continue
        user = _next_mark(words, identity + 1)
        if user == identity + 1 or _one(words, user) != _BLANK or user + 45 > end:
            continue
        if _one(words, user + 1) != _BRACKET or _eight(words, user + 28) & _MASKS[3] != _BEFORE_REQUEST:
            continue
        # A second has many lines.
        zero, one = _eight(words, user + 2), _eight(words, user + 10)
        two, three = _eight(words, user + 18), _eight(words, user + 26) & _MASKS[2]
        if zero != last[0] or one != last[1] or two != last[2] or three != last[3]:
            second, east, good = _time(words, user + 2)
            last[0], last[1], last[2], last[3] = zero, one, two, three
            last_time[0], last_time[1] = second * 1_000_000, east
            last_time[2] = good and first_second <= second < end_second
        if not last_time[2]:
            continue
        request = user + 31
        method_end = _next_mark(words, request)
        if _one(words, method_end) != _BLANK or method_end == request or method_end > request + 8:
            continue
        word = _eight(words, request) & _MASKS[method_end - request]
        method = 0
        while method < len(_METHOD_WORDS) and _METHOD_WORDS[method] != word:
            method += 1
        if method == len(_METHOD_WORDS):
            continue
        target_end = _next_mark(words, method_end + 1)
        while _one(words, target_end) == np.uint64(0x22) and _is_escaped(words, method_end, target_end):
            target_end = _next_mark(words, target_end + 1)
        if _one(words, target_end) != _BLANK or target_end == method_end + 1:
            continue
        if _one(words, target_end - 1) == _BACKSLASH:
            continue
        word = _eight(words, target_end + 1)
        protocol = 0
        while protocol < len(_PROTOCOL_WORDS) and _PROTOCOL_WORDS[protocol] != word:
            protocol += 1
        request_end = target_end + 9
        if protocol == len(_PROTOCOL_WORDS) or _eight(words, request_end) & _MASKS[2] != _QUOTE_BLANK:
            continue
        digits = _eight(words, request_end + 2)
        hundreds = np.int64(digits & _BYTE) - 48
        tens = np.int64((digits >> _U8) & _BYTE) - 48
        units = np.int64((digits >> np.uint64(16)) & _BYTE) - 48
        if hundreds < 1 or hundreds > 9 or tens < 0 or tens > 9 or units < 0 or units > 9:
            continue
        if (digits >> np.uint64(24)) & _BYTE != _BLANK:
            continue
        at = request_end + 6
        size = np.int64(0)
        first = np.int64(_one(words, at)) - 48
        is_dash = first == 0x2D - 48
        at += is_dash
        if not is_dash:
            digit = first
            # As many digits as surely fit into 64 bits.
            while digit >= 0 and digit <= 9 and at < request_end + 24:
                size = size * 10 + digit
                at += 1
                digit = np.int64(_one(words, at)) - 48
            if at == request_end + 6 or (first == 0 and at > request_end + 7):
                continue
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
        if not _is_ascii(words, start, end) and not _is_text(words, start, end):
            continue
        for text in range(TEXTS):
            if text == HOST:
                left, right = start, host
            elif text == IDENTITY:
                left, right = host + 1, identity
            elif text == USER:
                left, right = identity + 1, user
            elif text == REQUEST:
                left, right = request, request_end
            elif text == TARGET:
                left, right = method_end + 1, target_end
            elif text == REFERER:
                left, right = referer, closing
            elif text == AGENT:
                left, right = agent, agent_end
            else:
                left, right = forwarded, end - 1
            is_absent = False
            if text in (IDENTITY, USER) or text >= REFERER:
                is_absent = (
                    (text >= REFERER and at == end)
                    or (text == EXTRA and form != NGINX_MAIN)
                    or (right - left == 1 and _one(words, left) == _DASH)
                )
                absent[text, row] = is_absent
            here = bounds[text, row]
            if is_absent:
                bounds[text, row + 1] = here
                continue
            behind = text * width + here
            if text == EXTRA:
                for some in range(3):
                    _stored(values, np.uint64(behind + 8 * some), _FORWARDED_WORDS[some])
                behind += _FORWARDED_BYTES
                here += _FORWARDED_BYTES + 2
            for some in range(0, right - left, 8):
                _stored(values, np.uint64(behind + some), _eight(words, left + some))
            if text == EXTRA:
                _stored(values, np.uint64(behind + right - left), _FORWARDED_END)
            bounds[text, row + 1] = here + right - left
        wide[0, row], wide[1, row] = numbers[line], offsets[line]
        wide[2, row], wide[3, row] = last_time[0], size
        absent[TEXTS, row] = is_dash
        narrow[0, row], narrow[1, row] = hundreds * 100 + tens * 10 + units, last_time[1]
        coded[0, row], coded[1, row] = method, protocol
        coded[2, row] = form
        taken[line] = True
        room -= length
        row += 1
    return DONE, len(starts), row, room


@numba.njit(nogil=True)
def _is_escaped(words: Any, begin: int, at: int) -> Any:
    """Whether the byte at `at` stands behind an odd number of backslashes."""
    behind = at
    while behind > begin and _one(words, behind - 1) == _BACKSLASH:
        behind -= 1
    return (at - behind) & 1 == 1


def _scan_at(
    words: int,
    lines: int,
    starts: Any,
    ends: Any,
    numbers: Any,
    offsets: Any,
    first_second: int,
    end_second: int,
    begin: int,
    taken: Any,
    rows: int,
    last: Any,
    last_time: Any,
    bounds: Any,
    values: int,
    width: int,
    absent: Any,
    wide: Any,
    narrow: Any,
    coded: Any,
    so_far: Any,
) -> Any:
    """`_scan` for arrays by their addresses, of so many `lines`, and of tables of so many `rows`.

    It gives why it came back; `so_far` has the next line, the rows so far, and the room left.
    """
    state = carray(so_far, (3,), np.int64)
    code, state[0], state[1], state[2] = _scan(
        words,
        carray(starts, (lines,), np.int64),
        carray(ends, (lines,), np.int64),
        carray(numbers, (lines,), np.int64),
        carray(offsets, (lines,), np.int64),
        first_second,
        end_second,
        begin,
        carray(taken, (lines,), np.bool_),
        state[1],
        state[2],
        carray(last, (4,), np.uint64),
        carray(last_time, (3,), np.int64),
        carray(bounds, (TEXTS, rows + 1), np.int32),
        values,
        width,
        carray(absent, (TEXTS + 1, rows), np.bool_),
        carray(wide, (4, rows), np.int64),
        carray(narrow, (2, rows), np.int16),
        carray(coded, (3, rows), np.int32),
    )
    return code


def _line_feeds_at(words: int, size: int, found: Any) -> Any:
    """`_line_feeds` for arrays by their addresses."""
    return _line_feeds(words, size, carray(found, (size,), np.int64))


def _entry(*arguments: Any) -> Any:
    return numba.cfunc(types.int64(*arguments))


_NUMBER: Final = types.int64
_ARRAY: Final = types.voidptr
ENTRIES: Final = {
    "scan": _entry(
        types.uint64, _NUMBER, *[_ARRAY] * 4, *[_NUMBER] * 3, _ARRAY, _NUMBER, *[_ARRAY] * 3, types.uint64,
        _NUMBER, *[_ARRAY] * 5,
    )(_scan_at),
    "line_feeds": _entry(types.uint64, _NUMBER, _ARRAY)(_line_feeds_at),
}  # fmt: skip
