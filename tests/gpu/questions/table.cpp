// SPDX-License-Identifier: Apache-2.0
// A network with and without statistics: the time of a batch from its pixels on the host to its logits there, one at a time and
// with the next batch's copy hidden; its memory; the chosen kernels and the reasons.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "core/sums.h"
#include "elek/model.h"
#include "elek/session.h"
#include "graph/passes.h"
#include "plan/program.h"
#include "tests/gpu/questions/questions.h"

namespace elek {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kWarm = 5;
constexpr int kRuns = 25;

double ms_since(Clock::time_point started) { return std::chrono::duration<double, std::milli>(Clock::now() - started).count(); }

/// Both slots full of noise: constant images draw less power and run faster than real ones.
void fill(Session& session, int64_t batch) {
  Random random(1);
  for (Slot& slot : session.slots()) {
    slot.count = batch;
    std::generate_n(slot.pixels, batch * slot.shape.elements(), [&] { return static_cast<uint8_t>(random.next() >> 56U); });
  }
}

double median_run_ms(Session& session) {
  std::vector<double> samples;
  for (int i = 0; i < kWarm + kRuns; ++i) {
    const auto started = Clock::now();
    (void)session.run(session.slots()[static_cast<size_t>(i % 2)]);
    if (i >= kWarm) samples.push_back(ms_since(started));
  }
  std::nth_element(samples.begin(), samples.begin() + kRuns / 2, samples.end());
  return samples[kRuns / 2];
}

/// Time per batch of a long row of batches; each is begun before the previous one is waited for.
double overlapped_ms(Session& session) {
  session.begin(session.slots()[0]);
  const auto started = Clock::now();
  for (int i = 1; i <= kRuns; ++i) {
    session.begin(session.slots()[static_cast<size_t>(i % 2)]);
    (void)session.end();
  }
  const double ms = ms_since(started) / kRuns;
  (void)session.end();
  return ms;
}

Json measure(const Model& model, const SessionOptions& options, double* overlapped) {
  const auto started = Clock::now();
  Session session(model, options);
  const double bind_ms = ms_since(started);
  fill(session, options.batch);
  const double run_ms = median_run_ms(session);
  *overlapped = overlapped_ms(session);
  const SessionMemory memory = session.memory();
  Json steps = Json::array();
  for (const ProgramStep& step : session.program().steps) {
    steps.push_back({{"layer", step.node.node.name}, {"kernel", step.kernel}, {"choice", step.choice}});
  }
  return {{"bind_ms", bind_ms},
          {"run_ms", run_ms},
          {"overlapped_ms", *overlapped},
          {"images_per_second", static_cast<double>(options.batch) / *overlapped * 1e3},
          {"weights_bytes", memory.weights_bytes},
          {"arena_bytes", memory.arena_bytes},
          {"lower_bound_bytes", memory.lower_bound_bytes},
          {"statistics_bytes", memory.statistics_bytes},
          {"staging_bytes", memory.staging_bytes},
          {"steps", steps}};
}

Precision precision_of(const std::string& name) {
  for (const Precision p : {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16}) {
    if (name_of(p) == name) return p;
  }
  throw UsageError("no precision is called '" + name + "': f32, tf32, bf16, f16");
}

}  // namespace

void ask_table(const std::string& arch, int64_t batch, const std::string& precision) {
  SessionOptions options;
  options.device = {DeviceKind::kCuda, 0};
  options.batch = batch;
  options.precision = precision_of(precision);
  Model model;
  model.graph = build_resnet(resnet_spec(arch));
  model.parameters = random_parameters(model.graph, 1, host_resource());
  model.preprocessing = default_preprocessing(3);
  double plain_ms = 0;
  double observed_ms = 0;
  Json line{{"arch", arch}, {"batch", batch}, {"precision", precision}};
  line["plain"] = measure(model, options, &plain_ms);
  for (const FusedNode& step : fuse(model.graph).steps) {
    if (step.node.is<Conv2dAttrs>()) options.probes.values[model.graph.node(step.output).name] = kActivity;
  }
  line["observed"] = measure(model, options, &observed_ms);
  print(line);
  std::fprintf(stderr, "%s batch %lld %s: %.3f ms a batch, %.0f images/s; watching every layer %.3f ms (%.3fx)\n", arch.c_str(),
               static_cast<long long>(batch), precision.c_str(), plain_ms, static_cast<double>(batch) / plain_ms * 1e3,
               observed_ms, observed_ms / plain_ms);
}

}  // namespace elek
