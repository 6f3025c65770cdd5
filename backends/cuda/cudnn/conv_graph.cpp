// SPDX-License-Identifier: Apache-2.0
// Builds and runs cuDNN operation graphs. The only file that sees cudnn_frontend. The frontend opens cuDNN, the CUDA runtime
// and the driver by name (NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING) and may throw if one is missing, so every call is made under
// guard().
// Tests: tests/deviceless/fusion_test.cpp, tests/gpu/backend_conv_test.cpp
#include "backends/cuda/cudnn/conv_graph.h"

#include <cudnn_frontend.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/error.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the library in which the frontend finds cuDNN's functions; load_cudnn() sets it once
}

namespace elek::backends::cuda {
namespace {

namespace fe = cudnn_frontend;
using Attributes = fe::graph::Tensor_attributes;
using TensorRef = std::shared_ptr<Attributes>;

/// A recorded graph holds no references to the plans in it, which makes its launch faster. So plans must outlive every
/// recording: CudaExecutable and time_us() see to it.
constexpr auto kRetention = fe::CudaGraphRetention_t::NONE;
constexpr int64_t kOldestCudnn = 91100;  // the oldest that builds plans from a description of the device

/// Tensors have the same ids in every graph, so that a plan read from the cache can be run.
enum Uid : int64_t { kX = 1, kW, kBias, kResidual, kY, kThreshold, kFirstSum = 16 };

/// Runs `work`, which returns cudnn_frontend's error_t. Returns an empty text if it is good, else the reason on one line.
template <typename Work>
std::string guard(Work&& work) {
  std::string reason;
  try {
    auto status = work();
    if (status.is_good()) return {};
    reason = status.get_message();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (reason.empty()) reason = "cuDNN gave no reason";
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  return reason;
}

fe::DataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return fe::DataType_t::HALF;
    case DType::kBF16:
      return fe::DataType_t::BFLOAT16;
    default:
      return fe::DataType_t::FLOAT;
  }
}

TensorRef tensor(fe::graph::Graph& graph, const char* name, int64_t uid, const std::vector<int64_t>& dims, int64_t pitch) {
  Attributes a;
  a.set_name(name).set_uid(uid).set_dim(dims);
  a.set_stride({dims[2] * dims[3] * pitch, 1, dims[3] * pitch, pitch});
  return graph.tensor(a);
}

fe::graph::Pointwise_attributes pointwise(fe::PointwiseMode_t mode) {
  return fe::graph::Pointwise_attributes().set_mode(mode).set_compute_data_type(fe::DataType_t::FLOAT);
}

/// Adds the reductions that the problem asks for. y is reduced as it is stored, in the storage's type.
void add_sums(fe::graph::Graph& graph, const ConvProblem& p, const TensorRef& y, const TensorRef& z) {
  const auto reduce = [&](const TensorRef& of, fe::ReductionMode_t mode, int place) {
    auto sum =
        graph.reduction(of, fe::graph::Reduction_attributes().set_mode(mode).set_compute_data_type(fe::DataType_t::FLOAT));
    sum->set_dim({1, p.filters, 1, 1}).set_stride({p.filters, 1, p.filters, p.filters});
    sum->set_output(true).set_data_type(fe::DataType_t::FLOAT).set_uid(kFirstSum + place);
  };
  const auto square = [&](const TensorRef& of) { return graph.pointwise(of, of, pointwise(fe::PointwiseMode_t::MUL)); };
  if ((p.sums & kSumY) != 0) reduce(y, fe::ReductionMode_t::ADD, 0);
  if ((p.sums & kSumYSquared) != 0) reduce(square(y), fe::ReductionMode_t::ADD, 1);
  if ((p.sums & kCountActive) != 0) {
    Attributes a;
    a.set_name("threshold").set_uid(kThreshold).set_dim({1, 1, 1, 1}).set_stride({1, 1, 1, 1});
    a.set_data_type(fe::DataType_t::FLOAT).set_is_pass_by_value(true);
    reduce(graph.pointwise(y, graph.tensor(a), pointwise(fe::PointwiseMode_t::CMP_GT)), fe::ReductionMode_t::ADD, 2);
  }
  if ((p.sums & kMaxY) != 0) reduce(y, fe::ReductionMode_t::MAX, 3);
  if ((p.sums & kSumZ) != 0) reduce(z, fe::ReductionMode_t::ADD, 4);
  if ((p.sums & kSumZSquared) != 0) reduce(square(z), fe::ReductionMode_t::ADD, 5);
}

void describe(fe::graph::Graph& graph, const ConvProblem& p) {
  graph.set_io_data_type(type_of(storage_of(p.precision)));
  graph.set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
  const auto x = tensor(graph, "x", kX, {p.samples, p.channels, p.height, p.width}, p.x_pitch);
  const int64_t depth = p.channels / p.groups;
  const auto w = tensor(graph, "w", kW, {p.filters, depth, p.kernel.height, p.kernel.width}, depth);
  auto conv = fe::graph::Conv_fprop_attributes();
  conv.set_pre_padding({p.padding.top, p.padding.left}).set_post_padding({p.padding.bottom, p.padding.right});
  conv.set_stride({p.stride.height, p.stride.width}).set_dilation({p.dilation.height, p.dilation.width});
  TensorRef y = graph.conv_fprop(x, w, conv);
  TensorRef z;
  if (p.epilogue == ConvEpilogue::kFull) {
    const auto add_residual = [&] {
      if (!p.residual) return;
      const std::vector<int64_t> dims{p.samples, p.filters, p.out_height(), p.out_width()};
      const auto residual = tensor(graph, "residual", kResidual, dims, p.y_pitch);
      y = graph.pointwise(y, residual, pointwise(fe::PointwiseMode_t::ADD));
    };
    const auto bias = tensor(graph, "bias", kBias, {1, p.filters, 1, 1}, p.filters);
    bias->set_data_type(type_of(p.bias_dtype()));
    if (p.sums == 0) add_residual();
    y = z = graph.pointwise(y, bias, pointwise(fe::PointwiseMode_t::ADD));
    if (p.sums != 0) add_residual();
    // z is reduced in f32 and y as stored, so with sums the stored value needs a node of its own even without a ReLU.
    if (p.relu) {
      y = graph.pointwise(y, pointwise(fe::PointwiseMode_t::RELU_FWD));
    } else if (p.sums != 0) {
      y = graph.pointwise(y, pointwise(fe::PointwiseMode_t::IDENTITY));
    }
  }
  y->set_output(true).set_data_type(type_of(storage_of(p.precision))).set_uid(kY);
  y->set_dim({p.samples, p.filters, p.out_height(), p.out_width()});
  y->set_stride({p.out_height() * p.out_width() * p.y_pitch, 1, p.out_width() * p.y_pitch, p.y_pitch});
  if (p.sums != 0) add_sums(graph, p, y, z);
}

/// Numerical notes of the kernels that the problem does not allow.
std::vector<fe::NumericalNote_t> unwanted(const ConvProblem& p) {
  std::vector<fe::NumericalNote_t> notes{fe::NumericalNote_t::REDUCED_PRECISION_REDUCTION};
  if (p.precision == Precision::kF32) {
    notes.push_back(fe::NumericalNote_t::TENSOR_CORE);
    notes.push_back(fe::NumericalNote_t::DOWN_CONVERT_INPUTS);
  }
  if (p.deterministic) notes.push_back(fe::NumericalNote_t::NONDETERMINISTIC);
  return notes;
}

Result<int64_t> open_cudnn() {
  const char* own = std::getenv("ELEK_CUDNN");
  std::vector<std::string> names{"libcudnn.so.9", ELEK_CUDNN_BUILT_WITH};
  if (own != nullptr && *own != '\0') names = {own};
  std::string errors;
  for (const std::string& name : names) {
    // Never closed: cuDNN's own threads and exit handlers outlive every session.
    fe::cudnn_dlhandle = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (fe::cudnn_dlhandle != nullptr) break;
    const char* error = dlerror();
    errors += errors.empty() ? "" : "; ";
    errors += error != nullptr ? error : name;
  }
  const std::string cure =
      "install cuDNN 9.11 or newer (Debian and Ubuntu: libcudnn9, from NVIDIA's packages) or name its file in "
      "ELEK_CUDNN";
  if (fe::cudnn_dlhandle == nullptr) return No{"cuDNN could not be opened (" + errors + "): " + cure};
  // If a machine has several CUDA runtimes, the frontend would warn and take the oldest. Name the one that elek was built with.
  setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", ("libcudart.so." + std::to_string(CUDART_VERSION / 1000)).c_str(), 0);
  int64_t version = 0;
  try {
    version = static_cast<int64_t>(fe::detail::get_backend_version());
  } catch (const std::exception& error) {
    return No{std::string("cuDNN could not be asked for its version (") + error.what() + "): " + cure};
  }
  if (version < kOldestCudnn) return No{"cuDNN " + version_name(version) + " is too old: " + cure};
  return version;
}

}  // namespace

std::string version_name(int64_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

Result<int64_t> load_cudnn() {
  static const Result<int64_t> opened = open_cudnn();
  return opened;
}

Result<DeviceModel> DeviceModel::of_device(int index) {
  auto properties = std::make_shared<fe::DeviceProperties>();
  const std::string no = guard([&] { return properties->set_device_id(index).build(); });
  if (!no.empty()) return No{no};
  DeviceModel made;
  made.properties_ = std::move(properties);
  return made;
}

Result<DeviceModel> DeviceModel::from_json(std::span<const uint8_t> json) {
  auto properties = std::make_shared<fe::DeviceProperties>();
  const std::string no = guard([&] { return properties->deserialize({json.begin(), json.end()}); });
  if (!no.empty()) return No{no};
  DeviceModel made;
  made.properties_ = std::move(properties);
  return made;
}

Result<std::vector<uint8_t>> DeviceModel::to_json() const {
  std::vector<uint8_t> json;
  const std::string no = guard([&] { return properties_->serialize(json); });
  if (!no.empty()) return No{no};
  return json;
}

CudnnHandle::CudnnHandle(CUstream_st* stream) {
  cudnnStatus_t status = CUDNN_STATUS_NOT_INITIALIZED;
  const std::string no = guard([&] {
    status = fe::detail::create_handle(&handle_);
    if (status == CUDNN_STATUS_SUCCESS) status = fe::detail::set_stream(handle_, stream);
    return fe::error_object(status == CUDNN_STATUS_SUCCESS ? fe::error_code_t::OK : fe::error_code_t::HANDLE_ERROR,
                            "cudnnCreate: status " + std::to_string(static_cast<int>(status)));
  });
  if (!no.empty()) throw DeviceError("cuDNN gives no handle (" + no + "): is the driver new enough, is the device full?");
}

CudnnHandle::~CudnnHandle() {
  if (handle_ != nullptr)
    (void)guard([&] {
      (void)fe::detail::destroy_handle(handle_);
      return fe::error_object();
    });
}

ConvPlan::ConvPlan(std::shared_ptr<fe::graph::Graph> graph, int64_t index, const ConvProblem& problem, std::string engine)
    : graph_(std::move(graph)), index_(index), problem_(problem), engine_(std::move(engine)) {
  int64_t bytes = 0;
  const std::string no = guard([&] { return graph_->get_workspace_size_plan_at_index(index_, bytes); });
  ELEK_CHECK(no.empty() && bytes >= 0, "cuDNN does not say what workspace " + engine_ + " needs: " + no);
  workspace_bytes_ = static_cast<size_t>(bytes);
}

Result<std::vector<uint8_t>> ConvPlan::serialise() const {
  std::vector<uint8_t> bytes;
  const std::string no = guard([&] {
    auto status = graph_->build_plan_at_index(index_);  // built already; this makes it the graph's choice, which is written
    return status.is_good() ? graph_->serialize(bytes, false) : status;
  });
  if (!no.empty()) return No{no};
  return bytes;
}

void ConvPlan::execute(cudnnContext* handle, const ConvPointers& pointers, void* workspace) const {
  float threshold = pointers.threshold;
  std::unordered_map<int64_t, void*> bound{
      {kX, const_cast<void*>(pointers.x)}, {kW, const_cast<void*>(pointers.w)}, {kY, pointers.y}};
  if (problem_.epilogue == ConvEpilogue::kFull) bound[kBias] = const_cast<void*>(pointers.bias);
  if (problem_.residual) bound[kResidual] = const_cast<void*>(pointers.residual);
  if ((problem_.sums & kCountActive) != 0) bound[kThreshold] = &threshold;
  for (int i = 0; i < kFusedSumKinds; ++i) {
    if ((problem_.sums & (1U << i)) != 0) bound[kFirstSum + i] = pointers.sums[static_cast<size_t>(i)];
  }
  const std::string no = guard([&] { return graph_->execute_plan_at_index(handle, bound, workspace, index_); });
  if (!no.empty()) throw DeviceError("cuDNN refused to run " + engine_ + " (" + key(problem_) + "): " + no);
}

Result<ConvPlan> load_plan(const ConvProblem& problem, const DeviceModel& device, std::span<const uint8_t> bytes,
                           const std::string& engine) {
  auto graph = std::make_shared<fe::graph::Graph>();
  graph->set_device_properties(device.properties());
  graph->set_cuda_graph_retention(kRetention);
  const std::string no = guard([&] { return graph->deserialize({bytes.begin(), bytes.end()}); });
  if (!no.empty()) return No{no};
  return ConvPlan(std::move(graph), 0, problem, engine);
}

Result<ConvGraph> ConvGraph::make(const ConvProblem& problem, const DeviceModel& device) {
  // Kernels for 16 bits that do without tensor cores exist, and take as long to compile and to time as the others. Narrow
  // groups may have no others.
  if (problem.precision != Precision::kF32 && problem.groups == 1) {
    auto made = propose(problem, device, Units::kTensorCores);
    if (made) return made;
  }
  return propose(problem, device, Units::kAny);
}

Result<ConvGraph> ConvGraph::propose(const ConvProblem& problem, const DeviceModel& device, Units units) {
  ELEK_CHECK(problem.sums == 0 || problem.epilogue == ConvEpilogue::kFull, "sums are taken of what the full epilogue stores");
  ConvGraph made;
  made.problem_ = problem;
  made.graph_ = std::make_shared<fe::graph::Graph>();
  fe::graph::Graph& graph = *made.graph_;
  graph.set_device_properties(device.properties());
  graph.set_cuda_graph_retention(kRetention);
  int64_t engines = 0;
  std::string no = guard([&] {
    describe(graph, problem);
    auto status = graph.validate();
    if (status.is_good()) status = graph.build_operation_graph();
    if (status.is_good()) status = graph.get_engine_count(engines);
    return status;
  });
  if (!no.empty()) return No{no};
  const std::vector<fe::NumericalNote_t> notes = unwanted(problem);
  no = guard([&] { return graph.create_execution_plans({fe::HeurMode_t::A}); });
  if (!no.empty()) made.refusals_ += "heuristics: " + no + "; ";
  for (int64_t engine = 0; engine < engines; ++engine) {
    no = guard([&] { return graph.create_execution_plan(engine, {}); });
    if (!no.empty()) made.refusals_ += "engine " + std::to_string(engine) + ": " + no + "; ";
  }
  graph.deselect_numeric_notes(notes);
  if (units == Units::kTensorCores) {
    graph.select_numeric_notes({fe::NumericalNote_t::TENSOR_CORE});
    no = guard([&] { return graph.check_support(); });
    if (!no.empty()) return No{"no engine with tensor cores takes it: " + no};
  }
  for (int64_t i = 0; i < graph.get_execution_plan_count(); ++i) {
    std::string name;
    no = guard([&] { return graph.get_plan_name_at_index(i, name); });
    made.names_.push_back(no.empty() ? name : "plan " + std::to_string(i));
  }
  if (made.names_.empty()) return No{"no engine takes it: " + made.refusals_};
  return made;
}

bool ConvGraph::precompiled(size_t candidate) const {
  std::vector<fe::BehaviorNote_t> notes;
  const auto index = static_cast<int64_t>(candidate);
  const std::string no = guard([&] { return graph_->get_behavior_notes_for_plan_at_index(index, notes); });
  const auto compiled = fe::BehaviorNote_t::RUNTIME_COMPILATION;
  return no.empty() && std::find(notes.begin(), notes.end(), compiled) == notes.end();
}

Result<ConvPlan> ConvGraph::build(size_t candidate) const {
  const auto index = static_cast<int64_t>(candidate);
  const std::string no = guard([&] { return graph_->build_plan_at_index(index); });
  if (!no.empty()) return No{no};
  return ConvPlan(graph_, index, problem_, names_.at(candidate));
}

}  // namespace elek::backends::cuda
