// SPDX-License-Identifier: Apache-2.0
// What watching costs, and what a cut costs beyond the passes. Watching: ResNet-18 with the CIFAR stem, batches of 50: plain
// inference, the default criterion's sums, every set of sums at once, Wanda's norms; the four take turns in an order that
// rotates, and each is compared with the plain turn of its own round, so that a machine that slows down does so for all.
// Cutting: score, select (scope layer, and the metric refit's scope of MACs) and apply 30 % of ResNet-152, with its goal of two
// seconds, and the peak memory of apply.
// Checked first: every variant gives the plain logits, and counted what it should have. A failed check gives no figure and
// exit code 1. One JSON line a result, every sample in it. Run: build/bin/bench_statistics [rounds = 21] [batches a turn = 4]
// [threads = 2]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/runtime.h"
#include "engine/graph/passes.h"
#include "engine/session.h"
#include "models/resnet.h"
#include "prune/apply.h"
#include "prune/score.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCutGoalMs = 2000;  // of ResNet-152, beyond the passes

constexpr int64_t kBatch = 50;
constexpr double kTolerance = 2e-5;  // of the largest logit

elek::Model random_model(const std::string& arch, elek::Stem stem, const elek::ImageShape& input, int64_t classes) {
  elek::ResNetSpec spec = elek::resnet_spec(arch);
  spec.stem = stem;
  spec.input = input;
  spec.classes = classes;
  elek::Model model;
  model.architecture = arch;
  model.graph = elek::build_resnet(spec);
  model.parameters = elek::random_parameters(model.graph, 7, elek::host_resource());
  model.preprocessing = elek::default_preprocessing(input.channels);
  return model;
}

/// Every set of sums on every stored value, the moments where there is a pre-activation.
elek::Probes every_set(const elek::Graph& graph) {
  elek::Probes probes;
  for (const elek::FusedNode& step : elek::fuse(graph, elek::BatchNorm::kFold).steps) {
    const bool has_z = step.node.is<elek::Conv2dAttrs>() || step.node.is<elek::LinearAttrs>();
    const uint32_t moments = has_z ? uint32_t{elek::kMoments} : 0U;
    probes.values[graph.node(step.output).name] = elek::kActivity | elek::kAbsolute | elek::kRange | elek::kPerSample | moments;
  }
  return probes;
}

void fill(elek::Slot& slot, int64_t count) {
  elek::Random random(11);
  slot.count = count;
  const int64_t bytes = count * slot.shape.elements();
  for (int64_t i = 0; i < bytes; ++i) slot.pixels[i] = static_cast<uint8_t>(random.below(256));
}

struct Variant {
  std::string name;
  std::unique_ptr<elek::Session> session;
  std::vector<double> ms;
};

Variant variant(const std::string& name, const elek::Model& model, const elek::Probes& probes, int threads) {
  elek::SessionOptions options;
  options.batch = kBatch;
  options.threads = threads;
  options.probes = probes;
  Variant made{name, std::make_unique<elek::Session>(model, options), {}};
  fill(made.session->slots()[0], kBatch);
  return made;
}

/// What is wrong with a variant's answers; empty if nothing is.
std::string wrong(Variant& v, const std::vector<float>& plain, const elek::Probes& probes) {
  const auto got = v.session->run(v.session->slots()[0]);
  double largest = 0;
  for (const float x : plain) largest = std::max(largest, std::fabs(static_cast<double>(x)));
  for (size_t i = 0; i < plain.size(); ++i) {
    const double off = std::fabs(static_cast<double>(got[i]) - static_cast<double>(plain[i]));
    if (!(off <= kTolerance * largest)) return v.name + ": logit " + std::to_string(i) + " is off by " + std::to_string(off);
  }
  const elek::Statistics sums = v.session->statistics();
  if (sums.values.size() != probes.values.size() || sums.tap_norms.size() != probes.tap_norms.size())
    return v.name + ": something was not watched";
  for (const auto& [name, value] : sums.values) {
    if (value.samples != kBatch || value.count <= 0 || value.nonfinite != 0) return v.name + ": '" + name + "' was miscounted";
  }
  return "";
}

double median(std::vector<double> values, double share = 0.5) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

std::string list(const std::vector<double>& values) {
  std::string text;
  for (const double v : values) text += (text.empty() ? "" : ", ") + std::to_string(v);
  return "[" + text + "]";
}

int watching(int rounds, int batches, int threads) {
  const elek::Model model = random_model("resnet18", elek::Stem::kCifar, {3, 32, 32}, 10);
  const std::vector<elek::Probes> probes = {{},
                                            elek::probes_for(elek::Criterion::kStdConsumer, model.graph),
                                            every_set(model.graph),
                                            elek::probes_for(elek::Criterion::kWanda, model.graph)};
  const std::vector<std::string> names = {"plain", "default", "every set", "wanda"};
  std::vector<Variant> variants;
  for (size_t i = 0; i < names.size(); ++i) variants.push_back(variant(names[i], model, probes[i], threads));
  const auto logits = variants[0].session->run(variants[0].session->slots()[0]);
  const std::vector<float> plain(logits.begin(), logits.end());
  for (size_t i = 1; i < variants.size(); ++i) {
    if (const std::string what = wrong(variants[i], plain, probes[i]); !what.empty()) {
      std::cerr << "bench_statistics: " << what << "\n";
      return 1;
    }
  }
  for (int round = 0; round < rounds; ++round) {
    for (size_t turn = 0; turn < variants.size(); ++turn) {
      Variant& v = variants[(turn + static_cast<size_t>(round)) % variants.size()];
      (void)v.session->run(v.session->slots()[0]);  // its weights and arena back in the cache, untimed
      const auto start = Clock::now();
      for (int i = 0; i < batches; ++i) (void)v.session->run(v.session->slots()[0]);
      v.ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count() / batches);
    }
  }
  for (const Variant& v : variants) {
    std::vector<double> ratios;
    for (size_t i = 0; i < v.ms.size(); ++i) ratios.push_back(v.ms[i] / variants[0].ms[i]);
    std::cout << R"({"case": "watch resnet18 cifar stem", "variant": ")" << v.name << R"(", "batch": )" << kBatch
              << R"(, "threads": )" << threads << R"(, "median_ms": )" << median(v.ms) << R"(, "ratio": {"p10": )"
              << median(ratios, 0.1) << R"(, "p50": )" << median(ratios) << R"(, "p90": )" << median(ratios, 0.9)
              << R"(}, "statistics_bytes": )" << v.session->memory().statistics_bytes << R"(, "ms": )" << list(v.ms) << "}\n";
  }
  return 0;
}

/// What the metric refit's scope global takes to select: costs that grow along each group's order of going, here drawn. -1 if
/// it leaves more MACs than equal shares do.
double select_macs_ms(const elek::Model& model, const std::vector<elek::Group>& groups, elek::ChannelTarget target) {
  elek::Random random(1);
  std::vector<std::vector<double>> costs;
  for (const elek::Group& group : groups) {
    double cost = 0;
    costs.emplace_back();
    for (int64_t c = 0; group.prunable && c < group.channels; ++c) costs.back().push_back(cost += random.uniform());
  }
  const auto macs_of = [&](const elek::PrunePlan& plan) {
    return elek::macs(elek::apply(model, plan, elek::host_resource()).graph);
  };
  const int64_t equal = macs_of(elek::select_channels(groups, costs, model.graph, target));
  target.scope = elek::Scope::kMacs;
  const auto start = Clock::now();
  const elek::PrunePlan plan = elek::select_channels(groups, costs, model.graph, target);
  const std::chrono::duration<double, std::milli> took = Clock::now() - start;
  return macs_of(plan) <= equal ? took.count() : -1;
}

int cutting(int threads) {
  const elek::Model model = random_model("resnet152", elek::Stem::kImageNet, {3, 64, 64}, 1000);
  elek::SessionOptions options;
  options.batch = 4;
  options.threads = threads;
  options.probes = elek::probes_for(elek::Criterion::kStdConsumer, model.graph);
  elek::Statistics sums;
  {
    elek::Session session(model, options);
    fill(session.slots()[0], options.batch);
    (void)session.run(session.slots()[0]);
    sums = session.statistics();
  }
  elek::Tracker tracker(elek::host_resource());
  const auto start = Clock::now();
  const std::vector<elek::Group> groups = elek::find_groups(model.graph);
  const auto scores = elek::score_channels(model, groups, elek::Criterion::kStdConsumer, sums, 0);
  const auto scored = Clock::now();
  elek::ChannelTarget target;
  target.share = 0.3;
  const elek::PrunePlan plan = elek::select_channels(groups, scores, model.graph, target);
  const auto selected = Clock::now();
  const elek::Model compact = elek::apply(model, plan, tracker);
  const auto applied = Clock::now();
  const auto ms = [](Clock::time_point a, Clock::time_point b) {
    return std::chrono::duration<double, std::milli>(b - a).count();
  };
  const double macs_ms = select_macs_ms(model, groups, target);
  const double cut_ms = ms(start, applied) + std::max(0.0, macs_ms - ms(scored, selected));  // with the slower selection
  const size_t dense_bytes = elek::parameter_bytes(model);
  const size_t pruned_bytes = elek::parameter_bytes(compact);
  const size_t peak_bytes = dense_bytes + tracker.figures().peak_bytes;
  std::cout << R"({"case": "cut resnet152", "score_ms": )" << ms(start, scored) << R"(, "select_ms": )" << ms(scored, selected)
            << R"(, "select_macs_ms": )" << macs_ms << R"(, "apply_ms": )" << ms(selected, applied) << R"(, "cut_ms": )"
            << cut_ms << R"(, "goal_ms": )" << kCutGoalMs << R"(, "dense_bytes": )" << dense_bytes << R"(, "pruned_bytes": )"
            << pruned_bytes << R"(, "peak_bytes": )" << peak_bytes << R"(, "peak_over_both": )"
            << static_cast<double>(peak_bytes) / static_cast<double>(dense_bytes + pruned_bytes) << "}\n";
  if (macs_ms < 0 || !(cut_ms <= kCutGoalMs)) {
    std::cerr << "bench_statistics: the cut took " << cut_ms << " ms, the goal is " << kCutGoalMs
              << " ms on a quiet machine; or the scope of MACs missed its budget\n";
    return 1;
  }
  if (plan.removes_nothing() || !(static_cast<double>(peak_bytes) <= 1.1 * static_cast<double>(dense_bytes + pruned_bytes))) {
    std::cerr << "bench_statistics: nothing was cut, or the peak is above dense + pruned + 10 %\n";
    return 1;
  }
  return 0;
}

int argument(int argc, char** argv, int index, int fallback) {
  return index < argc ? std::max(1, std::atoi(argv[index])) : fallback;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argument(argc, argv, 3, 2);
  const int watched = watching(argument(argc, argv, 1, 21), argument(argc, argv, 2, 4), threads);
  return std::max(watched, cutting(threads));
}
