// SPDX-License-Identifier: Apache-2.0
// One function per question, one branch per kernel. Tests: tests/backends/choose_test.cpp, tests/golden/session_test.cpp
#include "backends/cpu/conv_kernel.h"

#include <algorithm>
#include <cstddef>

#include "core/error.h"
#include "core/result.h"
#include "kernels/cpu/vectors.h"

namespace elek::backends::cpu {
namespace {

using kernels::cpu::DepthwisePlan;
using kernels::cpu::GemmConvPlan;
using kernels::cpu::LinearPlan;
using kernels::cpu::NarrowConvPlan;
using kernels::cpu::WinogradPlan;

/// For std::visit: one function per kind of plan.
template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

bool is_f32(const ConvProblem& p) { return !p.int8 && p.src_type == DType::kF32 && p.dst_type == DType::kF32; }

/// Winograd multiplies f32, without convolution groups, between values of one layout.
bool is_plain(const ConvProblem& p) { return is_f32(p) && p.groups == 1 && p.src_layout == p.dst_layout; }

Result<GemmConvPlan> plan_direct(const ConvProblem& p, int threads) {
  const bool plain = p.src_layout == Layout::kNchw;
  if (!is_f32(p) || (p.src_layout != p.dst_layout && !plain))
    return No{"the direct kernel needs f32, and a plain or the same layout"};
  return kernels::cpu::plan_gemm_conv({p.samples, p.src.channels, p.dst.channels, p.src.height, p.src.width, p.kernel, p.stride,
                                       p.padding, p.dst_layout, threads, p.dilation, p.groups, plain});
}

/// Each channel has its own filter. kDirect then means the depthwise kernel.
bool is_depthwise(const ConvProblem& p) {
  return is_f32(p) && p.groups > 1 && p.groups == p.src.channels && p.groups == p.dst.channels && p.src_layout == p.dst_layout;
}

Result<DepthwisePlan> plan_depthwise(const ConvProblem& p, int threads) {
  if (!is_depthwise(p) || p.dilation != Extent(1))
    return No{"the depthwise kernel needs f32, one filter per channel, no dilation and equal layouts"};
  return kernels::cpu::plan_depthwise(
      {p.samples, p.src.channels, p.src.height, p.src.width, p.kernel, p.stride, p.padding, p.src_layout, threads});
}

Result<WinogradPlan> plan_winograd(const ConvProblem& p, kernels::cpu::WinogradTile tile, int threads) {
  if (!is_plain(p) || p.kernel != Extent(3) || p.stride != Extent(1) || p.dilation != Extent(1) || !p.padding.is_even()) {
    return No{"the Winograd kernel needs f32, a 3x3 convolution with stride 1, no dilation, equal padding and one group"};
  }
  return kernels::cpu::plan_winograd(
      {p.samples, p.src.channels, p.dst.channels, p.src.height, p.src.width, p.padding.top, p.src_layout, tile, threads});
}

Result<WinogradPlan> plan_winograd(ConvAlgorithm algorithm, const ConvProblem& p, int threads) {
  using Tile = kernels::cpu::WinogradTile;
  return plan_winograd(p, algorithm == ConvAlgorithm::kWinograd4 ? Tile::k4x4 : Tile::k2x2, threads);
}

kernels::cpu::NarrowConvProblem narrow_problem(const ConvProblem& p, int threads) {
  kernels::cpu::NarrowConvProblem made;
  made.samples = p.samples;
  made.channels = p.src.channels;
  made.out_channels = p.dst.channels;
  made.height = p.src.height;
  made.width = p.src.width;
  made.kernel = p.kernel;
  made.stride = p.stride;
  made.padding = p.padding;
  made.layout = p.dst_layout;
  made.plain_input = p.src_layout == Layout::kNchw;
  made.threads = threads;
  made.dilation = p.dilation;
  made.x_type = p.src_type;
  return made;
}

using kernels::cpu::Multiply;

bool is_readable(const ConvProblem& p) {
  const bool integers = p.src_type == DType::kU8 || p.src_type == DType::kI8;
  return p.src_layout == p.dst_layout || (p.src_layout == Layout::kNchw && !integers);
}

Result<NarrowConvPlan> plan_int8(const ConvProblem& p, int threads) {
  if (!p.int8 || p.groups != 1 || !is_readable(p)) {
    return No{"the kernel for integers needs a quantised convolution of one group, and a plain or the same layout"};
  }
  kernels::cpu::NarrowConvProblem made = narrow_problem(p, threads);
  made.x_scale = p.int8->scale;
  made.x_signed = p.int8->is_signed;
  made.multiply = kernels::cpu::can_multiply(Multiply::kVnni) ? Multiply::kVnni : Multiply::kPairs;
  return kernels::cpu::plan_narrow_conv(made);
}

Result<NarrowConvPlan> plan_bf16(const ConvProblem& p, int threads) {
  if (p.src_type != DType::kBF16 || p.groups != 1 || !is_readable(p) || !kernels::cpu::can_multiply(Multiply::kBf16)) {
    return No{"the kernel for bf16 needs AVX512_BF16, one group, and a plain or the same layout"};
  }
  kernels::cpu::NarrowConvProblem made = narrow_problem(p, threads);
  made.multiply = Multiply::kBf16;
  return kernels::cpu::plan_narrow_conv(made);
}

/// What the kernel multiplies with, for people.
std::string narrow_name(const NarrowConvPlan& plan) {
  switch (plan.problem.multiply) {
    case Multiply::kVnni:
      return "int8 direct VNNI";
    case Multiply::kBf16:
      return "direct AVX512_BF16";
    case Multiply::kPairs:
      break;
  }
  return std::string("int8 direct ") + kernels::cpu::instruction_set();
}

template <typename T>
ActivationView<T> view(T* data, int64_t samples, const ImageShape& shape, Layout layout) {
  return {data, samples, shape, layout, padded_channels(layout, shape.channels)};
}

kernels::cpu::ConvArgs args_of(const ConvProblem& p, const ConvCall& call) {
  kernels::cpu::ConvArgs args;
  args.x = view(static_cast<const float*>(call.src), call.samples, p.src, p.src_layout);
  args.packed = static_cast<const float*>(call.packed);
  args.bias = call.bias;
  if (call.residual != nullptr)
    args.residual = view(static_cast<const float*>(call.residual), call.samples, p.dst, p.dst_layout);
  args.activation = call.activation;
  args.y = view(static_cast<float*>(call.dst), call.samples, p.dst, p.dst_layout);
  args.scratch = static_cast<float*>(call.scratch);
  args.sums = call.sums;
  return args;
}

kernels::cpu::NarrowConvArgs narrow_args_of(const ConvProblem& p, const ConvCall& call) {
  kernels::cpu::NarrowConvArgs args;
  args.samples = call.samples;
  args.x = call.src;
  args.packed = call.packed;
  args.bias = call.bias;
  args.residual = call.residual;
  args.residual_stored = call.residual_stored;
  args.activation = call.activation;
  args.y = call.dst;
  args.y_stored = {p.dst_type, call.dst_scale};
  if (call.dst_grid) {
    args.y_scale = call.dst_grid->scale;
    args.y_signed = call.dst_grid->is_signed;
  }
  args.scratch = call.scratch;
  args.sums = call.sums;
  return args;
}

}  // namespace

std::string_view name_of(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::kWinograd4:
      return "winograd F(4x4)";
    case ConvAlgorithm::kWinograd2:
      return "winograd F(2x2)";
    case ConvAlgorithm::kDirect:
      return "direct";
    case ConvAlgorithm::kLibrary:
      return "oneDNN";
    case ConvAlgorithm::kInt8:
      return "int8";
  }
  return "?";
}

bool fits(ConvAlgorithm algorithm, const ConvProblem& problem, int threads) {
  switch (algorithm) {
    case ConvAlgorithm::kWinograd4:
    case ConvAlgorithm::kWinograd2:
      return static_cast<bool>(plan_winograd(algorithm, problem, threads));
    case ConvAlgorithm::kDirect:
      return plan_direct(problem, threads) || plan_depthwise(problem, threads) || plan_bf16(problem, threads);
    case ConvAlgorithm::kLibrary:
      return !problem.int8 && library_is_built_in();
    case ConvAlgorithm::kInt8:
      return static_cast<bool>(plan_int8(problem, threads));
  }
  return false;
}

ConvKernel::Plan ConvKernel::plan(ConvAlgorithm algorithm, const ConvProblem& problem, int threads) {
  switch (algorithm) {
    case ConvAlgorithm::kWinograd4:
    case ConvAlgorithm::kWinograd2: {
      auto made = plan_winograd(algorithm, problem, threads);
      ELEK_CHECK(made, std::string(name_of(algorithm)) + ": " + made.reason());
      return std::move(made).value();
    }
    case ConvAlgorithm::kDirect: {
      if (auto depthwise = plan_depthwise(problem, threads)) return std::move(depthwise).value();
      if (auto bf16 = plan_bf16(problem, threads)) return std::move(bf16).value();
      auto made = plan_direct(problem, threads);
      ELEK_CHECK(made, std::string(name_of(algorithm)) + ": " + made.reason());
      return std::move(made).value();
    }
    case ConvAlgorithm::kInt8: {
      auto made = plan_int8(problem, threads);
      ELEK_CHECK(made, std::string(name_of(algorithm)) + ": " + made.reason());
      return std::move(made).value();
    }
    case ConvAlgorithm::kLibrary:
      break;
  }
  return Primitive::make(problem, threads);
}

ConvKernel::Plan ConvKernel::plan(const LinearProblem& p, int threads) {
  if (p.src_type != DType::kF32 || p.dst_type != DType::kF32) return Primitive::make(p, threads);
  // Not oneDNN's: its product takes megabytes of its own heap for several threads, which no plan and no limit sees.
  return kernels::cpu::plan_linear({p.samples, p.in_features, p.out_features, p.src_pitch, p.dst_pitch, threads});
}

ConvKernel::ConvKernel(ConvAlgorithm algorithm, const ConvProblem& problem, int threads)
    : problem_(problem), samples_(problem.samples), plan_(plan(algorithm, problem, threads)) {}
ConvKernel::ConvKernel(const LinearProblem& problem, int threads) : samples_(problem.samples), plan_(plan(problem, threads)) {}

size_t ConvKernel::packed_bytes() const {
  return std::visit(
      Overloaded{[](const Library& p) { return p->packed_bytes(); }, [](const auto& ours) { return ours.packed_bytes; }},
      plan_);
}

size_t ConvKernel::staged_bytes() const {
  if (const auto* narrow = std::get_if<NarrowConvPlan>(&plan_)) {
    const kernels::cpu::NarrowConvProblem& p = narrow->problem;
    return p.multiply == Multiply::kBf16 ? 0 : static_cast<size_t>(p.out_channels * p.channels * p.kernel.area());
  }
  const auto* library = std::get_if<Library>(&plan_);
  return library != nullptr ? (*library)->staged_bytes() : 0;
}

size_t ConvKernel::scratch_bytes() const {
  return std::visit(
      Overloaded{[](const Library& p) { return p->scratch_bytes(); }, [](const auto& ours) { return ours.scratch_bytes; }},
      plan_);
}

double ConvKernel::arithmetic() const {
  const auto* winograd = std::get_if<WinogradPlan>(&plan_);
  if (winograd == nullptr) return 1;
  return static_cast<double>(winograd->products) / static_cast<double>(9 * winograd->out_height * winograd->out_width);
}

std::string ConvKernel::name() const {
  return std::visit(Overloaded{[](const Library& p) { return "oneDNN " + p->kernel(); },
                               [](const WinogradPlan& p) {
                                 const auto tile = std::to_string(static_cast<int>(p.problem.tile));
                                 return "winograd F(" + tile + "x" + tile + ") " + kernels::cpu::instruction_set();
                               },
                               [](const DepthwisePlan&) { return std::string("depthwise ") + kernels::cpu::instruction_set(); },
                               [](const NarrowConvPlan& p) { return narrow_name(p); },
                               [](const GemmConvPlan&) { return std::string("direct ") + kernels::cpu::instruction_set(); },
                               [](const LinearPlan&) { return std::string("linear ") + kernels::cpu::instruction_set(); }},
                    plan_);
}

void ConvKernel::pack(const float* weights, float* staged, void* packed) const {
  auto* const floats = static_cast<float*>(packed);
  std::visit(Overloaded{[&](const Library& p) { p->pack(weights, staged, packed); },
                        [&](const WinogradPlan& p) { kernels::cpu::pack_winograd_weights(p, weights, floats); },
                        [&](const DepthwisePlan& p) { kernels::cpu::pack_depthwise_weights(p, weights, floats); },
                        [&](const NarrowConvPlan& p) { kernels::cpu::pack_narrow_conv_weights(p, weights, packed); },
                        [&](const GemmConvPlan& p) { kernels::cpu::pack_gemm_conv_weights(p, weights, floats); },
                        [&](const LinearPlan& p) { kernels::cpu::pack_linear_weights(p, weights, floats); }},
             plan_);
}

void ConvKernel::pack(std::span<const int8_t> weights, std::span<const float> scales, void* packed) const {
  kernels::cpu::pack_narrow_conv_weights(std::get<NarrowConvPlan>(plan_), weights, scales, packed);
}

void ConvKernel::run(const ConvCall& call) const {
  std::visit(
      Overloaded{[&](const Library& p) { p->run(call.samples, call.src, call.packed, call.bias, call.dst, call.scratch); },
                 [&](const WinogradPlan& p) { kernels::cpu::winograd_conv(p, args_of(problem_, call)); },
                 [&](const DepthwisePlan& p) { kernels::cpu::depthwise_conv(p, args_of(problem_, call)); },
                 [&](const NarrowConvPlan& p) { kernels::cpu::narrow_conv(p, narrow_args_of(problem_, call)); },
                 [&](const GemmConvPlan& p) { kernels::cpu::gemm_conv(p, args_of(problem_, call)); },
                 [&](const LinearPlan& p) {
                   kernels::cpu::linear(p, call.samples, static_cast<const float*>(call.src),
                                        static_cast<const float*>(call.packed), call.bias, static_cast<float*>(call.dst));
                 }},
      plan_);
}

}  // namespace elek::backends::cpu
