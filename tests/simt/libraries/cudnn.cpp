// SPDX-License-Identifier: Apache-2.0
// cuDNN's stand-in: the interface of backends/cuda/cudnn/conv_graph.h without cuDNN behind it; see libraries.h.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>

#include "backends/cuda/cudnn/conv_graph.h"
#include "core/error.h"
#include "tests/simt/libraries/libraries.h"
#include "tests/simt/runtime.h"

struct cudnnContext {
  CUstream_st* stream = nullptr;
};
namespace cudnn_frontend {
class DeviceProperties {};
namespace graph {
class Graph {
 public:
  std::vector<elek::simt::Engine> engines;
  bool reloaded = false;
};
}  // namespace graph
}  // namespace cudnn_frontend

namespace elek::simt {
namespace {

std::mutex& table_mutex() {
  static std::mutex mutex;
  return mutex;
}
std::vector<Engine>& table() {
  static std::vector<Engine> engines = usual_engines();
  return engines;
}
std::string& lost() {
  static std::string why;
  return why;
}
std::atomic<int64_t> built{0};

}  // namespace

std::vector<Engine> usual_engines() {
  std::vector<Engine> engines(6);
  engines[0].name = "eng7_k2=1";
  engines[1].name = "eng4_k2=2";
  engines[1].cost_us = 8;
  engines[1].workspace_bytes = 512;
  engines[2].name = "eng1";
  engines[2].cost_us = 9;
  engines[3].name = "eng0";
  engines[3].no_build = "CUDNN_STATUS_NOT_SUPPORTED";
  engines[4].name = "eng2";
  engines[4].no_run = "CUDNN_STATUS_EXECUTION_FAILED";
  engines[4].cost_us = 1;
  engines[5].name = "eng9";
  engines[5].workspace_bytes = size_t{257} << 20;
  engines[5].cost_us = 1;
  return engines;
}

void set_engines(std::vector<Engine> engines) {
  const std::lock_guard lock(table_mutex());
  table() = std::move(engines);
}
void lose_cudnn(const std::string& why) {
  const std::lock_guard lock(table_mutex());
  lost() = why;
}
int64_t kernels_built() { return built; }

float load_element(const void* data, int64_t index, DType dtype) {
  if (dtype == DType::kF16) return __half2float(static_cast<const __half*>(data)[index]);
  if (dtype == DType::kBF16) return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
  return static_cast<const float*>(data)[index];
}
void store_element(void* data, int64_t index, DType dtype, float value) {
  if (dtype == DType::kF16) {
    static_cast<__half*>(data)[index] = __float2half_rn(value);
  } else if (dtype == DType::kBF16) {
    static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(value);
  } else {
    static_cast<float*>(data)[index] = value;
  }
}
float tf32(float value) { return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffffe000U); }

}  // namespace elek::simt

namespace elek::backends::cuda {
namespace {

/// The convolution of one problem by its definition, f32 accumulation. The filters are the innermost loop.
class Convolution {
 public:
  Convolution(const ConvProblem& problem, const simt::Engine& engine, const ConvPointers& pointers)
      : p_(problem), engine_(engine), at_(pointers), dtype_(storage_of(problem.precision)) {}

  void run() const {
    const int64_t each = p_.channels / p_.groups, filters = p_.filters / p_.groups;
    const auto weights = by_filter(each);
    std::vector<float> z(static_cast<size_t>(p_.filters));
    // An engine that is not safe in place: it writes everything before it reads a residual.
    const int64_t positions = p_.samples * p_.out_height() * p_.out_width();
    if (!engine_.safe_in_place) {
      for (int64_t i = 0; i < positions * p_.y_pitch; ++i) simt::store_element(at_.y, i, dtype_, 0.0F);
    }
    for (int64_t n = 0; n < p_.samples; ++n) {
      for (int64_t i = 0; i < p_.out_height(); ++i) {
        for (int64_t j = 0; j < p_.out_width(); ++j) {
          std::fill(z.begin(), z.end(), 0.0F);
          for (int64_t g = 0; g < p_.groups; ++g) add_window(n, i, j, g, each, filters, weights, z.data() + g * filters);
          finish(((n * p_.out_height() + i) * p_.out_width() + j) * p_.y_pitch, z);
        }
      }
    }
  }

 private:
  [[nodiscard]] float operand(const void* data, int64_t index) const {
    const float v = simt::load_element(data, index, dtype_);
    return p_.precision == Precision::kTf32 ? simt::tf32(v) : v;
  }

  /// [filters, r, s, c] as [g][r][s][c][filter of the group].
  [[nodiscard]] std::vector<float> by_filter(int64_t each) const {
    const int64_t taps = p_.kernel.area() * each, filters = p_.filters / p_.groups;
    std::vector<float> w(static_cast<size_t>(p_.filters * taps));
    for (int64_t k = 0; k < p_.filters; ++k) {
      for (int64_t t = 0; t < taps; ++t)
        w[static_cast<size_t>((k / filters * taps + t) * filters + k % filters)] = operand(at_.w, k * taps + t);
    }
    return w;
  }

  void add_window(int64_t n, int64_t i, int64_t j, int64_t g, int64_t each, int64_t filters, const std::vector<float>& weights,
                  float* z) const {
    for (int64_t r = 0; r < p_.kernel.height; ++r) {
      for (int64_t s = 0; s < p_.kernel.width; ++s) {
        const int64_t h = i * p_.stride.height - p_.padding.top + r * p_.dilation.height;
        const int64_t v = j * p_.stride.width - p_.padding.left + s * p_.dilation.width;
        if (h < 0 || h >= p_.height || v < 0 || v >= p_.width) continue;
        const int64_t pixel = ((n * p_.height + h) * p_.width + v) * p_.x_pitch + g * each;
        const float* w = weights.data() + (((g * p_.kernel.height + r) * p_.kernel.width + s) * each) * filters;
        for (int64_t c = 0; c < each; ++c, w += filters) {
          const float x = operand(at_.x, pixel + c);
          for (int64_t k = 0; k < filters; ++k) z[k] += x * w[k];
        }
      }
    }
  }

  void finish(int64_t at, const std::vector<float>& sums) const {
    for (int64_t k = 0; k < p_.filters; ++k) {
      const float residual = p_.residual ? simt::load_element(at_.residual, at + k, dtype_) : 0.0F;
      const float bias = p_.epilogue == ConvEpilogue::kFull ? simt::load_element(at_.bias, k, p_.bias_dtype()) : 0.0F;
      const float z = sums[static_cast<size_t>(k)] + bias;
      float y = p_.sums != 0 ? z + residual : (sums[static_cast<size_t>(k)] + residual) + bias;
      if (p_.relu) y = engine_.relu_keeps_nan ? (y < 0 ? 0.0F : y) : std::fmax(y, 0.0F);
      simt::store_element(at_.y, at + k, dtype_, y);
      const float stored = simt::load_element(at_.y, at + k, dtype_);
      add(0, k, stored);
      add(1, k, stored * stored);
      add(2, k, stored > at_.threshold ? 1.0F : 0.0F);
      if ((p_.sums & kMaxY) != 0) at_.sums[3][k] = std::fmax(at_.sums[3][k], stored);
      add(4, k, z);
      add(5, k, z * z);
    }
  }
  void add(int kind, int64_t k, float value) const {
    if ((p_.sums & (1U << kind)) != 0) at_.sums[static_cast<size_t>(kind)][k] += value;
  }

  ConvProblem p_;
  simt::Engine engine_;
  ConvPointers at_;
  DType dtype_;
};

std::string plan_text(const simt::Engine& engine, const ConvProblem& problem) { return engine.name + "\n" + key(problem); }

const simt::Engine* named(const std::vector<simt::Engine>& engines, const std::string& name) {
  const auto found = std::find_if(engines.begin(), engines.end(), [&](const auto& e) { return e.name == name; });
  return found == engines.end() ? nullptr : &*found;
}

}  // namespace

Result<int64_t> load_cudnn() {
  const std::lock_guard lock(simt::table_mutex());
  if (!simt::lost().empty()) return No{simt::lost()};
  return int64_t{92800};
}

std::string version_name(int64_t version) { return std::to_string(version / 10000) + ".stand-in"; }

Result<DeviceModel> DeviceModel::of_device(int) { return DeviceModel(); }
Result<DeviceModel> DeviceModel::from_json(std::span<const uint8_t>) { return DeviceModel(); }
Result<std::vector<uint8_t>> DeviceModel::to_json() const { return std::vector<uint8_t>{'{', '}'}; }

CudnnHandle::CudnnHandle(CUstream_st* stream) : handle_(new cudnnContext{stream}) {}
CudnnHandle::~CudnnHandle() { delete handle_; }

ConvPlan::ConvPlan(std::shared_ptr<cudnn_frontend::graph::Graph> graph, int64_t index, const ConvProblem& problem,
                   std::string engine)
    : graph_(std::move(graph)), index_(index), problem_(problem), engine_(std::move(engine)) {
  workspace_bytes_ = graph_->engines.at(static_cast<size_t>(index_)).workspace_bytes;
}

Result<std::vector<uint8_t>> ConvPlan::serialise() const {
  const std::string text = plan_text(graph_->engines.at(static_cast<size_t>(index_)), problem_);
  return std::vector<uint8_t>(text.begin(), text.end());
}

void ConvPlan::execute(cudnnContext* handle, const ConvPointers& pointers, void* workspace) const {
  const simt::Engine& engine = graph_->engines.at(static_cast<size_t>(index_));
  if (!engine.no_run.empty()) throw DeviceError("cuDNN refused to run " + engine.name + ": " + engine.no_run);
  if (engine.runs_only_reloaded && !graph_->reloaded) throw DeviceError("cuDNN refused to run " + engine.name + " as built");
  ELEK_CHECK(workspace_bytes_ == 0 || workspace != nullptr, "no workspace");
  const Convolution convolution(problem_, engine, pointers);
  const auto work = [convolution, workspace, bytes = workspace_bytes_] {
    if (bytes != 0) std::memset(workspace, 0xFF, std::min(bytes, size_t{1} << 16));
    convolution.run();
  };
  std::string name = plan_text(engine, problem_);
  name.append(reinterpret_cast<const char*>(&pointers), sizeof(pointers));
  const double cost_us = engine.cost_us + (problem_.sums != 0 ? engine.sums_cost_us : 0.0);
  const cudaError_t status = simt::enqueue(handle->stream, work, std::move(name), cost_us);
  if (status != cudaSuccess) throw DeviceError(std::string("cuDNN refused to run: ") + cudaGetErrorName(status));
}

Result<ConvPlan> load_plan(const ConvProblem& problem, const DeviceModel&, std::span<const uint8_t> bytes,
                           const std::string& engine) {
  auto graph = std::make_shared<cudnn_frontend::graph::Graph>();
  {
    const std::lock_guard lock(simt::table_mutex());
    const simt::Engine* found = named(simt::table(), engine);
    if (found == nullptr) return No{"no such engine"};
    graph->engines = {*found};
    graph->reloaded = true;
  }
  if (std::string(bytes.begin(), bytes.end()) != plan_text(graph->engines[0], problem)) return No{"another problem's plan"};
  return ConvPlan(std::move(graph), 0, problem, engine);
}

Result<ConvGraph> ConvGraph::make(const ConvProblem& problem, const DeviceModel&) {
  ELEK_CHECK(problem.sums == 0 || problem.epilogue == ConvEpilogue::kFull, "sums are taken of what the full epilogue stores");
  ConvGraph made;
  made.problem_ = problem;
  made.graph_ = std::make_shared<cudnn_frontend::graph::Graph>();
  const std::lock_guard lock(simt::table_mutex());
  for (const simt::Engine& engine : simt::table()) {
    if (problem.epilogue == ConvEpilogue::kFull && !engine.takes_epilogue) {
      made.refusals_ += engine.name + ": no epilogue; ";
      continue;
    }
    if (problem.sums != 0 && !engine.takes_sums) {
      made.refusals_ += engine.name + ": no sums; ";
      continue;
    }
    made.graph_->engines.push_back(engine);
    made.names_.push_back(engine.name);
  }
  if (made.names_.empty()) return No{"no engine takes it: " + made.refusals_};
  return made;
}

bool ConvGraph::precompiled(size_t candidate) const { return graph_->engines.at(candidate).precompiled; }

Result<ConvPlan> ConvGraph::build(size_t candidate) const {
  const simt::Engine& engine = graph_->engines.at(candidate);
  if (!engine.no_build.empty()) return No{engine.no_build};
  ++simt::built;
  return ConvPlan(graph_, static_cast<int64_t>(candidate), problem_, names_.at(candidate));
}

}  // namespace elek::backends::cuda
