// SPDX-License-Identifier: Apache-2.0
// What only a real GPU can answer, asked by scripts/gpu-session; JSON on standard output, one object a line.
//   gpu_questions facts                       device, driver, cuDNN; device.json for the deviceless tests
//   gpu_questions engines [BATCH]             ResNet-50's layers: what the fused sums cost, engine by engine; do they need
//   zeroed
//                                             outputs; what becomes of NaN in cuDNN's ReLU
//   gpu_questions table ARCH BATCH PRECISION  a session with and without statistics: times, and the choice table
// HAS NOT RUN ON A GPU YET.
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/backends/cudnn/cuda_memory.h"
#include "engine/backends/cudnn/plan_store.h"
#include "engine/base/error.h"
#include "engine/base/runtime.h"
#include "engine/base/sums.h"
#include "engine/memory/tensor.h"
#include "engine/session.h"
#include "models/resnet.h"

namespace elek {
namespace {

using Json = nlohmann::ordered_json;
constexpr Device kDevice{DeviceKind::kCuda, 0};

void print(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void facts() {
  const auto device = cudnn::find_device(0);
  if (!device) throw DeviceError(device.reason());
  const auto version = cudnn::load_cudnn();
  if (!version) throw DeviceError(version.reason());
  const auto model = cudnn::DeviceModel::of_device(0);
  if (!model) throw DeviceError(model.reason());
  const auto json = model.value().to_json();
  const cudnn::DeviceFacts& f = device.value();
  print({{"device", f.name},
         {"compute_capability", f.compute_capability},
         {"multiprocessors", f.multiprocessors},
         {"memory_bytes", f.memory_bytes},
         {"driver", cudnn::cuda_version_name(f.driver_version)},
         {"runtime", cudnn::cuda_version_name(f.runtime_version)},
         {"cudnn", cudnn::version_name(version.value())},
         {"device_properties", json ? Json::parse(json.value(), nullptr, false) : Json(json.reason())}});
}

/// Device memory for one problem, filled with small values; y and sums apart.
struct Bench {
  explicit Bench(const cudnn::ConvProblem& p)
      : x(p.x_bytes(), cudnn::cuda_resource(0), "x"),
        w(p.w_bytes(), cudnn::cuda_resource(0), "w"),
        residual(p.y_bytes(), cudnn::cuda_resource(0), "residual"),
        y(p.y_bytes(), cudnn::cuda_resource(0), "y"),
        floats(static_cast<size_t>(p.filters) * 7 * sizeof(float), cudnn::cuda_resource(0), "floats") {
    for (const Buffer* b : {&x, &w, &residual, &y}) (void)cudaMemset(b->data(), 0x2c, b->bytes());  // f16 0.065
    (void)cudaMemset(floats.data(), 0, floats.bytes());
    pointers.x = x.data();
    pointers.w = w.data();
    pointers.residual = residual.data();
    pointers.y = y.data();
    pointers.bias = static_cast<float*>(floats.data());
    for (size_t i = 0; i < pointers.sums.size(); ++i) {
      pointers.sums[i] = static_cast<float*>(floats.data()) + (i + 1) * static_cast<size_t>(p.filters);
    }
  }
  [[nodiscard]] float first_sum() const {
    float value = 0;
    (void)cudaDeviceSynchronize();
    (void)cudaMemcpy(&value, pointers.sums[0], sizeof(value), cudaMemcpyDeviceToHost);
    return value;
  }
  Buffer x, w, residual, y, floats;
  cudnn::ConvPointers pointers;
};

/// Time of every candidate of a problem; with sums also what a second run without zeroing makes of the first sum, and NaN.
void engines_of(const std::string& layer, const cudnn::ConvProblem& p, const cudnn::DeviceModel& device, cudnnContext* handle,
                cudaStream_t stream) {
  auto graph = cudnn::ConvGraph::make(p, device);
  if (!graph) return print({{"layer", layer}, {"problem", cudnn::key(p)}, {"no", graph.reason()}});
  for (size_t i = 0; i < graph.value().candidates(); ++i) {
    const auto started = std::chrono::steady_clock::now();
    const auto plan = graph.value().build(i);
    const double build_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
    Json line{{"layer", layer}, {"problem", cudnn::key(p)}, {"engine", graph.value().name(i)}, {"build_ms", build_ms}};
    if (!plan) {
      line["no"] = plan.reason().substr(0, 300);
      print(line);
      continue;
    }
    Bench bench(p);
    const Buffer workspace(plan.value().workspace_bytes() + 1, cudnn::cuda_resource(0), "workspace");
    const auto run = [&] { plan.value().execute(handle, bench.pointers, workspace.data()); };
    if (p.sums != 0) {
      run();
      const float once = bench.first_sum();
      run();
      line["second_run_without_zeroing"] = static_cast<double>(bench.first_sum()) / static_cast<double>(once);
      const unsigned short nan = 0x7E00;
      (void)cudaMemcpy(bench.x.data(), &nan, sizeof(nan), cudaMemcpyHostToDevice);
      (void)cudaMemset(bench.floats.data(), 0, bench.floats.bytes());
      run();
      line["nan_survives"] = std::isnan(bench.first_sum());
      (void)cudaMemset(bench.x.data(), 0x2c, bench.x.bytes());
    }
    line["time_us"] = cudnn::time_us(stream, run);
    line["workspace_bytes"] = plan.value().workspace_bytes();
    print(line);
  }
}

void engines(int64_t batch) {
  if (const auto version = cudnn::load_cudnn(); !version) throw DeviceError(version.reason());
  const auto device = cudnn::DeviceModel::of_device(0);
  if (!device) throw DeviceError(device.reason());
  const cudnn::CudaStream stream;
  const cudnn::CudnnHandle handle(stream.get());
  const Graph graph = build_resnet(resnet_spec("resnet50"));
  std::vector<std::string> seen;
  for (const FusedNode& step : fuse(graph, BatchNorm::kFold).steps) {
    if (!step.node.is<Conv2dAttrs>()) continue;
    const auto raw = cudnn::problem_of(graph, step, batch, Precision::kF16);
    const std::string name = cudnn::key(cudnn::with_tail(raw, step, 0));
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) continue;
    seen.push_back(name);
    const uint32_t activity = cudnn::kSumY | cudnn::kSumYSquared | cudnn::kCountActive;
    for (const uint32_t sums : {0U, static_cast<uint32_t>(cudnn::kSumY), activity, cudnn::kEveryFusedSum}) {
      engines_of(step.node.name, cudnn::with_tail(raw, step, step.relu ? sums : sums & ~uint32_t{cudnn::kMaxY}), device.value(),
                 handle.get(), stream.get());
    }
  }
}

double median_ms(Session& session, int64_t batch) {
  std::vector<double> samples;
  for (int i = 0; i < 30; ++i) {
    Slot& slot = session.slots()[static_cast<size_t>(i % 2)];
    slot.count = batch;
    const auto started = std::chrono::steady_clock::now();
    (void)session.run(slot);
    samples.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count());
  }
  samples.erase(samples.begin(), samples.begin() + 5);
  std::nth_element(samples.begin(), samples.begin() + 12, samples.end());
  return samples[12];
}

void table(const std::string& arch, int64_t batch, const std::string& precision) {
  SessionOptions options;
  options.device = kDevice;
  options.batch = batch;
  for (const Precision p : {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16}) {
    if (name_of(p) == precision) options.precision = p;
  }
  Model model;
  model.graph = build_resnet(resnet_spec(arch));
  model.parameters = random_parameters(model.graph, 1, host_resource());
  model.preprocessing = default_preprocessing(3);
  Json line{{"arch", arch}, {"batch", batch}, {"precision", name_of(options.precision)}};
  for (const bool observed : {false, true}) {
    if (observed) {
      for (const FusedNode& step : fuse(model.graph, BatchNorm::kFold).steps) {
        if (step.node.is<Conv2dAttrs>()) options.probes.values[model.graph.node(step.output).name] = kActivity;
      }
    }
    const auto started = std::chrono::steady_clock::now();
    Session session(model, options);
    const double bind_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started).count();
    const double ms = median_ms(session, batch);
    const SessionMemory memory = session.memory();
    line[observed ? "observed" : "plain"] = {{"bind_ms", bind_ms},
                                             {"run_ms", ms},
                                             {"images_per_second", static_cast<double>(batch) / ms * 1e3},
                                             {"arena_bytes", memory.arena_bytes},
                                             {"lower_bound_bytes", memory.lower_bound_bytes},
                                             {"statistics_bytes", memory.statistics_bytes}};
    Json steps = Json::array();
    for (const ProgramStep& step : session.program().steps) {
      steps.push_back({{"layer", step.node.node.name}, {"kernel", step.kernel}, {"choice", step.choice}});
    }
    line[observed ? "observed" : "plain"]["steps"] = steps;
  }
  print(line);
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "facts") return facts(), 0;
  if (what == "engines") return engines(argc > 2 ? std::atoll(argv[2]) : 256), 0;
  if (what == "table" && argc == 5) return table(argv[2], std::atoll(argv[3]), argv[4]), 0;
  std::fprintf(stderr, "usage: gpu_questions facts | engines [BATCH] | table ARCH BATCH PRECISION\n");
  return 2;
}

}  // namespace
}  // namespace elek

int main(int argc, char** argv) {
  try {
    return elek::run(argc, argv);
  } catch (const elek::Error& error) {
    std::fprintf(stderr, "gpu_questions: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_questions: %s\n", error.what());
    return 1;
  }
}
