// SPDX-License-Identifier: Apache-2.0
// A peak is the best of a few short turns, so other work disturbs it least. Memory is measured for sets from the size of the L1
// cache to larger than all caches. Tests: tests/golden/profile_test.cpp
#include "backends/cpu/measure_peaks.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>

#include "backends/cpu/conv_kernel.h"
#include "backends/cpu/onednn.h"
#include "backends/cpu/pinned_cores.h"
#include "backends/cpu/preferred_layout.h"
#include "core/runtime.h"
#include "core/threads.h"
#include "elek/memory.h"
#include "kernels/cpu/peaks.h"

namespace elek::backends::cpu {
namespace {

constexpr int kTurns = 5;
constexpr double kTurnSeconds = 4e-3;
constexpr size_t kSmallestSet = size_t{128} << 10;
constexpr size_t kLargestSet = size_t{128} << 20;

/// The best rate of a few turns. work(n) does n rounds and returns the amount of work.
template <typename Work>
double best_rate(const Work& work) {
  using Clock = std::chrono::steady_clock;
  int64_t rounds = 1;
  double best = 0;
  for (int turn = 0; turn < kTurns;) {
    throw_if_interrupted();
    const Clock::time_point start = Clock::now();
    const double done = work(rounds);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds < kTurnSeconds / 2) {  // find the number of rounds that make a turn
      rounds *= 2;
      continue;
    }
    best = std::max(best, done / seconds);
    ++turn;
  }
  return best;
}

/// The largest block that can be allocated; starts with kLargestSet and halves.
Buffer largest_set(MemoryResource& memory) {
  for (size_t bytes = kLargestSet;; bytes /= 2) {
    try {
      return {bytes, memory, "measuring memory"};
    } catch (const OutOfMemory&) {
      if (bytes <= kSmallestSet) throw;
    }
  }
}

/// The speed of oneDNN in a product of square bf16 matrices that fit the L2 caches.
double bf16_flops(MemoryResource& memory, int threads) {
  constexpr int64_t kSide = 512;
  LinearProblem p;
  p.samples = p.in_features = p.out_features = p.src_pitch = p.dst_pitch = kSide;
  p.src_type = p.dst_type = DType::kBF16;
  const auto product = Primitive::make(p, threads);
  const auto block = [&memory](size_t bytes) { return Buffer(bytes, memory, "measuring the peak"); };
  const Buffer x = block(checked_bytes(Shape{kSide, kSide}, DType::kBF16));
  const Buffer y = block(checked_bytes(Shape{kSide, kSide}, DType::kBF16));
  const Buffer weights = block(checked_bytes(Shape{kSide, kSide}, DType::kF32));
  const Buffer bias = block(checked_bytes(Shape{kSide}, DType::kF32));
  const Buffer packed = block(product->packed_bytes());
  const Buffer scratch = block(std::max<size_t>(product->scratch_bytes(), 1));
  const Buffer staged = block(std::max<size_t>(product->staged_bytes(), 1));
  std::memset(x.data(), 0x3c, x.bytes());  // 0x3c3c is 0.011 in bf16 and f32: ordinary numbers
  std::memset(y.data(), 0x3c, y.bytes());
  std::memset(weights.data(), 0x3c, weights.bytes());
  std::memset(bias.data(), 0x3c, bias.bytes());
  product->pack(static_cast<const float*>(weights.data()), static_cast<float*>(staged.data()), packed.data());
  constexpr double kFlops = 2.0 * kSide * kSide * kSide;
  return best_rate([&](int64_t rounds) {
    for (int64_t i = 0; i < rounds; ++i) {
      product->run(kSide, x.data(), packed.data(), static_cast<const float*>(bias.data()), y.data(), scratch.data());
    }
    return kFlops * static_cast<double>(rounds);
  });
}

/// Operations a second of narrow_conv, counted as products and additions: a 1x1 convolution of 512 to 512 channels.
double int8_flops(MemoryResource& memory, int threads) {
  constexpr int64_t kSide = 512;
  ConvProblem p;
  p.src = p.dst = {kSide, 1, kSide};
  p.src_layout = p.dst_layout = preferred_layout(DType::kF32);
  p.src_type = p.dst_type = DType::kU8;
  p.int8 = IntegerGrid{};
  const ConvKernel product(ConvAlgorithm::kInt8, p, threads);
  const auto block = [&memory](size_t bytes) { return Buffer(std::max<size_t>(bytes, 1), memory, "measuring the peak"); };
  const Buffer x = block(checked_bytes(Shape{kSide, kSide}, DType::kU8));
  const Buffer y = block(checked_bytes(Shape{kSide, kSide}, DType::kU8));
  const Buffer weights = block(checked_bytes(Shape{kSide, kSide}, DType::kI8));
  const Buffer floats = block(checked_bytes(Shape{kSide}, DType::kF32));
  const Buffer packed = block(product.packed_bytes());
  const Buffer scratch = block(product.scratch_bytes());
  std::memset(x.data(), 3, x.bytes());
  std::memset(weights.data(), 5, weights.bytes());
  std::fill_n(static_cast<float*>(floats.data()), kSide, 1e-3F);
  const std::span<const float> scales(static_cast<const float*>(floats.data()), kSide);
  product.pack({static_cast<const int8_t*>(weights.data()), weights.bytes()}, scales, packed.data());
  ConvCall call;
  call.samples = 1;
  call.src = x.data();
  call.packed = packed.data();
  call.bias = scales.data();
  call.dst = y.data();
  call.scratch = scratch.data();
  call.dst_grid = IntegerGrid{};
  constexpr double kOperations = 2.0 * kSide * kSide * kSide;
  return best_rate([&](int64_t rounds) {
    for (int64_t i = 0; i < rounds; ++i) product.run(call);
    return kOperations * static_cast<double>(rounds);
  });
}

double flops(const LowerOptions& options, int threads) {
  constexpr int64_t kSteps = 10000;
  if (options.precision == Precision::kBf16) return bf16_flops(*options.memory, threads);
  if (options.precision == Precision::kInt8) return int8_flops(*options.memory, threads);
  return best_rate([&](int64_t rounds) { return kernels::cpu::run_multiply_adds(rounds * kSteps, threads); });
}

}  // namespace

Peaks measure_peaks(const LowerOptions& options) {
  const int threads = options.threads > 0 ? options.threads : default_threads();
  const PinnedCores cores(threads);
  Peaks peaks;
  peaks.flops = flops(options, threads);
  if (threads > 1 && kernels::cpu::pass_line(1) > 0) {  // the system may give one thread only
    peaks.passes = best_rate([](int64_t rounds) { return static_cast<double>(kernels::cpu::pass_line(rounds)); });
  }
  const Buffer set = largest_set(*options.memory);
  auto* base = static_cast<char*>(set.data());
  std::memset(base, 0, set.bytes());  // touches every page; and denormals are never added
  for (size_t bytes = kSmallestSet; bytes <= set.bytes(); bytes *= 4) {
    Bandwidth b;
    b.set_bytes = bytes;
    b.copy = best_rate([&](int64_t rounds) {
      kernels::cpu::copy_memory(base, base + bytes / 2, bytes / 2, rounds, threads);
      return static_cast<double>(rounds) * static_cast<double>(bytes);  // half read, half written
    });
    b.read = best_rate([&](int64_t rounds) {
      kernels::cpu::read_memory(reinterpret_cast<const float*>(base), bytes, rounds, threads);
      return static_cast<double>(rounds) * static_cast<double>(bytes);
    });
    peaks.bandwidths.push_back(b);
  }
  return peaks;
}

}  // namespace elek::backends::cpu
