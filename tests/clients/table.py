"""Puts what came of every client into one table and compares it with the page of the docs, which says what is promised.

    table.py OUTCOMES PAGE [--write]

OUTCOMES holds a line of JSON for each client, transport and era. With `--write` the page is written anew.
"""

import json
import pathlib
import sys

KNOWN = json.loads((pathlib.Path(__file__).parent / "scenarios.json").read_text())
BEGIN, END = "<!-- clients: begin -->\n", "<!-- clients: end -->\n"

# What a cell shows. A scenario that a client cannot go through at all, because one process of it makes one call, is none.
SHOWN = {"yes": "✓", "plain": "plain", "task": "✓", "none": "·", "FAILED": "**failed**"}
TRANSPORTS = ["stdio", "http", "websocket", "tcp"]
ERAS = list(KNOWN["versions"])


def table(rows):
    """Returns the table as the page has it."""
    rows.sort(key=lambda row: (row["client"], TRANSPORTS.index(row["transport"]), ERAS.index(row["era"])))
    scenarios = list(KNOWN["scenarios"])
    lines = [
        "| client | transport | version | " + " | ".join(scenarios) + " |",
        "|---|---|---|" + ":-:|" * len(scenarios),
    ]
    for row in rows:
        cells = [SHOWN[row["outcomes"][scenario]] for scenario in scenarios]
        version = KNOWN["versions"][row["era"]]
        lines.append(f"| {row['client']} | {row['transport']} | {version} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- *{name}*: {idea}" for name, idea in KNOWN["scenarios"].items())]
    return "\n".join(lines) + "\n"


def main(outcomes, page, *options):
    rows = [json.loads(line) for line in pathlib.Path(outcomes).read_text().splitlines()]
    made = table(rows)
    page = pathlib.Path(page)
    text = page.read_text()
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    whole = head + BEGIN + "\n" + made + "\n" + END + tail
    failed = sum(row["outcomes"][name] == "FAILED" for row in rows for name in KNOWN["scenarios"])
    if failed:
        sys.exit(f"clients: {failed} scenarios failed\n\n{made}")
    if "--write" in options:
        page.write_text(whole)
    elif whole != text:
        sys.exit(
            f"clients: {page} promises another table:\n\n{made}\n"
            "hint: CAELUM_WRITE_GOLDEN=1 make clients writes it anew"
        )
    print(f"clients: {len(rows)} ways of clients, transports and eras are content", file=sys.stderr)


main(*sys.argv[1:])
