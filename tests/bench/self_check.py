"""What the benchmark says of figures, with figures that are made up: medians, ratios, verdicts, the search for a rate,
pictures. Needs no namespaces."""

import importlib.machinery
import importlib.util
import pathlib
import tempfile
import types
import unittest
import xml.dom.minidom

import svg
from measures import Plan, highest_rate, make_tables, row_of
from report import report_text, table_text
from results import Results
from targets import judge
from tools import Setting, Stalled

HERE = pathlib.Path(__file__).resolve().parent


def load_script(name):
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def verdict(results, what):
    return next(target for target in judge(results) if target.what.startswith(what))


class Verdicts(unittest.TestCase):
    def setUp(self):
        self.results = Results(make_tables())

    def add(self, table, row, column, *samples):
        for sample in samples:
            self.results.add(table, row, column, sample)

    def test_a_ratio_is_of_medians_and_met_at_its_bound(self):
        self.add("crr", "cordon", 16, 1, 110, 900)
        self.add("crr", "pasta", 16, 100)
        self.assertEqual(verdict(self.results, "connections, 16 at once").verdict, "met")
        self.add("crr", "pasta", 16, 102)
        self.assertEqual(verdict(self.results, "connections, 16 at once").verdict, "not met")

    def test_where_less_is_better_more_is_not_met(self):
        self.add("cpu", "pasta", "up 1", 0.2)
        self.add("cpu", "cordon", "up 1", 0.08)
        self.assertEqual(verdict(self.results, "CPU per GB up 1").verdict, "met")
        self.assertFalse(verdict(self.results, "CPU per GB up 1").reaches_aim)
        self.add("cpu", "cordon", "up 1", 0.1)
        self.assertEqual(verdict(self.results, "CPU per GB up 1").verdict, "not met")

    def test_growth_is_by_the_figure_without_anything(self):
        self.add("flows-crr", "cordon", 0, 1000)
        self.add("flows-crr", "cordon", 10000, 900)
        target = verdict(self.results, "connections beside 10,000 idle flows")
        self.assertAlmostEqual(target.found, 0.9)
        self.assertEqual(target.verdict, "not met")

    def test_what_was_not_measured_or_failed_is_no_figure(self):
        self.add("crr", "pasta", 16, 100)
        self.results.fail("crr", "cordon", 16, "no answer")
        self.assertEqual(verdict(self.results, "connections, 16 at once").verdict, "not measured")
        self.assertEqual(self.results.lacks("cordon"), ["crr: 16: no answer"])
        self.assertIn("failed", table_text(self.results.tables["crr"]))
        self.add("crr", "cordon", 16, 5)
        self.assertEqual(self.results.lacks("cordon"), [])
        self.assertIn("5, 1 failed", table_text(self.results.tables["crr"]))

    def test_every_table_has_a_text_and_a_picture(self):
        for name, table in self.results.tables.items():
            for column in (("0", "1000") if table.axis else ("up 1", "down <&> 1")):
                self.add(name, row_of(Setting("cordon", 1500)), column, 3, 5, 4)
                self.add(name, row_of(Setting("direct")), column, 7)
            self.results.fail(name, "pasta", "0" if table.axis else "up 1", "stalled")
            xml.dom.minidom.parseString(svg.draw(table))
            self.assertEqual(table.rows, ["direct", "cordon 1500", "pasta"])
        text = report_text({"machine": "made up"}, self.results, judge(self.results), ["a remark"])
        self.assertIn("### Targets", text)


class Search(unittest.TestCase):
    """highest_rate() against a wire that carries so much and no more."""

    def search(self, capacity, flood):
        def load(*words, **_):
            rate = float(words[words.index("--rate") + 1]) / 1e9
            arrived = min(rate, capacity)
            return {"gbit": arrived, "offered": rate, "loss": 1 - arrived / rate}

        bench = types.SimpleNamespace(plan=Plan())
        return highest_rate(bench, types.SimpleNamespace(load=load), [], flood)

    def test_finds_what_the_wire_carries(self):
        for capacity in (0.02, 0.5, 3.0):
            for flooded in (0.5 * capacity, capacity, 1.7 * capacity):
                found = self.search(capacity, {"gbit": flooded, "loss": 0.6})
                self.assertLessEqual(found, capacity * 1.001)
                self.assertGreater(found, capacity * 0.85)

    def test_a_flood_without_loss_is_the_answer(self):
        self.assertEqual(self.search(9, {"gbit": 1.5, "loss": 0.0005}), 1.5)

    def test_a_wire_that_loses_everything_has_no_rate(self):
        with self.assertRaises(Stalled):
            self.search(1e-9, {"gbit": 1.0, "loss": 0.9})


class Callgrind(unittest.TestCase):
    def test_the_cost_of_a_call_is_its_callees(self):
        text = "\n".join(["events: Ir", "fl=(1) a.cc", "fn=(1) cordon::a(int)", "10 7", "+1 3",
                          "cfn=(2) cordon::world::b()", "calls=2 20", "12 500", "* 5", "fn=(2)", "20 250", "fn=(1)",
                          "30 1", ""])
        script = load_script("instructions")
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write(text)
            file.flush()
            costs = script.self_costs(pathlib.Path(file.name))
        self.assertEqual(costs, {"cordon::a(int)": 16, "cordon::world::b()": 250})
        self.assertTrue(script.is_core("cordon::a(int)"))
        self.assertTrue(script.is_core("cordon::(anonymous namespace)::entry_of(cordon::Bytes)"))
        self.assertFalse(script.is_core("cordon::world::b()"))
        self.assertFalse(script.is_core("std::copy<cordon::a>(cordon::a*)"))


if __name__ == "__main__":
    unittest.main()
