// SPDX-License-Identifier: Apache-2.0
// Winograd's planning and weight packing: host arithmetic without vectors. The kernels are in winograd_simd.cpp.
#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cpu/winograd_detail.h"

namespace elek::kernels {
namespace {

constexpr int64_t kLineFloats = 16;
// What V and M of one thread may take: most of a 1 MiB L2, the rest is for the weights and activations that stream through.
constexpr int64_t kCacheFloats = 1'200'000 / 4;
// A block of tiles is a multiple of the micro-kernel's panel; larger blocks reuse each weight more often.
constexpr int64_t kMaxBlockTiles = 56;
constexpr int64_t kManyChannels = 512;

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The tile block: as many tiles as the cache holds, then balanced so that the last block is not nearly empty.
int64_t choose_block(const WinogradPlan& plan, int64_t total_tiles, int64_t padded_channels, int64_t out_lanes) {
  const int64_t per_tile = plan.points * (padded_channels + out_lanes);
  const int64_t panel = detail::winograd_panel_rows();
  int64_t most = std::clamp(kCacheFloats / per_tile / panel * panel, panel, kMaxBlockTiles);
  if (plan.split_channels) most = kMaxBlockTiles;
  const int64_t sharers = plan.split_channels ? 1 : plan.problem.threads;
  const int64_t blocks = round_up(ceil_div(total_tiles, most), sharers);
  return std::max<int64_t>(1, ceil_div(total_tiles, blocks));
}

// G of F(2x2, 3x3) at the points 0, 1, -1, infinity.
constexpr double kG2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

/// G of F(4x4, 3x3) at the points 0, +-1/sqrt(2), +-sqrt(2), infinity: closer together than 0, +-1, +-2, which costs less
/// accuracy (docs/winograd.md derives it).
std::array<std::array<double, 3>, 6> g4() {
  const double a = std::sqrt(0.5), b = std::sqrt(2.0);
  const double na = -1.5, nb = 6.0;  // products of the differences to the other points
  return {{{1, 0, 0},
           {1 / na, a / na, a * a / na},
           {1 / na, -a / na, a * a / na},
           {1 / nb, b / nb, b * b / nb},
           {1 / nb, -b / nb, b * b / nb},
           {0, 0, 1}}};
}

/// u = G w G^T of one 3x3 kernel, [n][n].
template <size_t N, typename G>
void transform_kernel(const G& g, const float* w, double* u) {
  double t[N][3];
  for (size_t i = 0; i < N; ++i)
    for (size_t j = 0; j < 3; ++j) t[i][j] = g[i][0] * w[j] + g[i][1] * w[3 + j] + g[i][2] * w[6 + j];
  for (size_t i = 0; i < N; ++i)
    for (size_t j = 0; j < N; ++j) u[i * N + j] = t[i][0] * g[j][0] + t[i][1] * g[j][1] + t[i][2] * g[j][2];
}

}  // namespace

Result<WinogradPlan> plan_winograd(const WinogradProblem& problem) {
  const int64_t block = channel_block(problem.layout);
  if (block < 8) return No{"winograd wants a blocked layout, got " + std::string(name_of(problem.layout))};
  if (problem.padding != 0 && problem.padding != 1)
    return No{"padding " + std::to_string(problem.padding) + " is neither 0 nor 1"};
  WinogradPlan plan;
  plan.problem = problem;
  plan.out_height = problem.height + 2 * problem.padding - 2;
  plan.out_width = problem.width + 2 * problem.padding - 2;
  if (plan.out_height < 1 || plan.out_width < 1) return No{"image smaller than the kernel"};
  ELEK_CHECK(problem.samples > 0 && problem.channels > 0 && problem.out_channels > 0 && problem.threads > 0,
             "winograd: samples, channels and threads must be positive");
  const auto m = static_cast<int64_t>(problem.tile);
  plan.tiles_high = ceil_div(plan.out_height, m);
  plan.tiles_wide = ceil_div(plan.out_width, m);
  plan.points = (m + 2) * (m + 2);
  const int64_t lanes = detail::winograd_lanes(block);
  const int64_t out_lanes = 2 * lanes;
  const int64_t padded = padded_channels(problem.layout, problem.channels);
  const int64_t total = problem.samples * plan.tiles_high * plan.tiles_wide;
  const int64_t groups = ceil_div(padded_channels(problem.layout, problem.out_channels), out_lanes);
  const int64_t panel = detail::winograd_panel_rows();
  // Few tiles, or weights that outgrow the cache: let the threads share the tiles and split the weights, so that each weight is
  // read by one core only. Otherwise each thread takes tiles of its own and nobody waits.
  plan.split_channels = problem.threads > 1 && groups >= problem.threads &&
                        (problem.channels >= kManyChannels || total < 2 * panel * problem.threads);
  plan.block_tiles = choose_block(plan, total, padded, out_lanes);
  plan.v_tile_stride = padded % 256 == 0 ? padded + kLineFloats : padded;
  plan.v_point_stride = round_up(plan.block_tiles * plan.v_tile_stride, kLineFloats) + kLineFloats;
  plan.m_point_stride = round_up(plan.block_tiles * out_lanes, kLineFloats) + kLineFloats;
  const int64_t v_floats = plan.points * plan.v_point_stride, m_floats = plan.points * plan.m_point_stride;
  const int64_t v_copies = plan.split_channels ? 1 : problem.threads;
  plan.scratch_bytes = static_cast<size_t>(v_copies * v_floats + problem.threads * m_floats) * sizeof(float);
  plan.packed_bytes = static_cast<size_t>(groups * plan.points * problem.channels * out_lanes) * sizeof(float);
  return plan;
}

void pack_winograd_weights(const WinogradPlan& plan, const float* weights, float* packed) {
  const WinogradProblem& p = plan.problem;
  const int64_t out_lanes = 2 * detail::winograd_lanes(channel_block(p.layout));
  const int64_t groups = ceil_div(padded_channels(p.layout, p.out_channels), out_lanes);
  const auto g = g4();
#pragma omp parallel for schedule(static) num_threads(p.threads)
  for (int64_t group = 0; group < groups; ++group) {
    double u[36];
    for (int64_t c = 0; c < p.channels; ++c) {
      for (int64_t lane = 0; lane < out_lanes; ++lane) {
        const int64_t k = group * out_lanes + lane;
        const bool real = k < p.out_channels;
        if (real) {
          const float* w = weights + (k * p.channels + c) * 9;
          if (p.tile == WinogradTile::k4x4) {
            transform_kernel<6>(g, w, u);
          } else {
            transform_kernel<4>(kG2, w, u);
          }
        }
        for (int64_t point = 0; point < plan.points; ++point)
          packed[((group * plan.points + point) * p.channels + c) * out_lanes + lane] =
              real ? static_cast<float>(u[point]) : 0.0F;
      }
    }
  }
}

}  // namespace elek::kernels
