# SPDX-License-Identifier: Apache-2.0
"""Makes tables and a plot from the files that bench/peers/measure.py wrote. It needs only Python's standard library.

    bench/peers/report.py A.json B.json     makes docs/benchmarks.md between its markers, and the .svg beside it
    bench/peers/report.py                   the same, from the files that the page names
    bench/peers/report.py A.json --print    only shows the tables
A later file's job replaces the job of an earlier file with the same network, variant, batch and precision, as a whole. So engines
that did not take turns are never in one row. Every table says which elek it measured, and when.
The verdict is "faster" or "slower" where the 10-90 % ranges of two engines' times do not overlap, else "ranges overlap". Rows that
elek loses are shown too. No line is longer than 160 characters. The format of the first file of 2026-11-22 is read too (speed of
dense networks only).
Tests: bench/peers/report_test.py
"""
import argparse
import html
import json
import math
import pathlib
import re
import sys
import textwrap

BEGIN, END = "<!-- begin: bench/peers/report.py -->", "<!-- end: bench/peers/report.py -->"
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs" / "benchmarks.md"
JOBS = {"results": ("arch", "variant", "batch", "precision"), "watch": ("arch", "batch"), "first": ("arch",), "observe": ("arch",)}
COLOURS = {"elek": "#d1242f", "onnxruntime": "#0969da", "openvino": "#8250df", "ncnn": "#1a7f37", "pytorch": "#bf8700",
           "pytorch-channels-last": "#7d4e00"}


def quantile(values, q):
    """Linear between order statistics, as numpy's default."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values):
    return quantile(values, 0.5)


def spread(values):
    return {"p10": quantile(values, 0.1), "p50": median(values), "p90": quantile(values, 0.9)}


def ratios(rounds, above, below):
    """Time of `above` divided by time of `below`, per round: a machine's speed drifts between rounds, not within one."""
    return spread([median(a) / median(b) for a, b in zip(rounds[above], rounds[below])])


def summary(result):
    """For one cell: each engine's ms per batch, the best peer, elek's speed over it, the verdict."""
    rounds = result["rounds_us"]
    ms = {peer: spread([us / 1e3 for turn in turns for us in turn]) for peer, turns in rounds.items()}
    peers = [peer for peer in rounds if not peer.startswith("elek")]
    out = {"ms": ms, "batch": result["batch"]}
    if "elek" in ms and peers:
        best = min(peers, key=lambda peer: ms[peer]["p50"])
        out |= {"best": best, "speed": ratios(rounds, best, "elek"), "verdict": verdict(ms["elek"], ms[best])}
    return out


def verdict(own, other):
    if own["p90"] < other["p10"]:
        return "faster"
    if other["p90"] < own["p10"]:
        return "slower"
    return "ranges overlap"


def grid(head, rows):
    """A table that can be read both as markdown and on a terminal."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    def line(row):
        return "| " + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))) + " |"

    lines = [line(row) for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|",
                      *lines[1:]])


def folded(text):
    """A paragraph in lines of at most 150 characters."""
    return textwrap.fill(text, 150, break_long_words=False, break_on_hyphens=False)


# ---- one file or several ----


def part(row, name):
    """A field of a job; the first files had only dense networks in f32."""
    return row.get(name, {"variant": "dense", "precision": "f32"}.get(name))


def job_name(kind, arch, variant="dense", batch=0, precision="f32"):
    return {"results": f"speed of {arch}, {variant}, batch {batch}" + ("" if precision == "f32" else f", {precision}"),
            "watch": f"statistics of {arch}, batch {batch}", "first": f"first result of {arch}", "observe": "statistics"}[kind]


def merge(files):
    """[(name, what measure.py wrote)] -> {kind: rows, "sittings": those with a row, "not_measured": names}. A row knows its
    sitting: file, date, machine, threads, versions."""
    rows, wanted = {kind: {} for kind in JOBS}, []
    for name, data in files:
        named = re.match(r"\d{4}-\d{2}-\d{2}", pathlib.PurePath(name).name)
        date = data["machine"].get("date", named.group() if named else "")
        sitting = {"file": str(name), "date": date} | {key: data[key] for key in ("machine", "threads", "versions")}
        wanted += data.get("not_measured", [])
        for kind, names in JOBS.items():
            for row in data.get(kind, []):
                rows[kind][tuple(part(row, n) for n in names)] = row | {"sitting": sitting}
    measured = {job_name(kind, **{n: part(row, n) for n in JOBS[kind]}) for kind, by in rows.items() for row in by.values()}
    out = {kind: list(by.values()) for kind, by in rows.items()}
    first_seen = {name: list(dict.fromkeys(part(row, name) for row in out["results"])) for name in ("precision", "arch")}
    out["results"].sort(key=lambda row: (first_seen["precision"].index(part(row, "precision")), part(row, "variant"),
                                         first_seen["arch"].index(row["arch"]), row["batch"]))
    used = [row["sitting"] for by in out.values() for row in by]
    return out | {"sittings": [s for i, s in enumerate(used) if s not in used[:i]],
                  "not_measured": [n for n in dict.fromkeys(wanted) if n not in measured]}


def commit(sitting):
    return sitting["machine"]["sha"][:7] + (" (with changes not committed)" if sitting["machine"]["dirty"] else "")


def origin(rows):
    """Which commits of elek were measured, and when."""
    words = [f"elek {commit(r['sitting'])}" + (f" of {r['sitting']['date']}" if r["sitting"]["date"] else "") for r in rows]
    return ", ".join(dict.fromkeys(words))


def with_commits(head, cells, rows):
    """Adds a column if the rows come from several commits."""
    commits = [commit(row["sitting"]) for row in rows]
    return grid(head, cells) if len(set(commits)) == 1 else grid([*head, "of elek"], [[*c, sha] for c, sha in zip(cells, commits)])


# ---- tables ----


def label(result):
    variant = part(result, "variant")
    return result["arch"] + ("" if variant == "dense" else ", " + variant.replace("-", " by ") + " %")


def cell(result, peer, figures, text):
    """One engine in a row: its figure, or why there is none."""
    return text(figures[peer]) if peer in figures else result.get("left_out", {}).get(peer, "")


def engines(results):
    return list(dict.fromkeys(peer for result in results for peer in [*result["rounds_us"], *result.get("left_out", {})]
                              if not peer.startswith("elek+")))


def ranged(s, digits=2):
    return f"{s['p50']:.{digits}f} ({s['p10']:.{digits}f}-{s['p90']:.{digits}f})"


def images(batch, ms):
    """images/s: median and 10-90 % range."""
    per_second = {"p10": 1e3 * batch / ms["p90"], "p50": 1e3 * batch / ms["p50"], "p90": 1e3 * batch / ms["p10"]}
    return ranged(per_second, 1 if per_second["p50"] < 1000 else 0)


def speed_columns(results, names):
    """Label, batch and images/s of these engines, for each result."""
    rows = []
    for result in results:
        ms, batch = summary(result)["ms"], result["batch"]
        rows.append([label(result), batch, *(cell(result, peer, ms, lambda of, batch=batch: images(batch, of)) for peer in names)])
    return rows


def own_and_peers(results):
    names = engines(results)
    return [n for n in names if n == "elek"], [n for n in names if n != "elek"]


def speed_table(results):
    """elek and its verdict. The peers have a table of their own: together the rows would be too long to read."""
    own, _ = own_and_peers(results)
    rows = speed_columns(results, own)
    for row, s in zip(rows, map(summary, results)):
        row += [f"{ranged(s['speed'])} {s['best']}", s["verdict"]] if "best" in s else ["", ""]
    return with_commits(["images/s", "batch", *own, "elek over the best peer", "verdict"], rows, results)


def peers_table(results):
    _, peers = own_and_peers(results)
    return grid(["images/s of the peers", "batch", *peers], speed_columns(results, peers))


def difference_table(results):
    names = engines(results)
    rows = [[label(r), r["batch"], *(cell(r, p, r["differences"], lambda d: f"{100 * d:.2f} %") for p in names)] for r in results]
    return with_commits(["difference from f32", "batch", *names], rows, results)


def price(turns):
    """Median of the pairs' ratios with its 95 % interval, between the order statistics n/2 -+ 1.96 sqrt(n)/2 (valid for any
    distribution); and the ratio of the fastest turns, which other work on the machine affects least."""
    ratio, n = sorted(with_it / without for without, with_it in turns), len(turns)
    reach = 0.98 * math.sqrt(n)
    low, high = max(0, math.floor(n / 2 - reach) - 1), min(n - 1, math.ceil(n / 2 + reach))
    return {"p50": median(ratio), "low": ratio[low], "high": ratio[high],
            "fastest": min(with_it for _, with_it in turns) / min(without for without, _ in turns)}


def watch_table(results):
    rows = []
    for result in results:
        p = price(result["turns_us"])
        rows.append([result["arch"], result["batch"], len(result["turns_us"]), f"{p['p50']:.3f} ({p['low']:.3f}-{p['high']:.3f})",
                     f"{p['fastest']:.3f}"])
    return with_commits(["time with statistics / without", "batch", "pairs", "median (its 95 % interval)", "fastest turns"], rows,
                        results)


def megabytes(values):
    return f"{median(values) / 1e6:.0f}"


def memory_table(results):
    names, rows = engines(results), []
    for result in results:
        peak = {peer: figures["peak_resident_bytes"] for peer, figures in result["memory"].items()}
        peers = [value for peer, value in peak.items() if not peer.startswith("elek")]
        word = "" if "elek" not in peak or not peers else "below every peer" if peak["elek"] < min(peers) else "not below every peer"
        rows.append([label(result), result["batch"], *(cell(result, p, peak, lambda v: megabytes([v])) for p in names), word])
    return with_commits(["peak RSS, MB", "batch", *names, "elek's"], rows, results)


def first_table(results):
    names = list(dict.fromkeys(peer for result in results for peer in result["engines"]))
    rows = []
    for result in results:
        times = {peer: spread(figures["seconds"]) for peer, figures in result["engines"].items()}
        peers = [peer for peer in times if not peer.startswith("elek")]
        best = min(peers, key=lambda peer: times[peer]["p50"], default=None)
        word = "" if best is None or "elek" not in times else verdict(times["elek"], times[best])
        word = {"faster": "sooner", "slower": "later"}.get(word, word)
        rows.append([result["arch"], *(ranged(times[p]) if p in times else "" for p in names), word])
    return with_commits(["seconds to the first result", *names, "elek"], rows, results)


def observe_table(result):
    rows, counts = [], list(dict.fromkeys(count for by in result["engines"].values() for count in by))
    for count in counts:
        for peer, by in result["engines"].items():
            plain = result["engines"][peer.split("+")[0]]
            if not by[count]:
                rows.append([peer, count, result["left_out"].get(f"{peer} {count}", ""), "", ""])
                continue
            seconds, base = (median([f["seconds"] for f in each[count]]) for each in (by, plain))
            rss = [f["peak_resident_bytes"] for f in by[count]]
            above = median(rss) - median([f["peak_resident_bytes"] for f in plain[count]])
            rows.append([peer, count, f"{seconds:.2f} ({seconds / base:.2f}x)", megabytes(rss), f"{above / 1e6:+.1f}"])
    return grid([f"{result['arch']}, batches of {result['batch']}", "batches", "s (over plain)", "peak RSS, MB", "above plain, MB"],
                rows)


def was_quiet(machine):
    """Whether other work took less than a tenth of a core (the first files have only the load average)."""
    return machine["busy_cores_before"] <= 0.1 if "busy_cores_before" in machine else machine["load_before"] <= 0.3


def machine_lines(sittings):
    """Machine and peers; only once if all are the same."""
    lines = []
    for s in sittings:
        versions = [f"{peer} {v.split('-')[0]}" for peer, v in s["versions"].items() if peer != "pytorch-channels-last"]
        lines.append((s, f"{s['machine']['cpu']}, {s['threads']} threads of {s['machine']['cores']} cores", versions))
    peers = max((versions for _, _, versions in lines), key=len, default=[])
    where = list(dict.fromkeys(machine for _, machine, _ in lines))
    if len(where) == 1 and all(set(versions) <= set(peers) for _, _, versions in lines):
        text = [", ".join([where[0], *peers]) + "."]
    else:
        text = []
        for machine in where:
            here = [(commit(s), versions) for s, m, versions in lines if m == machine]
            commits = ", ".join(dict.fromkeys(f"elek {c}" for c, _ in here))
            text.append(f"{commits}: " + ", ".join([machine, *max((v for _, v in here), key=len)]) + ".")
    loud = ", ".join(dict.fromkeys(f"elek {commit(s)}" for s in sittings if not was_quiet(s["machine"])))
    return text + ([f"**The machine was not quiet ({loud}): such figures show the form, not the speed.**"] if loud else [])


def repeats(rows):
    """How many turns were repeated because the machine was slow, per engine; nothing for files that did not check."""
    looked = [row for row in rows if "repeated" in row]
    turns = sum(len(rounds) for row in looked for rounds in row["rounds_us"].values())
    by = {peer: sum(row["repeated"].get(peer, 0) for row in looked) for peer in engines(looked)}
    return f" {turns} turns count. Repeated because the machine was slow: " + \
        ", ".join(f"{n} of {p}" for p, n in by.items()) + "." if looked else ""


def speed_parts(rows, precision):
    parts = [f"### Speed, {precision}", folded(f"{origin(rows)}; median and 10-90 % range of all runs.{repeats(rows)}"),
             speed_table(rows), peers_table(rows)]
    weighed = [r for r in rows if "memory" in r]
    if weighed:
        parts += [f"### Peak memory, {precision}", f"{origin(weighed)}; of the same processes.", memory_table(weighed)]
    compared = [r for r in rows if "differences" in r]
    if precision != "f32" and compared:
        base = "elek's, which computes the same quantised network" if precision == "int8" else "ONNX Runtime's in f32"
        parts += [f"### What {precision} costs", f"{origin(compared)}; a logit's largest difference from {base}, as a "
                  "share of the largest logit.", difference_table(compared)]
    return parts


def tables(merged):
    parts = [folded(line) for line in machine_lines(merged["sittings"])]
    for precision in dict.fromkeys(part(r, "precision") for r in merged["results"]):
        parts += speed_parts([r for r in merged["results"] if part(r, "precision") == precision], precision)
    if merged["first"]:
        parts += ["### From the process's start to the first result", f"{origin(merged['first'])}; batch 1, fresh processes.",
                  first_table(merged["first"])]
    if merged["watch"]:
        parts += ["### What watching costs", f"{origin(merged['watch'])}; std-consumer's sums.", watch_table(merged["watch"])]
    if merged["observe"]:
        parts += ["### Collecting statistics", f"{origin(merged['observe'])}; fresh processes."]
        parts += [observe_table(each) for each in merged["observe"]]
    if merged["not_measured"]:
        parts.append(folded("Not measured, for want of time: " + "; ".join(merged["not_measured"]) + "."))
    return "\n\n".join(parts)


# ---- plot ----

ROW, LEFT, WIDTH, TOP = 26, 330, 1000, 64  # LEFT: the longest name's end


def svg(results):
    """One row per cell: each engine's images/s over those of the fastest peer (1.0), with its 10-90 % range, on a log axis."""
    cells = [(label(r) + f", batch {r['batch']}" + ("" if part(r, "precision") == "f32" else f", {r['precision']}"), summary(r))
             for r in results]
    cells = [(name, s) for name, s in cells if "best" in s]
    relative = []
    for name, s in cells:
        best = s["ms"][s["best"]]["p50"]
        relative.append((name, {peer: {q: best / ms[q] for q in ms} for peer, ms in s["ms"].items() if peer in COLOURS}))
    values = [v[q] for _, by in relative for v in by.values() for q in v] or [1.0]
    low, high = min(values) / 1.05, max(values) * 1.05
    height = TOP + ROW * len(cells) + 40

    def x(value):
        return LEFT + (WIDTH - LEFT - 30) * math.log(value / low) / math.log(high / low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="13">', f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           f'<text x="12" y="22" font-weight="bold">Images per second over the fastest peer\'s (median, bar: 10-90 % of the runs)</text>']
    at = 12
    for peer in [p for p in COLOURS if any(p in by for _, by in relative)]:
        out.append(f'<circle cx="{at + 5}" cy="42" r="5" fill="{COLOURS[peer]}"/><text x="{at + 15}" y="46">{peer}</text>')
        at += 38 + 7.2 * len(peer)
    bottom = TOP + ROW * len(cells)
    for tick in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0):
        if low <= tick <= high:
            colour = "#57606a" if tick == 1.0 else "#d0d7de"
            out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 4}" y2="{bottom}" stroke="{colour}"/>'
                       f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle" fill="#57606a">{tick:g}</text>')
    for index, (name, by) in enumerate(relative):
        y = TOP + ROW * index + ROW / 2
        out.append(f'<text x="12" y="{y + 4:.1f}">{html.escape(name)}</text>')
        for peer in reversed([p for p in COLOURS if p in by]):  # elek on top
            v, colour = by[peer], COLOURS[peer]
            out.append(f'<line x1="{x(v["p90"]):.1f}" x2="{x(v["p10"]):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
                       f'stroke-width="3" stroke-opacity="0.5"/><circle cx="{x(v["p50"]):.1f}" cy="{y:.1f}" '
                       f'r="{6 if peer == "elek" else 4.5}" fill="{colour}"/>')
    return "\n".join([*out, "</svg>"]) + "\n"


def replace_between(text, new, where):
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{where}: expected one '{BEGIN}' and after it one '{END}'")
    return text[: text.index(BEGIN)] + BEGIN + "\n" + new + "\n" + text[text.index(END) :]


def read(files):
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: not there; name the files that the tables shall be made of")
    return [(name_of(file), json.loads(file.read_text())) for file in files]


def name_of(file):
    file = file.resolve()
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file


def named_in(docs):
    """The files that the page's tables were made from."""
    named = re.search(r"`bench/peers/report.py ([^`]+)`", docs.read_text())
    return [ROOT / word for word in named.group(1).split()] if named else []


def update(files, docs):
    """Writes the part of `docs` between the markers, and the plot beside it."""
    outside = [str(file) for file in files if docs.is_relative_to(ROOT) and not file.resolve().is_relative_to(ROOT)]
    if outside:
        raise SystemExit(f"{', '.join(outside)}: what the page is made of belongs beside it; put it into bench/results")
    merged = merge(read(files))
    new = folded(f"Made by `bench/peers/report.py {' '.join(str(name_of(file)) for file in files)}`.") + "\n\n"
    if merged["results"]:
        picture = docs.with_suffix(".svg")
        new += f"![Speed beside the peers]({picture.name})\n\n"
        picture.write_text(svg(merged["results"]))
    docs.write_text(replace_between(docs.read_text(), new + tables(merged), docs))
    print(f"{docs} is made of {', '.join(map(str, files))}", file=sys.stderr)


def add_to(file, docs):
    """Makes the page anew from its files and, last, `file`."""
    update([*(each for each in named_in(docs) if each.resolve() != file.resolve()), file], docs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=pathlib.Path, nargs="*", help="later ones replace; none: those that the page names")
    parser.add_argument("--docs", type=pathlib.Path, default=DOCS)
    parser.add_argument("--print", action="store_true", help="only show the tables")
    args = parser.parse_args()
    files = args.files or named_in(args.docs)
    if not files:
        parser.error(f"no file, and {args.docs} names none")
    if args.print:
        print(tables(merge(read(files))))
    else:
        update(files, args.docs)


if __name__ == "__main__":
    main()
