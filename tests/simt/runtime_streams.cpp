// SPDX-License-Identifier: Apache-2.0
// See runtime.h. Streams and events.
#include <algorithm>
#include <memory>

#include "tests/simt/runtime_world.h"

using namespace elek::simt;  // NOLINT: the calls below are the C interface of what is above

cudaError_t cudaDeviceSynchronize() {
  const auto lock = one_at_a_time();
  if (recording()) return break_recording();
  return work_until([] {
    return std::all_of(world().streams.begin(), world().streams.end(),
                       [](const auto& s) { return s->device != current_device || s->queue.empty(); });
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  world().streams.push_back(std::make_unique<CUstream_st>());
  world().streams.back()->device = current_device;
  *stream = world().streams.back().get();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (stream == nullptr || !known(stream)) return record(cudaErrorInvalidResourceHandle);
  const cudaError_t status = work_until([stream] { return stream->queue.empty(); });
  auto& streams = world().streams;
  streams.erase(std::find_if(streams.begin(), streams.end(), [&](const auto& each) { return each.get() == stream; }));
  return status;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  if (recording()) return break_recording();
  const CUstream_st* waited = real_stream(stream);
  return work_until([waited] { return waited->queue.empty(); });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  make_progress();
  if (world().fault != cudaSuccess) return record(world().fault);
  return real_stream(stream)->queue.empty() ? cudaSuccess : record(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0) return record(cudaErrorInvalidResourceHandle);
  Operation operation;
  operation.kind = Kind::kWait;
  operation.cost_us = 0;
  operation.event = event->state;
  operation.version = event->state->recorded;
  return put(stream, std::move(operation), false);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  *event = new CUevent_st{std::make_shared<EventState>()};
  (*event)->state->device = current_device;
  (*event)->state->timed = (flags & cudaEventDisableTiming) == 0;
  world().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const auto lock = one_at_a_time();
  if (world().events.erase(event) == 0) return record(cudaErrorInvalidResourceHandle);
  delete event;  // what is queued holds its state
  return world().fault == cudaSuccess ? cudaSuccess : record(world().fault);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0 || !known(stream)) return record(cudaErrorInvalidResourceHandle);
  EventState& state = *event->state;
  if (stream != nullptr && stream->device != state.device) return record(cudaErrorInvalidResourceHandle);
  Operation operation;
  operation.kind = Kind::kRecord;
  operation.cost_us = 0;
  operation.event = event->state;
  operation.version = ++state.recorded;
  return put(stream, std::move(operation), false);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0) return record(cudaErrorInvalidResourceHandle);
  const auto state = event->state;
  return work_until([state] { return state->completed >= state->recorded; });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0) return record(cudaErrorInvalidResourceHandle);
  make_progress();
  if (world().fault != cudaSuccess) return record(world().fault);
  return event->state->completed >= event->state->recorded ? cudaSuccess : record(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const auto lock = one_at_a_time();
  if (world().events.count(start) == 0 || world().events.count(end) == 0) return record(cudaErrorInvalidResourceHandle);
  const EventState &a = *start->state, &b = *end->state;
  if (!a.timed || !b.timed) return record(cudaErrorInvalidResourceHandle);
  if (a.completed < a.recorded || b.completed < b.recorded) return record(cudaErrorNotReady);
  *ms = static_cast<float>((b.at_us - a.at_us) / 1000);
  return cudaSuccess;
}
