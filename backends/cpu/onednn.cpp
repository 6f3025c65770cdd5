// SPDX-License-Identifier: Apache-2.0
// oneDNN 2.x and 3.x behind onednn.h. Only the #if below know which version it is.
// Tests: tests/golden/session_test.cpp
#include "backends/cpu/onednn.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <dnnl.hpp>

#include "core/error.h"

namespace elek::backends::cpu {
namespace {

using Dims = dnnl::memory::dims;
using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;
constexpr auto kF32 = dnnl::memory::data_type::f32;

dnnl::memory::data_type type_of(DType dtype) { return dtype == DType::kBF16 ? dnnl::memory::data_type::bf16 : kF32; }

dnnl::engine& cpu_engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// Runs `f`. Turns oneDNN's errors into ours, which name what was tried.
template <typename F>
auto guarded(const std::string& what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_out_of_memory) throw OutOfMemory("oneDNN, " + what, {});
    throw DeviceError("oneDNN, " + what + ": " + e.what() + " (status " + std::to_string(static_cast<int>(e.status)) + ")");
  }
}

Tag tag_of(Layout layout) {
  switch (layout) {
    case Layout::kNchw:
      return Tag::nchw;
    case Layout::kNhwc:
      return Tag::nhwc;
    case Layout::kNChw8c:
      return Tag::nChw8c;
    case Layout::kNChw16c:
      return Tag::nChw16c;
  }
  return Tag::undef;
}

/// How convolution groups are given to oneDNN, whose fast kernels want whole channel blocks per group. Neighbouring groups are
/// merged into one, with zero weights off the diagonal. That multiplies their (small) work by the number merged.
struct Grouping {
  int64_t groups = 1;  // as oneDNN sees them
  int64_t in = 0;      // channels per group, padded
  int64_t out = 0;     // channels per group, padded
};

Grouping grouping_of(const ConvProblem& p) {
  const int64_t in_block = channel_block(p.src_layout), out_block = channel_block(p.dst_layout);
  const int64_t in = p.src.channels / p.groups, out = p.dst.channels / p.groups;
  for (int64_t merged = 1; merged < p.groups; ++merged) {
    if (p.groups % merged == 0 && in * merged % in_block == 0 && out * merged % out_block == 0) {
      return {p.groups / merged, in * merged, out * merged};
    }
  }
  return {1, padded_channels(p.src_layout, p.src.channels), padded_channels(p.dst_layout, p.dst.channels)};
}

dnnl::primitive_attr attributes(bool sum, bool relu) {
  dnnl::post_ops ops;
  if (sum) ops.append_sum(1.0F);
#if DNNL_VERSION_MAJOR >= 3
  if (relu) ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
#else
  if (relu) ops.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
#endif
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

using ConvDesc = dnnl::convolution_forward::primitive_desc;
using MatmulDesc = dnnl::matmul::primitive_desc;

ConvDesc conv_desc(const ConvProblem& p, const Desc& src, const Desc& weights, const Desc& bias, const Desc& dst) {
  const Dims strides = {p.stride, p.stride};
  const Dims padding = {p.padding, p.padding};  // pixels that the stride leaves over at the far side are dropped
  const auto prop = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), prop, algorithm, src, weights, bias, dst, strides, padding, padding, attributes(p.sum, p.relu)};
#else
  const dnnl::convolution_forward::desc desc(prop, algorithm, src, weights, bias, dst, strides, padding, padding);
  return {desc, attributes(p.sum, p.relu), cpu_engine()};
#endif
}

MatmulDesc matmul_desc(const Desc& src, const Desc& weights, const Desc& bias, const Desc& dst) {
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), src, weights, bias, dst, attributes(false, false)};
#else
  const dnnl::matmul::desc desc(src, weights, bias, dst);
  return {desc, attributes(false, false), cpu_engine()};
#endif
}

bool is_slow(const std::string& kernel) { return kernel.find("ref") != std::string::npos; }

}  // namespace

struct Primitive::Impl {
  dnnl::primitive primitive;
  dnnl::stream stream{cpu_engine()};
  Desc weights, staged;
  mutable dnnl::memory src_memory, weights_memory, bias_memory, dst_memory, scratch_memory;
  size_t scratch_bytes = 0;
  std::string kernel;
  // For pack(): blocks [out, in, taps] of the network's groups go into the blocks of oneDNN's groups.
  int64_t taps = 1;
  int64_t groups = 1, out_channels = 0, in_channels = 0;  // the network's; channels are per group
  Grouping grouping;
  [[nodiscard]] bool padded() const {
    return grouping.in != in_channels || grouping.out * grouping.groups != out_channels * groups;
  }

  template <typename PrimitiveDesc>
  void adopt(const PrimitiveDesc& pd, const Desc& src, const Desc& bias, const Desc& dst) {
    weights = pd.weights_desc();
    const Desc scratch = pd.scratchpad_desc();
    scratch_bytes = scratch.get_size();
    kernel = pd.impl_info_str();
    src_memory = dnnl::memory(src, cpu_engine(), DNNL_MEMORY_NONE);
    weights_memory = dnnl::memory(weights, cpu_engine(), DNNL_MEMORY_NONE);
    bias_memory = dnnl::memory(bias, cpu_engine(), DNNL_MEMORY_NONE);
    dst_memory = dnnl::memory(dst, cpu_engine(), DNNL_MEMORY_NONE);
    scratch_memory = dnnl::memory(scratch, cpu_engine(), DNNL_MEMORY_NONE);
  }
};

Primitive::Primitive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Primitive::~Primitive() = default;

std::unique_ptr<Primitive> Primitive::make(const ConvProblem& p, const Primitive* like) {
  const std::string what = "convolution " + to_string(p.src) + " -> " + to_string(p.dst) + " kernel " +
                           std::to_string(p.kernel) + " stride " + std::to_string(p.stride) + " groups " +
                           std::to_string(p.groups) + " samples " + std::to_string(p.samples);
  return guarded(what, [&]() -> std::unique_ptr<Primitive> {
    auto impl = std::make_unique<Impl>();
    const Grouping g = impl->grouping = grouping_of(p);
    impl->taps = p.kernel * p.kernel;
    impl->groups = p.groups;
    impl->in_channels = p.src.channels / p.groups;
    impl->out_channels = p.dst.channels / p.groups;
    const Desc src({p.samples, g.in * g.groups, p.src.height, p.src.width}, type_of(p.src_type), tag_of(p.src_layout));
    const Desc dst({p.samples, g.out * g.groups, p.dst.height, p.dst.width}, type_of(p.dst_type), tag_of(p.dst_layout));
    const Desc bias({g.out * g.groups}, kF32, Tag::x);
    const Dims plain = g.groups == 1 ? Dims{g.out, g.in, p.kernel, p.kernel} : Dims{g.groups, g.out, g.in, p.kernel, p.kernel};
    impl->staged = Desc(plain, kF32, g.groups == 1 ? Tag::oihw : Tag::goihw);
    const Desc weights = like != nullptr ? like->impl_->weights : Desc(plain, type_of(p.src_type), Tag::any);
    ConvDesc pd;
    try {
      pd = conv_desc(p, src, weights, bias, dst);
    } catch (const dnnl::error& e) {
      if (like != nullptr && e.status == dnnl_unimplemented) return nullptr;
      throw;
    }
    impl->adopt(pd, src, bias, dst);
    if (like != nullptr && is_slow(impl->kernel) && !is_slow(like->impl_->kernel)) return nullptr;
    impl->primitive = dnnl::convolution_forward(pd);
    return std::unique_ptr<Primitive>(new Primitive(std::move(impl)));
  });
}

std::unique_ptr<Primitive> Primitive::make(const LinearProblem& p, const Primitive* like) {
  const std::string what = "linear " + std::to_string(p.in_features) + " -> " + std::to_string(p.out_features) + " samples " +
                           std::to_string(p.samples);
  return guarded(what, [&]() -> std::unique_ptr<Primitive> {
    auto impl = std::make_unique<Impl>();
    impl->in_channels = p.in_features;
    impl->out_channels = p.out_features;
    impl->grouping = {1, p.in_features, p.out_features};
    const Desc src({p.samples, p.in_features}, type_of(p.src_type), Dims{p.src_pitch, 1});
    const Desc dst({p.samples, p.out_features}, type_of(p.dst_type), Dims{p.dst_pitch, 1});
    const Desc bias({1, p.out_features}, kF32, Tag::ab);
    const Dims plain = {p.in_features, p.out_features};
    impl->staged = Desc(plain, kF32, Tag::ba);  // [out, in] row-major, seen as [in, out]
    const Desc weights = like != nullptr ? like->impl_->weights : Desc(plain, type_of(p.src_type), Tag::any);
    MatmulDesc pd;
    try {
      pd = matmul_desc(src, weights, bias, dst);
    } catch (const dnnl::error& e) {
      if (like != nullptr && e.status == dnnl_unimplemented) return nullptr;
      throw;
    }
    impl->adopt(pd, src, bias, dst);
    if (like != nullptr && is_slow(impl->kernel) && !is_slow(like->impl_->kernel)) return nullptr;
    impl->primitive = dnnl::matmul(pd);
    return std::unique_ptr<Primitive>(new Primitive(std::move(impl)));
  });
}

size_t Primitive::packed_bytes() const noexcept { return impl_->weights.get_size(); }
size_t Primitive::staged_bytes() const noexcept { return impl_->padded() ? impl_->staged.get_size() : 0; }
size_t Primitive::scratch_bytes() const noexcept { return impl_->scratch_bytes; }
const std::string& Primitive::kernel() const noexcept { return impl_->kernel; }

void Primitive::pack(const float* weights, float* staged, void* packed) const {
  const Impl& i = *impl_;
  const Grouping& g = i.grouping;
  if (i.padded()) {
    std::fill_n(staged, static_cast<size_t>(g.groups * g.out * g.in * i.taps), 0.0F);
    const int64_t row = i.in_channels * i.taps;  // of one output channel, as the network stores it
    for (int64_t k = 0; k < i.groups * i.out_channels; ++k) {
      const int64_t in_of_group = k / i.out_channels * i.in_channels % g.in;  // where its inputs begin in the merged group
      std::memcpy(staged + (k * g.in + in_of_group) * i.taps, weights + k * row, static_cast<size_t>(row) * sizeof(float));
    }
  }
  guarded("packing weights", [&] {
    dnnl::memory from(i.staged, cpu_engine(), i.padded() ? staged : const_cast<float*>(weights));  // only read
    dnnl::memory to(i.weights, cpu_engine(), packed);
    dnnl::stream stream(cpu_engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  });
}

void Primitive::run(const void* src, const void* packed, const float* bias, void* dst, void* scratch) const {
  const Impl& i = *impl_;
  guarded("running " + i.kernel, [&] {
    i.src_memory.set_data_handle(const_cast<void*>(src));  // oneDNN takes no pointer to const; it only reads these three
    i.weights_memory.set_data_handle(const_cast<void*>(packed));
    i.bias_memory.set_data_handle(const_cast<float*>(bias));
    i.dst_memory.set_data_handle(dst);
    i.scratch_memory.set_data_handle(scratch);
    const std::array<dnnl_exec_arg_t, 5> args = {{{DNNL_ARG_SRC, i.src_memory.get()},
                                                  {DNNL_ARG_WEIGHTS, i.weights_memory.get()},
                                                  {DNNL_ARG_BIAS, i.bias_memory.get()},
                                                  {DNNL_ARG_DST, i.dst_memory.get()},
                                                  {DNNL_ARG_SCRATCHPAD, i.scratch_memory.get()}}};
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(i.primitive.get(), i.stream.get(), static_cast<int>(args.size()), args.data()),
        "could not execute a primitive");
  });
}

namespace {

/// Whether the machine has all instructions of `isa`.
bool has(dnnl::cpu_isa isa) noexcept {
  const auto bits = [](dnnl::cpu_isa set) { return static_cast<unsigned>(set); };
  return (bits(dnnl::get_effective_cpu_isa()) & bits(isa)) == bits(isa);
}

}  // namespace

Layout preferred_layout(DType storage) {
  if (storage == DType::kBF16 && has(dnnl::cpu_isa::avx512_core_amx)) return Layout::kNhwc;
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::isa_default:
#else
    case dnnl::cpu_isa::all:
    case dnnl::cpu_isa::avx:
#endif
      return Layout::kNchw;
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::avx2_vnni_2:
#endif
      return Layout::kNChw8c;
    default:
      return Layout::kNChw16c;
  }
}

bool has_bf16() noexcept { return has(dnnl::cpu_isa::avx512_core_bf16); }

std::string library_name() {
  const dnnl_version_t* v = dnnl_version();
  return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace elek::backends::cpu
