"""Ratios and tables of the attention benchmarks, from the entries of report_attention.py."""

from __future__ import annotations

from typing import Any

from attention_participants import LOOPS, RIVALS
from sequence_participants import OURS, OURS_BF16
from sequence_tables import (
    VERBS,
    Entry,
    milliseconds,
    pair,
    participants_table,
    share,
    table,
    times,
)


def ratios(entries: list[Entry]) -> dict[str, dict[str, Any]]:
    """Return for each case and number of threads our times and what others' are over them.

    Lists hold [forward, forward and backward]. "ms" and "share of peak" are ours; "best rival" names who is
    fastest and gives its time over ours; "fastest loop" does so among the loops that are not compiled;
    "ratio" has everyone; "bfloat16" is our float32 over our bfloat16.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, own in times(entries).items():
        for threads in sorted({threads for _, threads, _ in own}):
            ours = [own[OURS, threads, verb] for verb in VERBS]
            names = [who for who in RIVALS if (who, threads, VERBS[0]) in own]
            one: dict[str, Any] = {
                "ms": ours,
                "share of peak": [share(entries, name, threads, verb) for verb in VERBS],
                "ratio": {who: _over(own, who, threads, ours) for who in names},
            }
            for title, among in (("best rival", names), ("fastest loop", [n for n in names if n in LOOPS])):
                if among:
                    best = [min(among, key=lambda who, v=verb: own[who, threads, v]) for verb in VERBS]
                    one[title] = [
                        (who, own[who, threads, verb] / mine)
                        for who, verb, mine in zip(best, VERBS, ours, strict=True)
                    ]
            if (OURS_BF16, threads, VERBS[0]) in own:
                one["bfloat16"] = [1 / ratio for ratio in _over(own, OURS_BF16, threads, ours)]
            found.setdefault(name, {})[str(threads)] = one
    return found


def _over(own: dict[tuple[str, int, str], float], who: str, threads: int, ours: list[float]) -> list[float]:
    return [own[who, threads, verb] / mine for verb, mine in zip(VERBS, ours, strict=True)]


def summary(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return our times beside the best rival's and the fastest loop's; pairs are forward / with backward."""
    rows = [["case", "threads", "ours", "of the FMA peak", "best rival", "fastest loop", "bfloat16"]]
    for name, by in found.items():
        for threads, one in by.items():
            ms = " / ".join(milliseconds(value) for value in one["ms"])
            peaks = pair((100 * value for value in one["share of peak"]), "{:.0f} %")
            bfloat16 = f"{pair(one['bfloat16'])} ×" if "bfloat16" in one else ""
            others = [_named(one.get(title)) for title in ("best rival", "fastest loop")]
            rows.append([name, threads, ms, peaks, *others, bfloat16])
    return table(rows)


def _named(best: list[tuple[str, float]] | None) -> str:
    """Return both ratios and the names they belong to."""
    if best is None:
        return ""
    names = " / ".join(dict.fromkeys(who for who, _ in best))
    return f"{pair(ratio for _, ratio in best)} × ({names})"


def lost(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return where a rival is faster."""
    return [
        f"- {name}, {threads} thread(s), {verb}: {who} takes {ratio:.2f} of our time"
        for name, by in found.items()
        for threads, one in by.items()
        for verb, (who, ratio) in zip(VERBS, one.get("best rival", []), strict=False)
        if ratio < 1
    ]


def markdown(result: dict[str, Any]) -> str:
    """Return all tables of a report."""
    parts = {
        "Decoders with attention: forward / forward and backward": [
            *summary(result["ratios"]),
            "",
            "A rival's figures are its time over ours. bfloat16 is our float32 over our bfloat16.",
        ],
        "Where a rival is faster": lost(result["ratios"]) or ["Nowhere in this table."],
        "Every participant": participants_table(result["table"]),
    }
    lines: list[str] = []
    for title, content in parts.items():
        lines += [f"### {title}", "", *content, ""]
    shares = [one["share of others"] for one in result["table"]]
    most = max((share for share in shares if share is not None), default=None)
    quiet = "" if most is None else f" Others used at most {100 * most:.0f} % of the processors meanwhile."
    peaks = "; ".join(
        f"{n} thread(s): " + ", ".join(f"{how} {value:.0f}" for how, value in found.items())
        for n, found in result["peak GFLOP/s"].items()
    )
    return "\n".join([*lines, f"Peak in GFLOP/s, {peaks}.{quiet}", ""])
