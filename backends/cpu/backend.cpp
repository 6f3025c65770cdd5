// SPDX-License-Identifier: Apache-2.0
// The CPU backend's entry in the table of backends, and lowering. The times of kernels
// are kept here, so that each lowering of a session has the times of the lowerings before it.
// Tests: tests/golden/session_test.cpp, tests/backends/backend_test.cpp
#include "backends/backend.h"

#include "backends/cpu/executable.h"
#include "backends/cpu/lower.h"
#include "backends/cpu/measure_peaks.h"
#include "backends/cpu/time_kernels.h"

namespace elek::backends::cpu {
namespace {

class CpuLowering final : public Lowering {
 public:
  CpuLowering(Program program, Notes notes) : program_(std::move(program)), notes_(std::move(notes)) {}
  [[nodiscard]] const Program& program() const noexcept override { return program_; }
  [[nodiscard]] BoundMemory memory() const override {
    return {notes_.weights_bytes, notes_.statistics_bytes, HostStaging(program_, notes_).bytes(), notes_.packing_bytes};
  }
  [[nodiscard]] std::unique_ptr<Executable> bind(Model& model, const MemoryPlan& plan, MemoryResource& memory) override {
    return std::make_unique<CpuExecutable>(program_, std::move(notes_), model, plan, memory);
  }

 private:
  Program program_;
  Notes notes_;
};

class CpuBackend final : public Backend {
 public:
  [[nodiscard]] MemoryResource& default_memory() override { return host_resource(); }
  [[nodiscard]] std::unique_ptr<Lowering> lower(const Model& model, const FusedGraph& fused,
                                                const LowerOptions& options) override {
    if (options.kernels == KernelChoice::kMeasured) time_kernels(model, fused, options, times_);
    Lowerer lowerer(model, fused, options, {&times_, {}, most_workspace_});
    lowerer.lower();
    return std::make_unique<CpuLowering>(std::move(lowerer.program), std::move(lowerer.notes));
  }
  bool limit_workspace(size_t bytes) override {
    most_workspace_ = bytes;
    return true;
  }
  [[nodiscard]] Peaks measure_peaks(const LowerOptions& options) override { return cpu::measure_peaks(options); }

 private:
  size_t most_workspace_ = SIZE_MAX;
  KernelTimes times_{PlanCache::default_directory()};
};

Support supports(Precision precision) {
  if (precision == Precision::kF32 || precision == Precision::kInt8) return {};
  if (precision != Precision::kBf16) {
    return {Support::Answer::kNever, "the CPU computes in f32, bf16 and int8 only"};
  }
  if (has_bf16()) return {};
  if (!library_is_built_in()) {
    return {Support::Answer::kNotHere,
            "this build has no oneDNN, whose kernels compute in bf16; install it (libdnnl-dev) and configure with "
            "-DELEK_ONEDNN=ON"};
  }
  return {Support::Answer::kNotHere,
          "this CPU cannot multiply bf16: oneDNN finds neither AVX512_BF16 nor AMX (ONEDNN_MAX_CPU_ISA may hide them)"};
}

}  // namespace

BackendEntry entry() noexcept {
  BackendEntry made;
  made.kind = DeviceKind::kCpu;
  made.built_in = true;
  made.starts_from_values = true;
  made.timed_sources = timed_sources();
  made.supports = supports;
  made.make = [](const Device&) -> std::unique_ptr<Backend> { return std::make_unique<CpuBackend>(); };
  made.memory = [](const Device&) -> MemoryResource& { return host_resource(); };
  made.stream_order = [](const Device&) -> StreamOrder& { return host_order(); };
  return made;
}

}  // namespace elek::backends::cpu
