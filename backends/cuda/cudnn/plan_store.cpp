// SPDX-License-Identifier: Apache-2.0
// Tests: tests/deviceless/lower_test.cpp, tests/gpu/backend_conv_test.cpp
#include "backends/cuda/cudnn/plan_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "backends/cuda/cudnn/problem_scratch.h"
#include "backends/cuda/error.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/memory.h"

namespace elek::backends::cuda {
namespace {

/// At most this many are timed: heuristics put the good ones first, and every build takes a second or two.
/// ELEK_CUDNN_CANDIDATES=n (1 to 8) takes fewer: a faster first start, but perhaps slower kernels.
size_t most_candidates() {
  constexpr size_t kMost = 8;
  const char* fewer = std::getenv("ELEK_CUDNN_CANDIDATES");
  if (fewer == nullptr || *fewer == '\0') return kMost;
  char* end = nullptr;
  const long count = std::strtol(fewer, &end, 10);
  if (*end != '\0' || count < 1 || count > static_cast<long>(kMost)) {
    throw UsageError(std::string("ELEK_CUDNN_CANDIDATES=") + fewer + ": expected a number from 1 to 8");
  }
  return static_cast<size_t>(count);
}
/// A plan that needs more workspace than this is not used: it would make the arena too large.
constexpr size_t kMostWorkspaceBytes = size_t{256} << 20;

}  // namespace

double time_us(CUstream_st* stream, const std::function<void()>& enqueue) {
  constexpr int kWarm = 3;
  constexpr int kCalls = 10;  // per sample; spreads the cost of starting over as many calls as overlap in a real pass
  constexpr int kSamples = 7;
  for (int i = 0; i < kWarm; ++i) enqueue();
  CudaEvent start(Timing::kOn);
  CudaEvent end(Timing::kOn);
  std::array<float, kSamples> samples_ms{};
  for (float& ms : samples_ms) {
    start.record(stream);
    for (int i = 0; i < kCalls; ++i) enqueue();
    end.record(stream);
    ELEK_CUDA_CALL(cudaEventSynchronize(end.get()));
    ELEK_CUDA_CALL(cudaEventElapsedTime(&ms, start.get(), end.get()));
  }
  std::nth_element(samples_ms.begin(), samples_ms.begin() + kSamples / 2, samples_ms.end());
  return static_cast<double>(samples_ms[kSamples / 2]) * 1e3 / kCalls;
}

std::string PlanStore::cache_key(const ConvProblem& problem) const {
  return target_.facts.name + " sm" + std::to_string(target_.facts.compute_capability) + " cudnn" +
         std::to_string(target_.cudnn_version) + " nhwc align" + std::to_string(kAlignment) + " | " + key(problem);
}

const std::string& PlanStore::no_in_place(const ConvProblem& problem) {
  Planned& planned = plans_.at(key(problem));
  if (!planned.no_in_place)
    planned.no_in_place = target_.why_not_in_place ? target_.why_not_in_place(planned.plan) : "not tried";
  return *planned.no_in_place;
}

const Planned& PlanStore::at(const ConvProblem& problem) const {
  const auto found = plans_.find(key(problem));
  ELEK_CHECK(found != plans_.end(), "no plan was asked for: " + key(problem));
  return found->second;
}

void PlanStore::build(const std::vector<ConvProblem>& problems) {
  std::vector<Job> jobs;
  for (const ConvProblem& p : problems) {
    const auto same = [&](const Job& job) { return key(job.problem) == key(p); };
    if (plans_.count(key(p)) != 0 || std::any_of(jobs.begin(), jobs.end(), same)) continue;
    jobs.emplace_back();
    jobs.back().problem = p;
  }
  build_in_parallel(jobs);
  time_all(jobs);
  for (Job& job : jobs) keep(job);
}

/// Loads the plan from the cache, or builds every candidate that compiles.
void PlanStore::build_one(Job& job) const {
  if (const auto entry = cache_.load(cache_key(job.problem))) {
    auto plan = load_plan(job.problem, target_.model, entry.value().plan, entry.value().engine);
    if (plan && (entry.value().time_us > 0 || target_.handle == nullptr)) {
      job.planned.plan = std::move(plan).value();
      job.planned.time_us = entry.value().time_us;
      job.planned.rivals = "cached";
      return;
    }
  }
  auto graph = ConvGraph::make(job.problem, target_.model);
  if (!graph) {
    job.planned.no = graph.reason();
    return;
  }
  std::string reasons;
  const size_t most = most_candidates();
  for (size_t i = 0; i < graph.value().candidates() && job.candidates.size() < most; ++i) {
    throw_if_interrupted();
    auto plan = graph.value().build(i);
    if (!plan) {
      reasons += graph.value().name(i) + ": " + plan.reason() + "; ";
    } else if (plan.value().workspace_bytes() > kMostWorkspaceBytes) {
      reasons += graph.value().name(i) + ": needs " + std::to_string(plan.value().workspace_bytes()) + " bytes of workspace; ";
    } else {
      job.candidates.push_back(std::move(plan).value());
      if (target_.handle == nullptr) break;  // nothing will be timed, so take the first
    }
  }
  if (job.candidates.empty()) job.planned.no = "no engine takes it: " + reasons;
}

void PlanStore::build_in_parallel(std::vector<Job>& jobs) const {
  const size_t threads = std::min<size_t>(jobs.size(), std::max(1U, std::thread::hardware_concurrency()));
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    try {
      if (target_.handle != nullptr) ELEK_CUDA_CALL(cudaSetDevice(target_.facts.index));
      for (size_t i = next++; i < jobs.size(); i = next++) build_one(jobs[i]);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
      next = jobs.size();
    }
  };
  std::vector<std::thread> pool;
  for (size_t t = 0; t < threads; ++t) pool.emplace_back(work);
  for (std::thread& thread : pool) thread.join();
  if (failure != nullptr) std::rethrow_exception(failure);
}

void PlanStore::time_all(std::vector<Job>& jobs) {
  size_t bytes = 0;
  for (const Job& job : jobs) {
    for (const ConvPlan& plan : job.candidates)
      bytes = std::max(bytes, ProblemScratch(job.problem, plan.workspace_bytes()).bytes);
  }
  if (bytes == 0 || target_.handle == nullptr) return;
  const Buffer scratch(bytes, *target_.scratch, "timing kernels", {target_.stream});
  ELEK_CUDA_CALL(cudaMemsetAsync(scratch.data(), kScratchFill, bytes, target_.stream));
  auto* base = static_cast<std::byte*>(scratch.data());
  for (Job& job : jobs) {
    double best_us = std::numeric_limits<double>::infinity();
    for (const ConvPlan& plan : job.candidates) {
      const ProblemScratch at(job.problem, plan.workspace_bytes());
      const ConvPointers p = at.pointers(base);
      double us = 0;
      try {
        us = time_us(target_.stream, [&] { plan.execute(target_.handle, p, base + at.workspace); });
      } catch (const DeviceError& error) {
        // It builds but refuses to run: not a candidate. A fault is sticky and shows again in the synchronisation below.
        ELEK_CUDA_CALL(cudaStreamSynchronize(target_.stream));
        job.planned.rivals += plan.engine() + " (" + error.what() + ") ";
        continue;
      }
      char text[32];
      std::snprintf(text, sizeof(text), " %.1f us, ", us);
      job.planned.rivals += plan.engine() + text;
      if (us < best_us) {
        best_us = us;
        job.planned.plan = plan;
        job.planned.time_us = us;
      }
    }
    if (!job.planned.plan.valid() && job.planned.no.empty()) job.planned.no = "no engine runs it: " + job.planned.rivals;
  }
}

void PlanStore::keep(Job& job) {
  Planned& planned = job.planned;
  if (!planned.plan.valid() && !job.candidates.empty() && target_.handle == nullptr) planned.plan = job.candidates.front();
  if (planned.plan.valid() && !job.candidates.empty()) {  // not from the cache
    if (const auto bytes = planned.plan.serialise()) {
      const auto stored = cache_.store(cache_key(job.problem), {planned.plan.engine(), planned.time_us, bytes.value()});
      if (!stored && !warned_) {
        warn("the plan cache cannot be written (" + stored.reason() + "): the next start builds the kernels again");
        warned_ = true;
      }
    }
  }
  plans_[key(job.problem)] = std::move(planned);
}

}  // namespace elek::backends::cuda
