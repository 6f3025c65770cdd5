// SPDX-License-Identifier: Apache-2.0
// Our CPU kernels alone, on ResNet's layers (tests/kernels/resnet_layers.h): the direct convolution, Winograd F(4x4) and
// F(2x2), the epilogue, pooling, tap norms; not watched, and with the default sums. Each case is first compared with a
// reference in double, within its derived bound. For a large layer only some outputs are compared, but all must have been
// written. A wrong kernel gets no figure, and the program fails. GFLOP/s count the operations of the direct convolution, for
// Winograd too; bytes/s count what must be read and written.
// Run: build/bin/bench_kernels --benchmark_filter=layer3 --benchmark_repetitions=5
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bench/suite.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/gemm_conv.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/tap_norms.h"
#include "kernels/cpu/vectors.h"
#include "kernels/cpu/winograd.h"
#include "tests/kernels/resnet_layers.h"
#include "tests/kernels/some_outputs.h"
#include "tests/kernels/winograd_bound.h"

namespace elek::kernels::cpu {
namespace {

using bench::fail;
using conv_case::Floats;
using conv_case::index_of;
using conv_case::kCheckedOutputs;
using conv_case::Problem;
using conv_case::Shape;
using conv_case::some_of;
using conv_case::SumsBlock;
using conv_case::worst_of;

enum class Kernel : uint8_t { kGemm, kWinograd4x4, kWinograd2x2 };
enum class Observe : uint8_t { kNothing, kActivity };

constexpr double kUnit = 0x1p-24;  // rounding unit of f32
constexpr int64_t kBatches[] = {1, 16};
constexpr int kThreads = 2;
Shape shape_of(const Layer& l, int64_t batch) {
  return {batch,    l.channels, l.out_channels,   l.size,   l.size, l.kernel,
          l.stride, l.padding,  Layout::kNChw16c, kThreads, true,   true};
}

void count_work(benchmark::State& state, const Problem& p) {
  const Shape& c = p.spec;
  const double flops = 2.0 * static_cast<double>(c.samples * c.out_channels * p.oh * p.ow * c.channels * c.kernel.area());
  const double floats =
      static_cast<double>(c.samples * (p.pc * c.height * c.width + 2 * p.pk * p.oh * p.ow)) + static_cast<double>(p.w.size());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bytes/s"] = benchmark::Counter(floats * sizeof(float), benchmark::Counter::kIsIterationInvariantRate);
}

template <class Plan, class Pack, class Run, class Bound>
void time_convolution(benchmark::State& state, Problem& p, Observe observe, const Plan& plan, const Pack& pack, const Run& run,
                      const Bound& bound) {
  Floats packed(plan.packed_bytes / sizeof(float), conv_case::kNan);
  Floats scratch(plan.scratch_bytes / sizeof(float), conv_case::kNan);
  pack(plan, p.w.data(), packed.data);
  const SumsBlock block(p, kActivity, 0.0F);
  const ConvArgs args{.x = p.x_view(),
                      .packed = packed.data,
                      .bias = p.bias.data,
                      .residual = p.residual_view(),
                      .activation = p.spec.relu ? Activation::kRelu : Activation::kNone,
                      .y = p.output(),
                      .scratch = scratch.data,
                      .sums = observe == Observe::kActivity ? &block.sums : nullptr};
  run(plan, args);
  const double worst = worst_of(p, bound);
  if (!(worst <= 1)) return fail(state, "error is " + std::to_string(worst) + " of its bound");
  for (auto _ : state) {
    run(plan, args);
    benchmark::DoNotOptimize(p.y.data);
  }
  count_work(state, p);
}

void convolve(benchmark::State& state, const Layer& layer, Kernel kernel, Observe observe) {
  Problem p(shape_of(layer, state.range(0)), /*integers=*/false, 7);
  const Shape& c = p.spec;
  if (kernel == Kernel::kGemm) {
    const auto plan = plan_gemm_conv({c.samples, c.channels, c.out_channels, c.height, c.width, c.kernel, c.stride, c.padding,
                                      c.layout, c.threads, c.dilation});
    if (!plan) return fail(state, plan.reason());
    const double factor = static_cast<double>(c.channels * c.kernel.area() + 2) * kUnit;
    state.SetLabel(instruction_set());
    return time_convolution(state, p, observe, plan.value(), pack_gemm_conv_weights, gemm_conv,
                            [&](const conv_case::DirectValue& want, auto...) { return factor * want.magnitude; });
  }
  const WinogradTile tile = kernel == Kernel::kWinograd4x4 ? WinogradTile::k4x4 : WinogradTile::k2x2;
  const auto plan =
      plan_winograd({c.samples, c.channels, c.out_channels, c.height, c.width, c.padding.top, c.layout, tile, c.threads});
  if (!plan) return fail(state, plan.reason());
  state.SetLabel(instruction_set());
  time_convolution(state, p, observe, plan.value(), pack_winograd_weights, winograd_conv,
                   [&](const conv_case::DirectValue& /*want*/, int64_t n, int64_t k, int64_t row, int64_t column) {
                     return conv_case::winograd_bound_at(p, tile, n, k, row, column);
                   });
}

// ---- kernels that read a value and write one of the same layout ----

/// [batch, channels, size, size] in 16-channel blocks: random x and residual, y filled with NaN. No convolution runs on it.
Problem values(int64_t batch, int64_t channels, int64_t size) {
  return Problem({batch, channels, channels, size, size, 1, 1, 0, Layout::kNChw16c, kThreads, true, true}, false, 7);
}

void count_bytes(benchmark::State& state, int64_t floats) {
  state.counters["bytes/s"] =
      benchmark::Counter(static_cast<double>(floats) * sizeof(float), benchmark::Counter::kIsIterationInvariantRate);
}

/// y = relu(z + shift + residual) over layer1's outputs: z, residual and y are touched once each.
void epilogue(benchmark::State& state, int64_t channels, int64_t size, Observe observe) {
  Problem p = values(state.range(0), channels, size);
  const SumsBlock block(p, kActivity, 0.0F);
  Epilogue e;
  e.z = {p.x.data, p.spec.samples, {channels, size, size}, p.spec.layout, p.pc};
  e.y = p.output();
  e.shift = p.bias.data;
  e.residual = p.residual.data;
  e.activation = Activation::kRelu;
  e.sums = observe == Observe::kActivity ? &block.sums : nullptr;
  run_epilogue(e, kThreads);
  double worst = 0;
  p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t) {
    const auto at = index_of(p.y_view(), n, k, row, column);
    const double z = p.x.data[at], b = p.bias.data[k], r = p.residual.data[at];
    const double error = std::fabs(p.y.data[at] - std::max(0.0, z + b + r));  // two additions in f32
    const double ratio = error / (2 * kUnit * (std::fabs(z) + std::fabs(b) + std::fabs(r)));
    if (!(ratio <= worst)) worst = std::isnan(ratio) ? HUGE_VAL : ratio;
  });
  if (!(worst <= 1)) return fail(state, "error is " + std::to_string(worst) + " of its bound");
  for (auto _ : state) {
    run_epilogue(e, kThreads);
    benchmark::DoNotOptimize(p.y.data);
  }
  count_bytes(state, 3 * p.spec.samples * p.pk * size * size);
}

/// The stem's 3x3 pool, stride 2: every output is one of its inputs, so it must be equal.
void stem_pool(benchmark::State& state) {
  const int64_t batch = state.range(0), size = 112, out = 56, channels = 64;
  Problem p = values(batch, channels, size);
  Floats y(static_cast<size_t>(batch * channels * out * out), conv_case::kNan);
  const ActivationView<float> x_view{p.x.data, batch, {channels, size, size}, p.spec.layout, p.pc};
  const ActivationView<float> y_view{y.data, batch, {channels, out, out}, p.spec.layout, p.pk};
  const ActivationView<const float> read{y.data, batch, {channels, out, out}, p.spec.layout, p.pk};
  const auto run = [&] { max_pool(x_view, y_view, {3, 2, 1}, nullptr, kThreads); };
  run();
  int64_t wrong = 0;
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < out * out; ++i) {
        double want = -HUGE_VAL;
        for (int64_t q = 0; q < 9; ++q) {
          const int64_t row = i / out * 2 + q / 3 - 1, column = i % out * 2 + q % 3 - 1;
          if (row >= 0 && column >= 0 && row < size && column < size) want = std::max(want, p.input(n, c, row, column));
        }
        wrong += y.data[index_of(read, n, c, i / out, i % out)] == want ? 0 : 1;
      }
  if (wrong != 0) return fail(state, std::to_string(wrong) + " outputs are wrong");
  for (auto _ : state) {
    run();
    benchmark::DoNotOptimize(y.data);
  }
  count_bytes(state, batch * channels * (size * size + out * out));
}

/// The pool before the classifier: a sum in double, rounded once. So the reference may differ by one rounding.
void last_pool(benchmark::State& state) {
  const int64_t batch = state.range(0), size = 7, channels = 2048;
  Problem p({batch, channels, 1, size, size, 1, 1, 0, Layout::kNChw16c, kThreads, false, false}, false, 7);
  Floats y(static_cast<size_t>(batch * channels), conv_case::kNan);
  const ActivationView<float> x_view{p.x.data, batch, {channels, size, size}, p.spec.layout, p.pc};
  const ActivationView<float> y_view{y.data, batch, {channels, 1, 1}, p.spec.layout, p.pc};
  const auto run = [&] { global_avg_pool(x_view, y_view, nullptr, kThreads); };
  run();
  int64_t wrong = 0;
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < size * size; ++i) {
        const double v = p.input(n, c, i / size, i % size);
        sum += v, magnitude += std::fabs(v);
      }
      const double want = sum / static_cast<double>(size * size);
      const double bound = kUnit * std::fabs(want) + 50 * 0x1p-52 * magnitude;  // the rounding, and two sums in double
      wrong += std::fabs(y.data[n * channels + c] - want) <= bound ? 0 : 1;
    }
  if (wrong != 0) return fail(state, std::to_string(wrong) + " outputs are wrong");
  for (auto _ : state) {
    run();
    benchmark::DoNotOptimize(y.data);
  }
  count_bytes(state, batch * channels * (size * size + 1));
}

/// Wanda's tap norms of a layer's input, |error| <= 10 * 2^-24 of each (kernels/cpu/tap_norms.h).
void norms(benchmark::State& state, const Layer& layer) {
  const int64_t batch = state.range(0), taps = layer.kernel * layer.kernel;
  Problem p(shape_of(layer, batch), false, 7);
  const TapNormPlan plan =
      make_tap_norm_plan({layer.channels, layer.size, layer.size}, {layer.kernel, layer.stride, layer.padding, 1});
  const size_t doubles = tap_norm_bytes(plan, kThreads) / sizeof(double);
  const Floats raw(2 * doubles, 0.0F);  // zero bits are zero doubles too
  auto* accumulators = reinterpret_cast<double*>(raw.data);
  const ActivationView<float> x_view{p.x.data, batch, {layer.channels, layer.size, layer.size}, p.spec.layout, p.pc};
  tap_norms(x_view, plan, accumulators, kThreads, kThreads);
  std::vector<double> got(static_cast<size_t>(layer.channels * taps));
  reduce_tap_norms(plan, accumulators, kThreads, got.data());
  int64_t wrong = 0;
  some_of(got.size(), kCheckedOutputs, [&](size_t i) {
    const auto c = static_cast<int64_t>(i) / taps, q = static_cast<int64_t>(i) % taps;
    double want = 0;
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t place = 0; place < p.oh * p.ow; ++place) {
        const double v = p.input(n, c, place / p.ow * layer.stride + q / layer.kernel - layer.padding,
                                 place % p.ow * layer.stride + q % layer.kernel - layer.padding);
        want += v * v;
      }
    wrong += std::fabs(got[i] - want) <= 10 * kUnit * want ? 0 : 1;
  });
  if (wrong != 0) return fail(state, std::to_string(wrong) + " norms are wrong");
  for (auto _ : state) {
    tap_norms(x_view, plan, accumulators, kThreads, kThreads);
    benchmark::DoNotOptimize(accumulators);
  }
  count_bytes(state, batch * p.pc * layer.size * layer.size);
}

template <class Function, class... Arguments>
void add(const std::string& name, const Function& function, Arguments... arguments) {
  auto* made = benchmark::RegisterBenchmark(name.c_str(), function, arguments...);
  made->ArgName("batch")->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const int64_t batch : kBatches) made->Arg(batch);
}

void add_all() {
  for (const auto& [observe, suffix] : {std::pair{Observe::kNothing, ""}, std::pair{Observe::kActivity, "/sums"}}) {
    for (const Layer& layer : kResNetLayers) {
      const std::string end = std::string(layer.name) + suffix;
      if (layer.channels >= 16) add("gemm/" + end, convolve, layer, Kernel::kGemm, observe);
      if (layer.kernel != 3 || layer.stride != 1) continue;
      add("winograd4x4/" + end, convolve, layer, Kernel::kWinograd4x4, observe);
      add("winograd2x2/" + end, convolve, layer, Kernel::kWinograd2x2, observe);
    }
    add(std::string("epilogue/64x56") + suffix, epilogue, int64_t{64}, int64_t{56}, observe);
    add(std::string("epilogue/1024x14") + suffix, epilogue, int64_t{1024}, int64_t{14}, observe);
  }
  add("max_pool/stem", stem_pool);
  add("global_avg_pool/2048x7", last_pool);
  for (const Layer& layer : kResNetLayers) add("tap_norms/" + std::string(layer.name), norms, layer);
}

}  // namespace
}  // namespace elek::kernels::cpu

int main(int argc, char** argv) {
  elek::kernels::cpu::add_all();
  return elek::bench::run(argc, argv);
}
