# SPDX-License-Identifier: Apache-2.0
"""Checks the page of `elek memory --html` in headless Chromium: page_check.py light|dark|many ELEK FOLDER.

light, dark: the page of a network in a window of 1280x720, with either theme asked for by the system: layout, sizes of text,
contrast, clicks, keys, zoom, search, printing, and the sums against those computed here from the same data.
many: 100,000 events; the script's time for a frame.
The checks are in page_checks.js, which this adds to a copy of the page. Exit code 77: Chromium is missing."""
import json
import os
import random
import re
import shutil
import subprocess
import sys

MOST_MS = 8.0  # for one frame: half of what a screen of 60 Hz leaves


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    print("skipped: no chromium in the path; install Debian's package chromium to run these tests")
    sys.exit(77)


def alive(blocks, steps):
    """Bytes alive at each step, rounded up to 256: the sum over all blocks, step by step."""
    found = []
    for step in range(steps):
        now = (b for b, f, l in zip(blocks["bytes"], blocks["first"], blocks["last"]) if f <= step <= l)
        found.append(sum((b + 255) // 256 * 256 for b in now))
    return found


def many_blocks():
    """50,000 blocks (100,000 events), up to 500 alive, each placed at the lowest free offset among fixed slots."""
    rng = random.Random(1)
    steps, slots = 100_000, [None] * 500
    blocks = {k: [] for k in ("name", "detail", "bytes", "first", "last", "workspace")}
    offset, room, live = [], [], []
    for step in range(steps):
        if live and (len(live) == 500 or rng.random() < 0.5):
            block, slot = live.pop(rng.randrange(len(live)))
            blocks["last"][block] = step
            slots[slot] = None
        else:
            slot = slots.index(None)
            slots[slot] = True
            size = rng.randrange(1, 1_000_000)
            live.append((len(offset), slot))
            offset.append(slot * 1_000_192)
            room.append((size + 255) // 256 * 256)
            for key, value in (("name", f"block {len(offset)}"), ("detail", ""), ("bytes", size), ("first", step),
                               ("last", steps - 1), ("workspace", 0)):
                blocks[key].append(value)
    panels = [{"key": key, "title": key, "reserved": 500 * 1_000_192, "waste": 0.1, "kept": key == "naive", "offset": offset,
               "room": room} for key in ("pool", "naive")]
    one = {"name": "many", "bound": 0, "steps": ["" for _ in range(steps)], "blocks": blocks, "panels": panels}
    return {"session": [], "weights": {"name": [], "bytes": []}, "sets": [one], "sweeps": []}


def main():
    what, elek, folder = sys.argv[1:]
    chromium = browser()
    os.makedirs(folder, exist_ok=True)
    page = os.path.join(folder, f"{what}.html")
    subprocess.run([elek, "memory", "--arch", "resnet18", "--threads", "2", "--html", page, "--batches", "1,2,4",
                    "--threads-list", "1,2", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    with open(page, encoding="utf-8") as file:
        html = file.read()
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^'\"\s<]*", html)) - {"http://www.w3.org/2000/svg"}
    assert not addresses, f"the page names an address: {addresses}"
    start = html.index('id="data">') + len('id="data">')
    end = html.index("</script>", start)
    data = many_blocks() if what == "many" else json.loads(html[start:end])
    expected = {"what": what}
    if what != "many":
        expected["alive"] = [alive(s["blocks"], len(s["steps"])) for s in data["sets"]]
        expected["bounds"] = [s["bound"] for s in data["sets"]]
        assert [max(a) for a in expected["alive"]] == expected["bounds"], "elek's bound is not the largest sum"
    with open(os.path.join(os.path.dirname(__file__), "page_checks.js"), encoding="utf-8") as file:
        checks = file.read()
    html = (html[:start] + json.dumps(data).replace("<", "\\u003c") + html[end:]).replace(
        "</body>", f"<script>const expected = {json.dumps(expected)};\n{checks}</script></body>")
    tested = os.path.join(folder, f"{what}_tested.html")
    with open(tested, "w", encoding="utf-8") as file:
        file.write(html)
    done = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,720", "--hide-scrollbars",
                           f"--blink-settings=preferredColorScheme={0 if what == 'dark' else 1}", "--dump-dom",
                           "file://" + os.path.abspath(tested)], capture_output=True, text=True, timeout=240, check=False)
    found = re.search(r'<pre id="checks">(.*?)</pre>', done.stdout, re.S)
    if not found:
        sys.exit("the page's checks did not end:\n" + done.stderr[-3000:])
    results = json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    for name, ok, got in results["checks"]:
        print("ok  " if ok else "FAIL", name, "" if ok else f"(found: {got})")
    failed = sum(not ok for _, ok, _ in results["checks"])
    if "frames" in results:
        for name, times in results["frames"].items():
            times.sort()
            middle = times[len(times) // 2]
            print(f"{name}: {middle:.1f} ms in the middle of {len(times)} frames, at most {times[-1]:.1f} ms")
            failed += middle > MOST_MS
        assert results["frames"], "no frame was timed"
    print(f"{len(results['checks'])} checks, {failed} failed")
    sys.exit(1 if failed or not results["checks"] else 0)


main()
