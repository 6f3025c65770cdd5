// SPDX-License-Identifier: Apache-2.0
// The cost of sums inside a convolution, engine by engine, on six of ResNet-50's layers. Also three facts that cuDNN does not
// document: must the sums start at zero, does a NaN pass the ReLU, is a value counted before or after it is rounded for
// storing? Kernels are built in parallel first (seconds each), then run one after another.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "backends/cuda/cudnn/plan_store.h"
#include "backends/cuda/cudnn/problem_scratch.h"
#include "backends/cuda/error.h"
#include "backends/cuda/memory.h"
#include "core/error.h"
#include "elek/memory.h"
#include "elek/model.h"
#include "kernels/cuda/random_fill.h"
#include "tests/gpu/questions/questions.h"

namespace elek {
namespace {

struct Built {
  std::string engine;
  double build_ms = 0;
  backends::cuda::ConvPlan plan;  // valid, or
  std::string no;
};

struct Job {
  std::string layer;
  backends::cuda::ConvProblem problem;
  std::string no;
  std::vector<Built> built;
};

/// The stem, both kinds of 3x3, a wide 3x3 on a small map, and the first and the last 1x1 that add a residual. `only`: one of
/// them; empty = all.
std::vector<Job> jobs_of(int64_t batch, const std::string& only) {
  const Graph graph = build_resnet(resnet_spec("resnet50"));
  std::vector<std::string> layers{"conv1",          "layer1.0.conv2", "layer1.1.conv3",
                                  "layer2.0.conv2", "layer4.1.conv2", "layer4.2.conv3"};
  if (!only.empty()) layers = {only};
  const uint32_t activity = backends::cuda::kSumY | backends::cuda::kSumYSquared | backends::cuda::kCountActive;
  std::vector<Job> jobs;
  for (const FusedNode& step : fuse(graph).steps) {
    if (std::find(layers.begin(), layers.end(), step.node.name) == layers.end()) continue;
    for (const uint32_t sums : {0U, static_cast<uint32_t>(backends::cuda::kSumY), activity, backends::cuda::kEveryFusedSum}) {
      Job job;
      job.layer = step.node.name;
      job.problem = backends::cuda::with_epilogue(backends::cuda::problem_of(graph, step, batch, Precision::kF16), step, sums);
      jobs.push_back(std::move(job));
    }
  }
  ELEK_CHECK(jobs.size() == 4 * layers.size(), "a layer of the list is not in the network");
  return jobs;
}

void build(Job& job, const backends::cuda::DeviceModel& device) {
  auto graph = backends::cuda::ConvGraph::make(job.problem, device);
  if (!graph) {
    job.no = graph.reason();
    return;
  }
  for (size_t i = 0; i < graph.value().candidates(); ++i) {
    const auto started = std::chrono::steady_clock::now();
    auto plan = graph.value().build(i);
    Built made;
    made.engine = graph.value().name(i);
    made.build_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
    if (plan) {
      made.plan = std::move(plan).value();
    } else {
      made.no = plan.reason().substr(0, 300);
    }
    job.built.push_back(std::move(made));
  }
}

void build_in_parallel(std::vector<Job>& jobs, const backends::cuda::DeviceModel& device) {
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1U, std::thread::hardware_concurrency()); ++t) {
    threads.emplace_back([&] {
      for (size_t i = next++; i < jobs.size(); i = next++) build(jobs[i], device);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// One plan with its own memory; every buffer except the sums is filled with small values.
class Trial {
 public:
  Trial(const backends::cuda::ConvPlan& plan, cudnnContext* handle, cudaStream_t stream)
      : plan_(plan),
        at_(plan.problem(), plan.workspace_bytes()),
        memory_(at_.bytes, backends::cuda::cuda_resource(0), "trial"),
        handle_(handle),
        stream_(stream) {
    pointers_ = at_.pointers(static_cast<std::byte*>(memory_.data()));
    kernels::cuda::launch_random_fill(memory_.data(), memory_.bytes(), 1, stream_);
    clear_sums();
  }
  void run() const { plan_.execute(handle_, pointers_, static_cast<std::byte*>(memory_.data()) + at_.workspace); }
  void clear_sums() const {
    for (float* sum : pointers_.sums) ELEK_CUDA_CALL(cudaMemsetAsync(sum, 0, filter_bytes(), stream_));
  }
  [[nodiscard]] double first_of(backends::cuda::FusedSums kind) const {
    float value = 0;
    const auto place = static_cast<size_t>(std::countr_zero(static_cast<uint32_t>(kind)));
    ELEK_CUDA_CALL(cudaMemcpyAsync(&value, pointers_.sums[place], sizeof(value), cudaMemcpyDeviceToHost, stream_));
    ELEK_CUDA_CALL(cudaStreamSynchronize(stream_));
    return static_cast<double>(value);
  }
  /// The ratio of a sum after a second run to the sum after the first: 2 = the run adds, 1 = it clears its outputs itself.
  [[nodiscard]] double second_run_without_zeroing() const {
    run();
    const double once = first_of(backends::cuda::kSumY);
    run();
    return first_of(backends::cuda::kSumY) / once;
  }
  [[nodiscard]] bool nan_survives() const {
    const unsigned short nan = 0x7E00;
    ELEK_CUDA_CALL(cudaMemcpyAsync(const_cast<void*>(pointers_.x), &nan, sizeof(nan), cudaMemcpyHostToDevice, stream_));
    clear_sums();
    run();
    return std::isnan(first_of(backends::cuda::kSumY));
  }
  /// Every output is 1 + 2^-12, which f16 stores as 1. So it is above a threshold of 1 only before it is rounded.
  [[nodiscard]] bool counts_before_rounding() {
    const backends::cuda::ConvProblem& p = plan_.problem();
    const std::vector<float> bias(static_cast<size_t>(p.filters), 1.0F + 0x1p-12F);
    ELEK_CUDA_CALL(cudaMemsetAsync(const_cast<void*>(pointers_.x), 0, p.x_bytes(), stream_));
    if (p.residual) ELEK_CUDA_CALL(cudaMemsetAsync(const_cast<void*>(pointers_.residual), 0, p.y_bytes(), stream_));
    ELEK_CUDA_CALL(
        cudaMemcpyAsync(const_cast<void*>(pointers_.bias), bias.data(), filter_bytes(), cudaMemcpyHostToDevice, stream_));
    pointers_.threshold = 1.0F;
    clear_sums();
    run();
    return first_of(backends::cuda::kCountActive) > 0;
  }

 private:
  [[nodiscard]] size_t filter_bytes() const { return static_cast<size_t>(plan_.problem().filters) * sizeof(float); }
  const backends::cuda::ConvPlan& plan_;
  backends::cuda::ProblemScratch at_;
  Buffer memory_;
  backends::cuda::ConvPointers pointers_;
  cudnnContext* handle_;
  cudaStream_t stream_;
};

void ask(const Job& job, const Built& built, cudnnContext* handle, cudaStream_t stream) {
  Json line{{"layer", job.layer},
            {"problem", backends::cuda::key(job.problem)},
            {"sums", job.problem.sums},
            {"engine", built.engine},
            {"build_ms", built.build_ms}};
  if (!built.no.empty()) {
    line["no"] = built.no;
    return print(line);
  }
  Trial trial(built.plan, handle, stream);
  line["workspace_bytes"] = built.plan.workspace_bytes();
  try {
    line["time_us"] = backends::cuda::time_us(stream, [&] { trial.run(); });
    trial.clear_sums();
    if ((job.problem.sums & backends::cuda::kSumY) != 0) {
      line["second_run_without_zeroing"] = trial.second_run_without_zeroing();
      line["nan_survives"] = trial.nan_survives();
    }
    if ((job.problem.sums & backends::cuda::kCountActive) != 0) line["counts_before_rounding"] = trial.counts_before_rounding();
  } catch (const DeviceError& error) {
    line["no"] = error.what();  // builds but refuses to run; a fault shows at the next one's memset and ends the program
  }
  print(line);
}

}  // namespace

void ask_engines(int64_t batch, const std::string& only) {
  if (const auto version = backends::cuda::load_cudnn(); !version) throw DeviceError(version.reason());
  const auto device = backends::cuda::DeviceModel::of_device(0);
  if (!device) throw DeviceError(device.reason());
  const backends::cuda::CudaStream stream;
  const backends::cuda::CudnnHandle handle(stream.get());
  std::vector<Job> jobs = jobs_of(batch, only);
  build_in_parallel(jobs, device.value());
  for (const Job& job : jobs) {
    if (!job.no.empty()) print({{"layer", job.layer}, {"problem", backends::cuda::key(job.problem)}, {"no", job.no}});
    for (const Built& built : job.built) ask(job, built, handle.get(), stream.get());
  }
}

}  // namespace elek
