// SPDX-License-Identifier: Apache-2.0
// See runtime.h. Records the work that is put on a stream, and replays it.
#include <set>
#include <string>
#include <utility>

#include "tests/simt/runtime_world.h"

using namespace elek::simt;  // NOLINT: the calls below are the C interface of what is above

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const auto lock = one_at_a_time();
  if (stream == nullptr || !known(stream)) return record(cudaErrorInvalidResourceHandle);
  if (world().fault != cudaSuccess) return record(world().fault);
  if (stream->capturing) return record(cudaErrorInvalidValue);
  stream->capturing = true;
  stream->capture_mode = mode;
  stream->capturer = std::this_thread::get_id();
  stream->broken = false;
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto lock = one_at_a_time();
  *graph = nullptr;
  if (stream == nullptr || !known(stream) || !stream->capturing) return record(cudaErrorInvalidValue);
  stream->capturing = false;
  if (stream->broken) return record(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{std::move(stream->captured)};
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  *executable = new CUgraphExec_st{current_device, graph->operations};
  world().executables.insert(*executable);
  GraphNodes nodes;
  for (const Operation& operation : graph->operations) {
    nodes.kernels += operation.kind == Kind::kKernel ? 1 : 0;
    nodes.memsets += operation.kind == Kind::kMemset ? 1 : 0;
    nodes.copies += operation.kind == Kind::kCopy ? 1 : 0;
  }
  world().graph = nodes;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const auto lock = one_at_a_time();
  if (world().executables.erase(executable) == 0) return record(cudaErrorInvalidResourceHandle);
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (world().executables.count(executable) == 0 || stream == nullptr) return record(cudaErrorInvalidResourceHandle);
  ++world().counts.graph_launches;
  // A recording of one or two kernels over and over is being timed (runtime.h: enqueue). Others, such as passes, run whole.
  std::set<std::string> names;
  for (const Operation& operation : executable->operations) names.insert(operation.name);
  const bool timing = names.size() <= 2 && executable->operations.size() > 2 * names.size();
  bool first = true;
  for (Operation operation : executable->operations) {
    if (!timing) operation.name.clear();
    if (const cudaError_t status = put(stream, std::move(operation), true, first); status != cudaSuccess) return status;
    first = false;
  }
  return cudaSuccess;
}
