// SPDX-License-Identifier: Apache-2.0
// LaneSums: the sums of one piece (at most 16 lanes), in double, on the stack. The inner loop adds its f32 chains to them; they
// are then added to the arrays of a thread. Plain code without vectors, because it runs once per piece, or for the rare block
// that is summed again in double.
// Tests: tests/kernels/epilogue_test.cpp
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/sums.h"
#include "kernels/cpu/channel_sums.h"
#include "kernels/cpu/detail/walk.h"

namespace elek::kernels::cpu {

struct alignas(64) LaneSums {
  double sum[kLanes] = {};
  double sum_sq[kLanes] = {};
  double z_sum[kLanes] = {};
  double z_sum_sq[kLanes] = {};
  double abs_sum[kLanes] = {};
  float max[kLanes];
  int32_t active[kLanes] = {};
  int64_t nonfinite[kLanes] = {};
  LaneSums() noexcept {
    for (float& m : max) m = -std::numeric_limits<float>::infinity();
  }
};

/// Sums lanes [lane, lane + lanes) of a block again, in double. Called if the f32 sums are not finite: a value is not finite,
/// or a square overflowed. y and z point to row 0 of lane `lane`; z null = no z.
template <typename T>
void redo_block(const T* y, int64_t y_stride, const float* z, int64_t z_stride, int64_t rows, float threshold, int lane,
                int lanes, LaneSums& out) noexcept {
  for (int64_t r = 0; r < rows; ++r) {
    for (int l = 0; l < lanes; ++l) {
      const auto v = static_cast<float>(y[r * y_stride + l]);
      const int i = lane + l;
      out.sum[i] += static_cast<double>(v);
      out.sum_sq[i] += static_cast<double>(v) * static_cast<double>(v);
      out.abs_sum[i] += std::fabs(static_cast<double>(v));
      out.max[i] = keep_larger(out.max[i], v);
      out.active[i] += v > threshold ? 1 : 0;
      out.nonfinite[i] += std::isfinite(v) ? 0 : 1;
      if (z == nullptr) continue;
      const auto w = static_cast<double>(z[r * z_stride + l]);
      out.z_sum[i] += w;
      out.z_sum_sq[i] += w * w;
    }
  }
}

/// Adds the sums of a piece to a thread's arrays. With kPerSample the piece must be a whole task: all `positions` of one
/// sample.
inline void fold(const LaneSums& lanes, const Piece& piece, int64_t positions, const SumArrays& to) noexcept {
  LaneSums joined;
  const LaneSums* from = &lanes;
  int valid = piece.valid;
  if (piece.one_channel) {  // all lanes belong to one channel: add them in order
    for (int l = 0; l < kLanes; ++l) {
      joined.sum[0] += lanes.sum[l];
      joined.sum_sq[0] += lanes.sum_sq[l];
      joined.z_sum[0] += lanes.z_sum[l];
      joined.z_sum_sq[0] += lanes.z_sum_sq[l];
      joined.abs_sum[0] += lanes.abs_sum[l];
      joined.active[0] += lanes.active[l];
      joined.nonfinite[0] += lanes.nonfinite[l];
      joined.max[0] = keep_larger(joined.max[0], lanes.max[l]);
    }
    from = &joined;
    valid = 1;
  }
  for (int l = 0; l < valid; ++l) {
    const int64_t c = piece.channel + l;
    if (to.nonfinite != nullptr) to.nonfinite[c] += from->nonfinite[l];
    if (to.sum != nullptr) {
      to.sum[c] += from->sum[l];
      to.sum_sq[c] += from->sum_sq[l];
      to.active[c] += from->active[l];
    }
    if (to.z_sum != nullptr) {
      to.z_sum[c] += from->z_sum[l];
      to.z_sum_sq[c] += from->z_sum_sq[l];
    }
    if (to.abs_sum != nullptr) to.abs_sum[c] += from->abs_sum[l];
    if (to.max != nullptr) to.max[c] = keep_larger(to.max[c], static_cast<double>(from->max[l]));
    if (to.fired != nullptr) {
      const double mean = from->sum[l] / static_cast<double>(positions);
      to.fired[c] += from->active[l] > 0 ? 1 : 0;
      to.mean_peak[c] = keep_larger(to.mean_peak[c], mean);
      to.mean_sum[c] += mean;
      to.mean_sum_sq[c] += mean * mean;
    }
  }
}

}  // namespace elek::kernels::cpu
