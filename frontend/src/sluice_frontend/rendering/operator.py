"""The page of operators, and what the leak self-test found."""

from collections.abc import Sequence

from sluice_frontend.models import LeakReport, Way
from sluice_frontend.rendering.text import inert

OPERATOR_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>For operators · Sluice</title><link rel="stylesheet" href="/page/login.css">
<link rel="stylesheet" href="/page/operator.css"><script src="/page/operator.js" defer></script></head>
<body><main><h1>Does anything leak?</h1>
<p>Plants sentences in two tenants of its own, and asks for them in every way as everyone who must not see them. It
takes about a minute, asks some hundred questions, and removes what it planted. Leaving this page ends it.</p>
<form id="leaks" method="post" action="/operator/leaks">
<label for="token">Operators' token</label>
<input id="token" name="token" type="password" autocomplete="off" required aria-describedby="token-help">
<p id="token-help">It goes with this one request and is kept nowhere.</p>
<div class="buttons"><button type="submit">Look for leaks</button>
<button type="button" id="stop" hidden>Stop</button></div></form>
<p id="progress" role="status"></p><div id="result" tabindex="-1"></div></main></body></html>
"""


def render_report(report: LeakReport) -> str:
    lost = "".join(f"<li>{inert(reason)}</li>" for reason in report.lost)
    rows = "".join(_way(way) for way in sorted(report.tried, key=lambda way: (way.held, not way.leaked)))
    return (
        f"{_verdict(report)}{_counts(report)}"
        f"{f'<h3>Gone at the end</h3><ul>{lost}</ul>' if lost else ''}"
        '<table><caption>Every way, those that did not hold first</caption><thead><tr><th scope="col">Way</th>'
        f'<th scope="col">Requests</th><th scope="col">Outcome</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _verdict(report: LeakReport) -> str:
    if report.leaks:
        return '<h2 class="bad">It leaks.</h2>'
    if not report.clean:
        return '<h2 class="bad">Nothing leaked where it was tried, but not every way could be tried.</h2>'
    return '<h2 class="good">Nothing leaked.</h2>'


def _counts(report: LeakReport) -> str:
    counts = {
        "Ways": report.ways,
        "Ways that could not be tried": report.untried,
        "Planted sentences seen by who must not": report.canaries_seen,
        "Ids of somebody else's that were taken": report.trespasses,
    }
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{count}</dd></div>' for name, count in counts.items())}</dl>"


def _way(way: Way) -> str:
    return f'<tr><th scope="row">{inert(way.way)}</th><td>{way.requests}</td><td>{_outcome(way)}</td></tr>'


def _outcome(way: Way) -> str:
    if way.held:
        return '<span class="good">held</span>'
    return (
        _list("Seen", [f"{seen.canary}, by {seen.asker}: {seen.call}" for seen in way.seen])
        + _list("Taken", [f"by {taken.asker}: {taken.call} ({taken.status})" for taken in way.trespasses])
        + _list("Not tried", way.untried)
    )


def _list(what: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{inert(line)}</li>" for line in dict.fromkeys(lines))
    return f'<p class="bad">{what}</p><ul>{items}</ul>' if items else ""
