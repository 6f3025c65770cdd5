// SPDX-License-Identifier: Apache-2.0
// The work of a program's steps and the least time that it must take on a device: the roofline model (Williams, Waterman &
// Patterson 2009, doi 10.1145/1498765.1498785) with a memory roof for each size of what is gone through, because a step's
// activations mostly lie in a cache. Pure functions of numbers. Tests: tests/golden/profile_test.cpp
#pragma once

#include <cstdint>
#include <string_view>

#include "core/step_times.h"
#include "elek/graph.h"
#include "plan/program.h"

namespace elek {

/// Of one run of `batch` samples, all slices together.
struct StepWork {
  double flops = 0;             // by the definition: twice the multiply-adds of a direct convolution or a product
  double kernel_flops = 0;      // what the kernel that runs must do of them: Winograd's are fewer
  double activation_bytes = 0;  // input, residual and output as stored, each once; skipped pixels are not counted
  double weight_bytes = 0;      // packed weights and bias, once a slice
  [[nodiscard]] double bytes() const noexcept { return activation_bytes + weight_bytes; }
};
[[nodiscard]] StepWork work_of(const Graph& graph, const Program& program, size_t step, int64_t batch);

enum class Bound : uint8_t { kNothing, kCompute, kMemory };
[[nodiscard]] std::string_view name_of(Bound bound);  // "", "compute", "memory"

/// The least time a step can take, and what it would then wait for.
struct Roof {
  double us = 0;
  Bound bound = Bound::kNothing;
};
/// The larger of two times: that of computing, kernel_flops / peak, and that of moving. Moving takes activations / the
/// bandwidth of copying a set as large as one slice's activations and weights, plus weights / the bandwidth of reading a set of
/// session_bytes: between two uses of a weight all other memory of the session passes through the caches.
/// `slices` = slices that the work was done in.
[[nodiscard]] Roof roof_of(const StepWork& work, int64_t slices, double session_bytes, const Peaks& peaks);

/// Bytes a second for a set of this size: between measured sizes by interpolation over the size's logarithm, beyond them the
/// nearest. ContractError if nothing was measured.
[[nodiscard]] Bandwidth bandwidth_at(const Peaks& peaks, double set_bytes);

}  // namespace elek
