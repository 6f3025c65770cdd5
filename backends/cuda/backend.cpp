// SPDX-License-Identifier: Apache-2.0
// The CUDA backend's entry in the table of backends. It finds device, driver and cuDNN (each with its own message if missing),
// and lowers on a cuDNN handle of its own.
// Tests: tests/deviceless/device_test.cpp, tests/gpu/session_errors_test.cpp
#include "backends/backend.h"

#include <memory>

#include "backends/cuda/cudnn/in_place.h"
#include "backends/cuda/error.h"
#include "backends/cuda/executable.h"
#include "backends/cuda/lower.h"
#include "backends/cuda/measure_peaks.h"
#include "backends/cuda/memory.h"
#include "backends/cuda/stream_order.h"
#include "core/error.h"
#include "core/hint.h"

namespace elek::backends::cuda {
namespace {

/// cuDNN's engines and our kernels are compiled for Turing and newer.
constexpr int kOldestComputeCapability = 75;

DeviceFacts facts_of(const Device& device) {
  auto facts = find_device(device.index);
  if (!facts) throw DeviceError("device " + to_string(device) + ": " + facts.reason());
  if (facts.value().compute_capability < kOldestComputeCapability) {
    throw Hinted<DeviceError>(Hint::kUseCpu, "device " + to_string(device) + ": " + facts.value().name +
                                                 " has compute capability " + std::to_string(facts.value().compute_capability) +
                                                 ", elek needs 75 (Turing) or newer");
  }
  return std::move(facts).value();
}

void check_memory(const MemoryResource& memory, int index) {
  const Device here{DeviceKind::kCuda, index};
  ELEK_CHECK(memory.device() == here, "a session on " + to_string(here) + " was given memory of " + to_string(memory.device()) +
                                          "; wrap default_memory(device) instead");
}

class CudaLowering final : public Lowering {
 public:
  CudaLowering(int device, Program program, Notes notes)
      : device_(device), program_(std::move(program)), notes_(std::move(notes)) {}
  [[nodiscard]] const Program& program() const noexcept override { return program_; }
  [[nodiscard]] BoundMemory memory() const override {
    BoundMemory memory;
    memory.weights_bytes = notes_.weights_bytes;
    memory.statistics_bytes = notes_.statistics_bytes;
    memory.staging_bytes = lay_out_staging(program_, notes_).bytes;
    memory.packing_bytes = notes_.packing_bytes;
    return memory;
  }
  [[nodiscard]] std::unique_ptr<Executable> bind(Model& model, const MemoryPlan& plan, MemoryResource& memory) override {
    check_memory(memory, device_);
    return naming_faults("binding a session", [&] {
      return std::make_unique<CudaExecutable>(device_, program_, std::move(notes_), model, plan, memory);
    });
  }

 private:
  int device_;
  Program program_;
  Notes notes_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const Device& device) : facts_(facts_of(device)) {
    const auto version = load_cudnn();
    if (!version) throw DeviceError("device " + to_string(device) + ": " + version.reason());
    cudnn_version_ = version.value();
  }
  [[nodiscard]] MemoryResource& default_memory() override { return cuda_resource(facts_.index); }
  [[nodiscard]] std::unique_ptr<Lowering> lower(const Model& model, const FusedGraph& fused,
                                                const LowerOptions& options) override {
    if (options.memory != nullptr) check_memory(*options.memory, facts_.index);
    const DeviceGuard guard(facts_.index);
    const CudaStream stream;
    const CudnnHandle handle(stream.get());
    auto device_model = DeviceModel::of_device(facts_.index);
    if (!device_model) throw DeviceError("cuDNN does not describe " + facts_.name + ": " + device_model.reason());
    Target target;
    target.facts = facts_;
    target.model = std::move(device_model).value();
    target.cudnn_version = cudnn_version_;
    target.handle = handle.get();
    target.stream = stream.get();
    target.scratch = options.memory != nullptr ? options.memory : &default_memory();
    target.cache_directory = PlanCache::default_directory();
    target.known = known_;
    target.why_not_in_place = [&target](const ConvPlan& plan) { return why_not_in_place(plan, target); };
    Lowerer lowerer(model, fused, options, target);
    naming_faults("building kernels", [&] { lowerer.lower(); });
    ELEK_CUDA_CALL(cudaStreamSynchronize(stream.get()));
    return std::make_unique<CudaLowering>(facts_.index, std::move(lowerer.program), std::move(lowerer.notes));
  }
  [[nodiscard]] Peaks measure_peaks(const LowerOptions& options) override {
    check_memory(*options.memory, facts_.index);
    const DeviceGuard guard(facts_.index);
    const CudaStream stream;
    return cuda::measure_peaks(options.precision, *options.memory, stream.get());
  }

 private:
  DeviceFacts facts_;
  int64_t cudnn_version_ = 0;
  const std::shared_ptr<PlanTable> known_ = std::make_shared<PlanTable>();  // a session that looks for an order lowers twice
};

MemoryResource& device_memory(const Device& device) {
  (void)facts_of(device);
  return cuda_resource(device.index);
}

StreamOrder& device_stream_order(const Device& device) {
  (void)facts_of(device);
  return stream_order(device.index);
}

}  // namespace

BackendEntry entry() noexcept {
  BackendEntry made;
  made.kind = DeviceKind::kCuda;
  made.built_in = true;
  made.supports = [](Precision precision) {
    return precision == Precision::kInt8 ? Support{Support::Answer::kNever, "int8 runs on the CPU only"} : Support{};
  };
  made.make = [](const Device& device) -> std::unique_ptr<Backend> { return std::make_unique<CudaBackend>(device); };
  made.memory = device_memory;
  made.stream_order = device_stream_order;
  return made;
}

}  // namespace elek::backends::cuda
