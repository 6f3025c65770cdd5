# SPDX-License-Identifier: Apache-2.0
"""report.py on made-up measurements: the words "faster" and "slower", a lost row, the markers. Run: python3 report_test.py"""
import unittest

import report


def cell(**ms):
    """Every engine runs three rounds of these times."""
    rounds = {peer: [[1e3 * v for v in values]] * 3 for peer, values in ms.items()}
    return {"arch": "net", "batch": 2, "rounds_us": rounds}


def data(*results):
    return {"machine": {"cpu": "a CPU", "cores": 2, "sha": "0123", "dirty": False, "load_before": 0.1}, "threads": 2,
            "versions": {"onnxruntime": "1"}, "results": list(results)}


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
        self.assertIn("0.50 (0.50-0.50) onnxruntime |  slower", report.tables(lost))
        self.assertIn("net, batch 2", report.svg(lost))

    def test_a_machine_with_other_work_is_named(self):
        loud = data(cell(elek=[1], ncnn=[1]))
        self.assertNotIn("not quiet", report.tables(loud))
        loud["machine"]["load_before"] = 2.0
        self.assertIn("not quiet", report.tables(loud))
        loud["machine"]["busy_cores_before"] = 0.0  # the load average still counted what had ended
        self.assertNotIn("not quiet", report.tables(loud))
        loud["machine"]["busy_cores_before"] = 0.5
        self.assertIn("not quiet", report.tables(loud))

    def test_only_the_part_between_the_markers_changes(self):
        text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        once = report.replace_between(text, "new", "here")
        self.assertEqual(once, f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n")
        self.assertEqual(report.replace_between(once, "new", "here"), once)
        with self.assertRaises(SystemExit):
            report.replace_between("no markers", "new", "here")


if __name__ == "__main__":
    unittest.main()
