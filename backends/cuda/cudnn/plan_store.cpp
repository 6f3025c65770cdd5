// SPDX-License-Identifier: Apache-2.0
// Tests: tests/deviceless/lower_test.cpp, tests/simt/engine/plan_choice_test.cpp, tests/gpu/backend_conv_test.cpp
#include "backends/cuda/cudnn/plan_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "backends/cuda/cudnn/problem_scratch.h"
#include "backends/cuda/error.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "kernels/cuda/random_fill.h"

namespace elek::backends::cuda {
namespace {

/// Candidates that cuDNN must compile are built for so long per problem. Precompiled ones take no time and are all built.
/// ELEK_CUDNN_BUILD_SECONDS=s changes it: less for a faster first start, but perhaps slower kernels.
double most_build_seconds() {
  constexpr double kUsual = 8;
  constexpr double kMost = 3600;
  const char* other = std::getenv("ELEK_CUDNN_BUILD_SECONDS");
  if (other == nullptr || *other == '\0') return kUsual;
  char* end = nullptr;
  const double seconds = std::strtod(other, &end);
  if (*end != '\0' || !(seconds >= 0 && seconds <= kMost)) {
    throw UsageError(std::string("ELEK_CUDNN_BUILD_SECONDS=") + other + ": expected seconds per kernel, from 0 to 3600");
  }
  return seconds;
}
/// A plan that needs more workspace than this is not used: it would make the arena too large.
constexpr size_t kMostWorkspaceBytes = size_t{256} << 20;

size_t scratch_bytes(const ConvPlan& plan) { return ProblemScratch(plan.problem(), plan.workspace_bytes()).bytes; }

/// The fastest few and the first few refusals: a layer may have fifty candidates.
std::string describe(std::vector<std::pair<double, std::string>> timed, const std::vector<std::string>& refused) {
  constexpr size_t kFastest = 6;
  constexpr size_t kRefusals = 3;
  std::sort(timed.begin(), timed.end());
  std::string text;
  for (size_t i = 0; i < std::min(timed.size(), kFastest); ++i) {
    char us[32];
    std::snprintf(us, sizeof(us), " %.1f us, ", timed[i].first);
    text += timed[i].second + us;
  }
  if (timed.size() > kFastest) text += std::to_string(timed.size() - kFastest) + " slower ones, ";
  for (size_t i = 0; i < std::min(refused.size(), kRefusals); ++i) text += refused[i] + " ";
  if (refused.size() > kRefusals) text += "and " + std::to_string(refused.size() - kRefusals) + " more refuse ";
  return text;
}

}  // namespace

double time_us(CUstream_st* stream, const std::function<void()>& enqueue) {
  constexpr int kWarm = 3;
  constexpr int kCalls = 10;  // per sample; spreads the cost of starting over as many calls as overlap in a real pass
  constexpr int kSamples = 7;
  for (int i = 0; i < kWarm; ++i) enqueue();
  const auto all = [&] {
    for (int i = 0; i < kCalls; ++i) enqueue();
  };
  CudaGraph recorded;
  try {
    recorded.record(stream, all);
  } catch (const DeviceError&) {  // some kernels cannot be recorded
  }
  const auto sample = [&] { recorded.recorded() ? recorded.launch(stream) : all(); };
  sample();  // the first launch of a recording uploads it
  CudaEvent start(Timing::kOn);
  CudaEvent end(Timing::kOn);
  std::array<float, kSamples> samples_ms{};
  for (float& ms : samples_ms) {
    start.record(stream);
    sample();
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
  Planned& planned = plans_->at(key(problem));
  if (!planned.no_in_place)
    planned.no_in_place = target_.why_not_in_place ? target_.why_not_in_place(planned.plan) : "not tried";
  return *planned.no_in_place;
}

const Planned* PlanStore::find(const ConvProblem& problem) const {
  const auto found = plans_->find(key(problem));
  return found != plans_->end() ? &found->second : nullptr;
}

const Planned& PlanStore::at(const ConvProblem& problem) const {
  const Planned* found = find(problem);
  ELEK_CHECK(found != nullptr, "no plan was asked for: " + key(problem));
  return *found;
}

void PlanStore::build(const std::vector<ConvProblem>& problems, Effort effort) {
  std::vector<Job> jobs;
  for (const ConvProblem& p : problems) {
    const auto same = [&](const Job& job) { return key(job.problem) == key(p); };
    if (plans_->count(key(p)) != 0 || std::any_of(jobs.begin(), jobs.end(), same)) continue;
    jobs.emplace_back();
    jobs.back().problem = p;
    jobs.back().effort = effort;
  }
  // That a plan builds does not mean that it runs. If none of a problem's plans runs, the next ones are built.
  do {
    build_in_parallel(jobs);
    time_all(jobs);
  } while (target_.handle != nullptr && std::any_of(jobs.begin(), jobs.end(), [](const Job& job) { return job.waits(); }));
  for (Job& job : jobs) keep(job);
}

/// Loads the plan from the cache, or asks cuDNN for candidates.
void PlanStore::begin(Job& job) const {
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
  if (graph) {
    job.graph = std::move(graph).value();
    job.left.resize(job.graph->candidates());
    std::iota(job.left.begin(), job.left.end(), size_t{0});
  } else {
    job.planned.no = graph.reason();
  }
}

/// Builds every precompiled candidate, and of the others as many as the time allows, but at least one in all. The candidates
/// come in the order of cuDNN's heuristics. What is left is built only if none of these runs.
void PlanStore::build_more(Job& job) const {
  if (!job.waits()) return;
  const ConvGraph& graph = *job.graph;
  const double most = most_build_seconds();
  double spent = 0;
  for (const size_t i : std::exchange(job.left, {})) {
    throw_if_interrupted();
    const bool ready = graph.precompiled(i);
    if (!ready && job.effort == Effort::kPrecompiled) continue;
    if (!ready && spent >= most && !job.candidates.empty()) {
      job.left.push_back(i);
      continue;
    }
    const auto started = std::chrono::steady_clock::now();
    auto plan = graph.build(i);
    if (!ready) spent += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (!plan) {
      job.not_built += graph.name(i) + ": " + plan.reason() + "; ";
    } else if (plan.value().workspace_bytes() > kMostWorkspaceBytes) {
      job.not_built += graph.name(i) + ": needs " + std::to_string(plan.value().workspace_bytes()) + " bytes of workspace; ";
    } else {
      job.candidates.push_back(std::move(plan).value());
      if (target_.handle == nullptr) break;  // nothing will be timed, so take the first
    }
  }
}

void PlanStore::build_in_parallel(std::vector<Job>& jobs) const {
  const size_t threads = std::min<size_t>(jobs.size(), std::max(1U, std::thread::hardware_concurrency()));
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    try {
      if (target_.handle != nullptr) ELEK_CUDA_CALL(cudaSetDevice(target_.facts.index));
      for (size_t i = next++; i < jobs.size(); i = next++) {
        Job& job = jobs[i];
        if (!job.graph && job.planned.no.empty() && !job.planned.plan.valid()) begin(job);
        build_more(job);
      }
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

/// Memory in which every candidate can be tried. If there is not enough, the candidates that need most go, until one would be
/// the last of its problem.
void PlanStore::make_room(std::vector<Job>& jobs, std::optional<Buffer>& scratch) const {
  for (;;) {
    size_t bytes = 0;
    for (const Job& job : jobs) {
      for (const ConvPlan& plan : job.candidates) bytes = std::max(bytes, scratch_bytes(plan));
    }
    if (bytes == 0) return;
    try {
      scratch.emplace(bytes, *target_.scratch, "timing kernels", Stream{target_.stream});
      return;
    } catch (const OutOfMemory&) {
      for (Job& job : jobs) {
        const auto fits = [&](const ConvPlan& plan) { return scratch_bytes(plan) < bytes; };
        const auto hungry = std::stable_partition(job.candidates.begin(), job.candidates.end(), fits);
        if (hungry == job.candidates.begin() && hungry != job.candidates.end()) throw;
        for (auto plan = hungry; plan != job.candidates.end(); ++plan) {
          job.refused.push_back(plan->engine() + ": no room to time it (" + std::to_string(bytes) + " bytes);");
        }
        job.candidates.erase(hungry, job.candidates.end());
      }
    }
  }
}

void PlanStore::time_all(std::vector<Job>& jobs) {
  if (target_.handle == nullptr) return;
  std::optional<Buffer> scratch;
  make_room(jobs, scratch);
  if (!scratch) return;
  kernels::cuda::launch_random_fill(scratch->data(), scratch->bytes(), 1, target_.stream);
  for (Job& job : jobs) {
    for (ConvPlan& plan : job.candidates) time_one(job, std::move(plan), static_cast<std::byte*>(scratch->data()));
    job.candidates.clear();
  }
}

/// A plan that builds and refuses to run is tried once more as it comes from its bytes: NVIDIA's documents build plans from a
/// description only to store them.
void PlanStore::time_one(Job& job, ConvPlan plan, std::byte* scratch) const {
  const ProblemScratch at(job.problem, plan.workspace_bytes());
  const ConvPointers p = at.pointers(scratch);
  std::string refusal;
  for (bool reloaded = false;; reloaded = true) {
    try {
      const double us = time_us(target_.stream, [&] { plan.execute(target_.handle, p, scratch + at.workspace); });
      job.timed.emplace_back(us, plan.engine() + (reloaded ? " (only from its bytes)" : ""));
      if (!job.planned.plan.valid() || us < job.planned.time_us) {
        job.planned.time_us = us;
        job.planned.plan = std::move(plan);
      }
      return;
    } catch (const DeviceError& error) {
      // It builds but refuses to run: not a candidate. A fault is sticky and shows again in the synchronisation.
      ELEK_CUDA_CALL(cudaStreamSynchronize(target_.stream));
      refusal = error.what();
    }
    auto again = reloaded ? Result<ConvPlan>(No{"twice"}) : reload(plan);
    if (!again) {
      job.refused.push_back(plan.engine() + " (" + refusal + ")");
      return;
    }
    plan = std::move(again).value();
  }
}

Result<ConvPlan> PlanStore::reload(const ConvPlan& plan) const {
  const auto bytes = plan.serialise();
  if (!bytes) return No{bytes.reason()};
  return load_plan(plan.problem(), target_.model, bytes.value(), plan.engine());
}

/// Stores the winner and replaces it by its copy from the stored bytes. So the first run has the same plan as later ones, and
/// the other candidates, which share cuDNN's graph with it, are freed.
void PlanStore::keep(Job& job) {
  Planned& planned = job.planned;
  if (job.graph) {
    if (target_.handle == nullptr && !job.candidates.empty()) planned.plan = job.candidates.front();
    planned.rivals = describe(job.timed, job.refused);
    if (!planned.plan.valid()) {
      planned.no = (job.refused.empty() ? "no engine takes it: " : "no engine runs it: ") + planned.rivals + job.not_built;
    } else if (const auto bytes = planned.plan.serialise(); !bytes) {
      planned.rivals += "not stored: " + bytes.reason();
    } else {
      auto plan = load_plan(job.problem, target_.model, bytes.value(), planned.plan.engine());
      if (plan) {
        planned.plan = std::move(plan).value();
      } else {
        planned.rivals += "not loaded from its bytes: " + plan.reason();
      }
      const auto stored = cache_.store(cache_key(job.problem), {planned.plan.engine(), planned.time_us, bytes.value()});
      if (!stored && !warned_) {
        warn("the plan cache cannot be written (" + stored.reason() + "): the next start builds the kernels again");
        warned_ = true;
      }
    }
  }
  (*plans_)[key(job.problem)] = std::move(planned);
}

}  // namespace elek::backends::cuda
