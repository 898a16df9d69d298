"""Renders what was measured of transports, for `bench/render.py`."""

MEANING = """- One caller, written in Rust on hyper, tungstenite and plain sockets, calls all servers, one after the other in the same
  run, and holds every answer to its call. Caller and server share the cores.
- The tool is `list_machines`: ours tells the machines that there are, the others answer the same text and structured
  content out of memory. `list_workflows` of ours reads the store. Ours checks arguments against the schema, scopes,
  limits and who the caller is; the others have nothing of that here.
- *At once* is the number of connections with one call each; over standard input, which is one connection, the number of
  calls that are under way. Two seconds are measured, after half a second of warming up.
- Settings are the ones that come with each server, except: access logs are off, the first TypeScript SDK answers with
  JSON (as ours does) and not with streams, ours may have 2,000 sessions and connections.
- Sessions are opened one by one, each by a client of the older era with a connection of its own, and then do nothing;
  the figure is by how much the server's resident memory grew. Servers that keep no sessions have no figure.
- The first answer over standard input is the median of five starts, over HTTP it is one; ours starts with all bundled
  plugins, compiled before.
"""


def transports(part, number):
    """Returns the lines of the section; `number` writes a figure."""
    servers = ["ours", *(name for name in part["titles"] if name not in part["left_out"])]
    titles = {"ours": "Caelum", **part["titles"]}
    built = f"commit `{part['commit']}`" if part["commit"] else "a bench that was built before"
    loads = part["load"]
    lines = ["", "## MCP over every transport", ""]
    lines.append(
        f"{part['date']}, {built}; load of the machine before {loads['before']}, after {loads['after']}."
    )
    lines += [f"{titles[name]} is left out: {reason}." for name, reason in part["left_out"].items()]
    header = " | ".join(titles[name] for name in servers)
    lines += ["", "Calls per second (p50 / p99 in ms), and how many times as many ours answers:", ""]
    lines += [f"| transport | version | at once | tool | {header} |"]
    lines += ["|---|---|--:|---|" + "--:|" * len(servers)]
    rows = {}
    for load in part["loads"]:
        key = (load["way"], load["era"], load["at_once"], load["tool"])
        rows.setdefault(key, {})[load["server"]] = load
    for (way, era, at_once, tool), row in rows.items():
        cells = [cell(row.get(name), row.get("ours"), number) for name in servers]
        lines.append(f"| {way} | {era} | {at_once} | `{tool}` | " + " | ".join(cells) + " |")
    lines += ["", f"| | unit | {header} |", "|---|---|" + "--:|" * len(servers)]
    for way in ("stdio", "http"):
        found = {one["server"]: one["ms"] for one in part["starts"] if one["way"] == way}
        cells = [number(found.get(name)) for name in servers]
        lines.append(f"| First answer after a start, {way} | ms | " + " | ".join(cells) + " |")
    kinds = [("idle", "Resident memory after a start"), ("after calls", "Resident memory after all calls")]
    held = "Resident memory that 1,000 sessions take"
    kinds += [(way, f"{held}, {way}") for way in ("http", "websocket", "tcp")]
    for what, title in kinds:
        found = {
            one["server"]: one["mb"]
            for one in part["memory"]
            if one["what"] == what and (what in ("idle", "after calls") or one["sessions"])
        }
        cells = [number(found.get(name)) for name in servers]
        lines.append(f"| {title} | MB | " + " | ".join(cells) + " |")
    if part["problems"]:
        lines += ["", "What could not be measured:", ""]
        lines += [f"- {titles[one['server']]}: {one['problem']}" for one in part["problems"]]
    return [*lines, "", MEANING.rstrip()]


def cell(load, ours, number):
    """Writes one server's figures of one row."""
    if not load:
        return "–"
    text = f"{number(load['calls_per_s'])} ({number(load['p50_ms'])} / {number(load['p99_ms'])})"
    if load["server"] == "ours":
        return f"**{text}**"
    if not ours or not load["calls_per_s"]:
        return text
    return f"{text} ×{number(ours['calls_per_s'] / load['calls_per_s'])}"
