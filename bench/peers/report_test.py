# SPDX-License-Identifier: Apache-2.0
"""Tests report.py on made-up measurements: the words "faster" and "slower", a lost row, several files merged, bf16, the page.
Run: python3 report_test.py"""
import json
import pathlib
import tempfile
import unittest

import report


def cell(**ms):
    """Every engine runs three rounds of these times."""
    rounds = {peer: [[1e3 * v for v in values]] * 3 for peer, values in ms.items()}
    return {"arch": "net", "batch": 2, "rounds_us": rounds}


def data(*results, sha="0123"):
    return {"machine": {"cpu": "a CPU", "cores": 2, "sha": sha, "dirty": False, "load_before": 0.1}, "threads": 2,
            "versions": {"onnxruntime": "1"}, "results": list(results)}


def tables(*files):
    return report.tables(report.merge([(f"2026-01-0{day}-f.json", file) for day, file in enumerate(files, start=1)]))


class ReportTest(unittest.TestCase):
    def test_quantiles_are_linear_between_order_statistics(self):
        self.assertEqual(report.median([4, 1, 3, 2]), 2.5)
        self.assertAlmostEqual(report.quantile(range(11), 0.1), 1.0)
        self.assertEqual(report.quantile([7], 0.9), 7)

    def test_faster_needs_ranges_that_do_not_overlap(self):
        apart = report.summary(cell(elek=[10, 11, 12], ncnn=[30, 31, 32], openvino=[20, 21, 22]))
        self.assertEqual((apart["best"], apart["verdict"]), ("openvino", "faster"))
        self.assertAlmostEqual(apart["speed"]["p50"], 21 / 11)
        self.assertEqual(report.summary(cell(elek=[10, 11, 21.9], openvino=[20, 21, 22]))["verdict"], "ranges overlap")
        self.assertEqual(report.summary(cell(elek=[30, 31], openvino=[20, 21]))["verdict"], "slower")

    def test_price_of_statistics(self):
        turns = [[100, 100 + i] for i in range(1, 101)]  # ratios 1.01 ... 2.00
        price = report.price(turns)
        self.assertAlmostEqual(price["p50"], 1.505)
        self.assertAlmostEqual(price["low"], 1.40)  # the 40th and the 61st of 100: binomial, 95 %
        self.assertAlmostEqual(price["high"], 1.61)
        self.assertAlmostEqual(price["fastest"], 1.01)
        self.assertEqual(report.price([[2, 3]])["low"], 1.5)

    def test_a_lost_row_stands_in_table_and_plot(self):
        lost = data(cell(elek=[40, 40, 40], onnxruntime=[20, 20, 20]))
        self.assertIn("0.50 (0.50-0.50) onnxruntime |  slower", tables(lost))
        self.assertIn("net, batch 2", report.svg(lost["results"]))

    def test_repeated_turns_are_counted_for_each_engine(self):
        looked = cell(elek=[1], ncnn=[2]) | {"repeated": {"elek": 2, "ncnn": 0}}
        self.assertIn("12 turns count. Repeated because the machine was slow: 4 of elek, 0 of ncnn.",
                      tables(data(looked, looked | {"batch": 3})))
        self.assertNotIn("Repeated", tables(data(cell(elek=[1], ncnn=[2]))))

    def test_a_machine_with_other_work_is_named(self):
        loud = data(cell(elek=[1], ncnn=[1]))
        self.assertNotIn("not quiet", tables(loud))
        loud["machine"]["load_before"] = 2.0
        self.assertIn("not quiet", tables(loud))
        loud["machine"]["busy_cores_before"] = 0.0  # the load average still counted what had ended
        self.assertNotIn("not quiet", tables(loud))
        loud["machine"]["busy_cores_before"] = 0.5
        self.assertIn("not quiet", tables(loud))

    def test_only_the_part_between_the_markers_changes(self):
        text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        once = report.replace_between(text, "new", "here")
        self.assertEqual(once, f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n")
        self.assertEqual(report.replace_between(once, "new", "here"), once)
        with self.assertRaises(SystemExit):
            report.replace_between("no markers", "new", "here")

    def test_a_later_file_replaces_the_same_job_whole(self):
        old = data(cell(elek=[10], ncnn=[20], pytorch=[80]), cell(elek=[1], ncnn=[2]) | {"batch": 16}, sha="aaaa")
        new = data(cell(elek=[5], ncnn=[20]), sha="bbbb")
        text = tables(old, new)
        rows = [line for line in text.splitlines() if line.startswith("| net")]
        self.assertEqual(len(rows), 4)  # elek's two, and the peers' two
        self.assertIn("400.0 (400.0-400.0)", rows[0])  # the new elek's, 2 images in 5 ms
        self.assertNotIn("pytorch", text)  # what did not take turns with it is not beside it
        self.assertTrue(rows[0].endswith("bbbb |") and rows[1].endswith("aaaa |"), rows)
        self.assertIn("100.0 (100.0-100.0)", rows[2])  # the new ncnn's, 2 images in 20 ms
        self.assertIn("elek bbbb of 2026-01-02, elek aaaa of 2026-01-01", text)
        self.assertNotIn("of elek", tables(old))  # one commit: said once, above
        self.assertIn("200.0 (200.0-200.0)", tables(new, old))

    def test_no_line_is_too_long_to_read(self):
        names = {name: [1234.5, 2345.6, 3456.7] for name in ("elek", "onnxruntime", "openvino", "ncnn", "pytorch")}
        wide = cell(**names, **{"pytorch-channels-last": [1]}) | {"arch": "resnet18-cifar", "variant": "pruned-30"}
        left = cell(elek=[1]) | {"left_out": {"ncnn": "this engine did not answer"}, "repeated": {name: 100 for name in names}}
        text = tables(*(data(wide, left | {"batch": n}, sha=f"{n:07}") for n in range(1, 9)))
        self.assertLessEqual(max(map(len, text.splitlines())), 160)

    def test_only_what_no_file_measured_is_not_measured(self):
        old, new = data(cell(elek=[1], ncnn=[2])), data(cell(elek=[1], ncnn=[2]) | {"batch": 16})
        old["not_measured"] = [report.job_name("results", "net", batch=16), report.job_name("first", "net")]
        self.assertIn("for want of time: first result of net.", tables(old, new))
        self.assertIn("for want of time: speed of net, dense, batch 16; first result of net.", tables(old))

    def test_bf16_stands_apart_with_its_difference_and_who_has_none(self):
        bf16 = cell(elek=[5], openvino=[10]) | {"precision": "bf16", "left_out": {"onnxruntime": "no bf16"},
                                               "differences": {"elek": 0.004, "openvino": 0.0061}}
        text = tables(data(cell(elek=[10], onnxruntime=[20]), bf16))
        f32, rest = text.split("### Speed, bf16")
        self.assertIn("2.00 (2.00-2.00) onnxruntime", f32)
        self.assertNotIn("openvino", f32)
        self.assertRegex(rest, r"2\.00 \(2\.00-2\.00\) openvino .*\n\n\| images/s of the peers .*\n.*\n\| net .*\n\n### What bf16 costs")
        self.assertRegex(rest, r"\| net +\| +2 \| +0\.40 % \| +0\.61 % \| +no bf16 \|")
        self.assertEqual(rest.count("no bf16"), 2)
        self.assertIn("net, batch 2, bf16", report.svg([bf16]))

    def test_the_page_is_made_anew_of_the_files_that_it_names(self):
        with tempfile.TemporaryDirectory() as folder:
            docs, a, b = (pathlib.Path(folder) / name for name in ("page.md", "a.json", "b.json"))
            docs.write_text(f"top\n{report.BEGIN}\n{report.END}\n")
            a.write_text(json.dumps(data(cell(elek=[10], ncnn=[20]))))
            b.write_text(json.dumps(data(cell(elek=[5], ncnn=[20]))))
            report.update([a], docs)
            self.assertIn("2.00 (2.00-2.00) ncnn", docs.read_text())
            for _ in range(2):  # the second time it is there already
                report.add_to(b, docs)
                self.assertEqual(report.named_in(docs), [a.resolve(), b.resolve()])
                self.assertIn("4.00 (4.00-4.00) ncnn", docs.read_text())
            self.assertTrue(docs.with_suffix(".svg").exists())
            a.unlink()
            with self.assertRaisesRegex(SystemExit, "a.json: not there"):
                report.update(report.named_in(docs), docs)


class CommittedResultsTest(unittest.TestCase):
    def test_the_page_is_what_its_files_give(self):
        files = report.named_in(report.DOCS)
        self.assertTrue(files)
        merged, text = report.merge(report.read(files)), report.DOCS.read_text()
        remade = "run bench/peers/report.py; what stands between the markers is never written by hand"
        self.assertTrue(report.tables(merged) in text, remade)
        self.assertTrue(report.DOCS.with_suffix(".svg").read_text() == report.svg(merged["results"]), remade)


if __name__ == "__main__":
    unittest.main()
