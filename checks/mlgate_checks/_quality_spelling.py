"""Rare categories that are a frequent one with a slip: another case, blanks, signs, or one letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ._faults import Count
from ._quality_tables import Tables, categories, kind_of

#: A slip is at least this much rarer than the category that it was meant to be.
RARER = 20
#: Words this short are near one another by chance.
_SHORTEST = 4
#: Only so many of the most frequent categories are taken for what somebody meant.
_MOST_TARGETS = 2_000


def misspelt(tables: Tables, columns: list[str]) -> Iterator[Count]:
    """Yield, for every column of categories of every table, the cells that seem to be misspelt."""
    for column in columns:
        if any(kind_of(t[column]) != "categories" for t in tables.values()):
            continue
        per_table = {role: categories(t[column]) for role, t in tables.items()}
        total: dict[str, int] = {}
        for counts in per_table.values():
            for name, count in counts.items():
                total[name] = total.get(name, 0) + int(count)
        slips = slips_of(total)
        for role, counts in per_table.items():
            found = {name: int(counts[name]) for name in slips if name in counts.index}
            shown = [f"{n!r} {k:,} times, like {slips[n]!r}" for n, k in list(found.items())[:5]]
            scope, n = f"column {column} ({role})", int(counts.sum())
            if n:
                k = sum(found.values())
                yield Count(scope=scope, count=k, n=n, detail="; ".join(shown), table=role)


def slips_of(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the rare categories that are a slip of a frequent one, each with the frequent one.

    A slip differs in case, blanks and signs only, or by one letter that was left out, added, changed or
    exchanged with its neighbour (Damerau 1964, Communications of the ACM 7:171). Names that differ in their
    digits are different names: `9th` is not a slip of `8th`.
    """
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    targets = ranked[:_MOST_TARGETS]
    plain: dict[str, str] = {}
    shortened: dict[str, list[str]] = {}
    for name in targets:
        folded = _folded(name)
        plain.setdefault(folded, name)
        if len(folded) >= _SHORTEST:
            for part in {folded, *_shorter(folded)}:
                shortened.setdefault(part, []).append(name)
    found = {}
    for name in ranked:
        folded = _folded(name)
        same = [plain[folded]] if folded in plain else []
        near = [t for part in (folded, *_shorter(folded)) for t in shortened.get(part, ())]
        letters = [t for t in near if len(folded) >= _SHORTEST and _one_slip(folded, _folded(t))]
        meant = _most_frequent(same + letters, counts, counts[name])
        if meant is not None:
            found[name] = meant
    return found


def _most_frequent(names: Iterable[str], counts: Mapping[str, int], count: int) -> str | None:
    frequent = [n for n in names if counts[n] >= RARER * count]
    return max(frequent, key=lambda n: (counts[n], n), default=None)


def _folded(name: str) -> str:
    """Return the letters and digits of a name, or the name itself where there are none."""
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def _shorter(text: str) -> list[str]:
    return [text[:i] + text[i + 1 :] for i in range(len(text))]


def _one_slip(a: str, b: str) -> bool:
    """Return whether one letter left out, added, changed or exchanged with the next makes b of a."""
    if a == b or [c for c in a if c.isdigit()] != [c for c in b if c.isdigit()]:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    left, right = a[start:], b[start:]
    exchanged = left[:2] == right[1::-1] and left[2:] == right[2:] and len(left) >= 2 and len(right) >= 2
    return exchanged or left[1:] == right[1:] or left[1:] == right or left == right[1:]
