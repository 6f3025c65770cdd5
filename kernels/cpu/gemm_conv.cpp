// SPDX-License-Identifier: Apache-2.0
// Plans gemm_conv and packs its weights. Plain code without vectors; the kernel is in gemm_conv_simd.cpp.
#include "kernels/cpu/gemm_conv.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/gemm_conv_panels.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/vectors.h"

namespace elek::kernels::cpu {
namespace {

// Pixels of a block, gathered or in place: half of a 1 MiB L2 cache; weights and results use the rest. Twice as many if that
// covers all pixels and the weights do not fit in the cache: then each weight is read only once.
constexpr int64_t kBlockBytes = int64_t{512} << 10;

}  // namespace

Result<GemmConvPlan> plan_gemm_conv(const GemmConvProblem& p) {
  const int64_t block = channel_block(p.layout);
  if (block < 8) return No{"gemm_conv wants a blocked layout, got " + std::string(name_of(p.layout))};
  ELEK_CHECK(p.samples > 0 && p.channels > 0 && p.out_channels > 0 && p.threads > 0 && is_possible(p.window()),
             "gemm_conv: samples, channels, threads, kernel and stride must be positive");
  ELEK_CHECK(p.groups > 0 && p.channels % p.groups == 0 && p.out_channels % p.groups == 0,
             "gemm_conv: " + std::to_string(p.groups) + " groups do not divide " + std::to_string(p.channels) + " and " +
                 std::to_string(p.out_channels) + " channels");
  GemmConvPlan plan;
  plan.problem = p;
  const ImageShape out = p.window().slide({p.out_channels, p.height, p.width});
  if (out.height == 0 || out.width == 0) return No{"image smaller than the kernel"};
  plan.out_height = out.height;
  plan.out_width = out.width;
  const bool pixel = p.height == 1 && p.width == 1;  // a block of one pixel lies in memory as plain values do
  if (p.plain && p.groups > 1 && !pixel) return No{"gemm_conv: groups want a blocked input"};
  plan.gathers = p.window() != Window{} || (p.plain && !pixel);
  plan.compact = plan.gathers && p.plain && p.groups == 1;
  const int64_t rows = panel_rows(), taps = p.kernel.area();
  plan.sample_panels = ceil_div(plan.out_height * plan.out_width, rows);
  const int64_t pixel_floats =
      plan.compact ? padded_channels(p.layout, taps * p.channels) : taps * padded_channels(p.layout, p.channels);
  const int64_t panel_bytes = rows * pixel_floats * static_cast<int64_t>(sizeof(float));
  const int64_t out_lanes = 2 * vector_lanes(block);
  const int64_t groups = ceil_div(padded_channels(p.layout, p.out_channels), out_lanes);
  for (int64_t group = 0; group < groups && group * out_lanes < p.out_channels; ++group) {
    plan.span = std::max(plan.span, detail::channels_read(p, group * out_lanes, out_lanes).count);
  }
  plan.packed_bytes = static_cast<size_t>(groups * taps * plan.span * out_lanes) * sizeof(float);
  const int64_t panels = p.samples * plan.sample_panels;
  const bool once = static_cast<int64_t>(plan.packed_bytes) > 2 * kBlockBytes && panels * panel_bytes <= 2 * kBlockBytes;
  plan.block_panels =
      std::min(std::clamp<int64_t>(once ? panels : kBlockBytes / panel_bytes, 1, detail::kMaxBlockPanels), panels);
  plan.split_outputs = divides_outputs(panels, groups, p.threads, panels * panel_bytes, plan.packed_bytes);
  if (plan.gathers) {
    const size_t most = p.most_scratch_bytes / static_cast<size_t>(p.threads * panel_bytes);
    plan.block_panels = static_cast<int64_t>(std::clamp<size_t>(most, 1, static_cast<size_t>(plan.block_panels)));
  }
  if (plan.gathers) plan.scratch_bytes = static_cast<size_t>(p.threads * plan.block_panels * panel_bytes);
  return plan;
}

void pack_gemm_conv_weights(const GemmConvPlan& plan, const float* weights, float* packed) {
  const GemmConvProblem& p = plan.problem;
  const int64_t out_lanes = 2 * vector_lanes(channel_block(p.layout)), taps = p.kernel.area();
  const int64_t groups = ceil_div(padded_channels(p.layout, p.out_channels), out_lanes);
  const int64_t inputs = p.channels / p.groups, outputs = p.out_channels / p.groups;
  for_ranges(groups, p.threads, [&](int64_t group) {
    const detail::ChannelRange read = detail::channels_read(p, group * out_lanes, out_lanes);
    float* to = packed + group * taps * plan.span * out_lanes;
    float* const end = to + taps * plan.span * out_lanes;
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t c = read.first; c < read.first + read.count; ++c)
        for (int64_t k = group * out_lanes; k < (group + 1) * out_lanes; ++k) {
          const int64_t own = c - k / outputs * inputs;  // place among the inputs of k's group
          const bool taken = k < p.out_channels && own >= 0 && own < inputs;
          *to++ = taken ? weights[(k * inputs + own) * taps + tap] : 0.0F;
        }
    std::fill(to, end, 0.0F);
  });
}

}  // namespace elek::kernels::cpu
