// SPDX-License-Identifier: Apache-2.0
// Tests: tests/gpu/backend_conv_test.cpp.
#include "backends/cuda/cudnn/in_place.h"

#include <vector>

#include "backends/cuda/cudnn/problem_scratch.h"
#include "backends/cuda/error.h"
#include "core/error.h"
#include "elek/memory.h"
#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/random_fill.h"

namespace elek::backends::cuda {
namespace {

namespace k = kernels::cuda;

/// One try is not enough: a race can give the right result by chance.
constexpr int kRounds = 8;

enum class Where : uint8_t { kApart, kInPlace };

/// Runs the plan kRounds times and adds up the sums of what it stored. Returns the totals' bytes on the host.
std::vector<std::byte> sums_of_result(const ConvPlan& plan, const Target& target, Where where) {
  const ConvProblem& p = plan.problem();
  const ProblemScratch at(p, plan.workspace_bytes());
  const ImageShape shape{p.filters, p.out_height(), p.out_width()};
  const size_t workspace_bytes = k::epilogue_workspace_bytes(p.samples, shape, kActivity);
  const size_t totals_bytes = k::ChannelTotals::bytes(p.filters, kActivity);
  size_t bytes = at.bytes;
  const size_t totals_at = reserve(bytes, totals_bytes);
  const size_t workspace_at = reserve(bytes, workspace_bytes);
  const Buffer scratch(bytes, *target.scratch, "trying kernels in place", {target.stream});
  auto* base = static_cast<std::byte*>(scratch.data());
  k::launch_random_fill(base, bytes, 1, target.stream);
  ELEK_CUDA_CALL(cudaMemsetAsync(base + totals_at, 0, totals_bytes, target.stream));
  const auto totals = k::ChannelTotals::lay_out(base + totals_at, p.filters, kActivity, 0.0F);
  ConvPointers pointers = at.pointers(base);
  if (where == Where::kInPlace) pointers.y = base + at.residual;
  const k::CudaActivation y{pointers.y, storage_of(p.precision), p.samples, shape, p.y_pitch};
  for (int round = 0; round < kRounds; ++round) {
    k::launch_random_fill(base + at.residual, p.y_bytes(), 2, target.stream);
    plan.execute(target.handle, pointers, base + at.workspace);
    k::launch_observe(y, totals, base + workspace_at, workspace_bytes, target.stream);
  }
  std::vector<std::byte> host(totals_bytes);
  ELEK_CUDA_CALL(cudaMemcpyAsync(host.data(), base + totals_at, totals_bytes, cudaMemcpyDeviceToHost, target.stream));
  ELEK_CUDA_CALL(cudaStreamSynchronize(target.stream));
  return host;
}

}  // namespace

std::string why_not_in_place(const ConvPlan& plan, const Target& target) {
  ELEK_CHECK(plan.problem().residual && target.handle != nullptr, "only a plan with a residual, on a device, can be tried");
  try {
    if (sums_of_result(plan, target, Where::kApart) == sums_of_result(plan, target, Where::kInPlace)) return {};
  } catch (const OutOfMemory&) {
    return "no room to try it in place";
  } catch (const DeviceError& error) {
    ELEK_CUDA_CALL(cudaStreamSynchronize(target.stream));  // a fault is sticky and shows again here
    return std::string("it refuses: ") + error.what();
  }
  return "its result differs in place";
}

}  // namespace elek::backends::cuda
