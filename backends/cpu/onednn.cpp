// SPDX-License-Identifier: Apache-2.0
// oneDNN 2.x and 3.x behind onednn.h. Only the #if below know which version it is.
// Tests: tests/golden/session_test.cpp
#include "backends/cpu/onednn.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <dnnl.hpp>
#include <new>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/threads.h"

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

/// oneDNN asks OpenMP for its number of threads, when a primitive is made and again when it runs. Here it is one.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_;
};

/// OutOfMemory if the system has no room for the code that oneDNN is about to generate. oneDNN's own answer to that is a write
/// through a null pointer. One kernel's code takes up to 256 KiB; nothing is kept here, and no page is touched.
void require_room_for_code() {
  constexpr size_t kRoom = size_t{512} << 10;
  void* const room = mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw OutOfMemory("no address space for the code of oneDNN's kernels", {.requested_bytes = kRoom});
  (void)munmap(room, kRoom);
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

/// Output rows [first, first + count) of a convolution, the input rows that they read, and the padding around these.
struct Rows {
  int64_t first = 0, count = 0;
  int64_t source = 0, source_count = 0;
  int64_t padding_above = 0, padding_below = 0;
};

Rows rows_of(const ConvProblem& p, int64_t first, int64_t last) {
  const int64_t reach = Window{p.kernel, p.stride, p.padding, p.dilation}.reach().height;
  const int64_t top = first * p.stride.height - p.padding.top;
  const int64_t bottom = (last - 1) * p.stride.height - p.padding.top + reach;
  Rows rows;
  rows.first = first;
  rows.count = last - first;
  rows.source = std::clamp<int64_t>(top, 0, p.src.height);
  rows.source_count = std::clamp<int64_t>(bottom, 0, p.src.height) - rows.source;
  rows.padding_above = std::max<int64_t>(0, -top);
  rows.padding_below = std::max<int64_t>(0, bottom - p.src.height);
  return rows;
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

/// Pixels that the stride leaves over at the far side are dropped.
ConvDesc conv_desc(const ConvProblem& p, const Rows& rows, const Desc& src, const Desc& weights, const Desc& bias,
                   const Desc& dst) {
  const Dims strides = {p.stride.height, p.stride.width};
  const Dims dilation = {p.dilation.height - 1, p.dilation.width - 1};  // oneDNN counts the pixels between two taps
  const Dims before = {rows.padding_above, p.padding.left}, after = {rows.padding_below, p.padding.right};
  const auto prop = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), prop, algorithm, src, weights, bias, dst, strides, dilation, before, after, attributes(p.sum, p.relu)};
#else
  const dnnl::convolution_forward::desc desc(prop, algorithm, src, weights, bias, dst, strides, dilation, before, after);
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

/// What one run of a kernel reads and writes.
struct Pointers {
  const std::byte* src;
  const std::byte* packed;
  const float* bias;
  std::byte* dst;
  std::byte* scratch;
};

/// One primitive of one thread, with the memory objects that hold its pointers.
struct Kernel {
  template <typename Made, typename PrimitiveDesc>
  static std::unique_ptr<Kernel> make(const PrimitiveDesc& pd, const Desc& src, const Desc& bias, const Desc& dst) {
    auto kernel = std::make_unique<Kernel>();
    const auto memory = [](const Desc& desc) { return dnnl::memory(desc, cpu_engine(), DNNL_MEMORY_NONE); };
    kernel->weights_desc = pd.weights_desc();
    kernel->scratch_bytes = pd.scratchpad_desc().get_size();
    kernel->name = pd.impl_info_str();
    kernel->src = memory(src);
    kernel->weights = memory(pd.weights_desc());
    kernel->bias = memory(bias);
    kernel->dst = memory(dst);
    kernel->scratch = memory(pd.scratchpad_desc());
    require_room_for_code();
    kernel->primitive = Made(pd);
    return kernel;
  }

  /// Returns oneDNN's status. Throws nothing: it runs as a part.
  dnnl_status_t run(const Pointers& p) noexcept {
    const std::array<std::pair<dnnl::memory*, void*>, 5> places = {
        {{&src, const_cast<std::byte*>(p.src)},  // oneDNN takes no pointer to const; it only reads these three
         {&weights, const_cast<std::byte*>(p.packed)},
         {&bias, const_cast<float*>(p.bias)},
         {&dst, p.dst},
         {&scratch, p.scratch}}};
    for (const auto& [memory, at] : places)
      if (const dnnl_status_t status = dnnl_memory_set_data_handle(memory->get(), at); status != dnnl_success) return status;
    const std::array<dnnl_exec_arg_t, 5> args = {{{DNNL_ARG_SRC, src.get()},
                                                  {DNNL_ARG_WEIGHTS, weights.get()},
                                                  {DNNL_ARG_BIAS, bias.get()},
                                                  {DNNL_ARG_DST, dst.get()},
                                                  {DNNL_ARG_SCRATCHPAD, scratch.get()}}};
    try {
      return dnnl_primitive_execute(primitive.get(), stream.get(), static_cast<int>(args.size()), args.data());
    } catch (const std::bad_alloc&) {  // it comes through oneDNN's C interface
      return dnnl_out_of_memory;
    }
  }

  dnnl::primitive primitive;
  dnnl::stream stream{cpu_engine()};
  Desc weights_desc;
  dnnl::memory src, weights, bias, dst, scratch;
  size_t scratch_bytes = 0;
  std::string name;
};

/// Returns make(), or null if oneDNN has no kernel ("unimplemented") that reads weights in the format `weights`, if one is
/// asked for.
template <typename Make>
std::unique_ptr<Kernel> if_there_is_one(const Desc* weights, const Make& make) {
  try {
    return make();
  } catch (const dnnl::error& e) {
    if (weights != nullptr && e.status == dnnl_unimplemented) return nullptr;
    throw;
  }
}

/// A part's kernels and where its data begins. Both kernels read one packed copy of the weights.
struct Part {
  std::unique_ptr<Kernel> many;                      // for `chunk` samples; null if chunk is 1
  std::unique_ptr<Kernel> one;                       // for one sample
  Desc plain;                                        // the part's weights as pack() gets them
  size_t src = 0, packed = 0, dst = 0, scratch = 0;  // bytes
  int64_t bias = 0, weights = 0;                     // floats

  [[nodiscard]] const Kernel& first() const { return many != nullptr ? *many : *one; }
  [[nodiscard]] size_t scratch_bytes() const {
    return std::max(many != nullptr ? many->scratch_bytes : 0, one != nullptr ? one->scratch_bytes : 0);
  }
};

/// `count` things in `parts` shares, each a multiple of `unit` things.
struct Share {
  int64_t first, last;
};
Share share_of(int64_t count, int64_t unit, int parts, int part) {
  const int64_t units = (count + unit - 1) / unit;
  return {units * part / parts * unit, std::min(count, units * (part + 1) / parts * unit)};
}

/// Below this number of multiply-adds a second thread costs more than it saves.
constexpr int64_t kLeastMacs = int64_t{1} << 20;

/// Whether the threads divide the samples: if that gives each the same number, or the unevenness matters little.
bool divides_samples(int64_t samples, int threads) { return samples % threads == 0 || samples >= 4 * int64_t{threads}; }

constexpr int64_t kOutputUnit = 16;  // channels; a multiple of every layout's block

}  // namespace

struct Primitive::Impl {
  std::vector<Part> parts;
  bool divides_samples = true;  // else every part runs all samples
  int64_t samples = 1;          // most of a run
  int64_t chunk = 1;            // samples of a part's first kernel
  size_t src_sample = 0, dst_sample = 0;
  size_t packed_bytes = 0;
  // For pack(): blocks [out, in, taps] of the network's groups go into the blocks of oneDNN's groups.
  int64_t taps = 1;
  int64_t groups = 1, out_channels = 0, in_channels = 0;  // the network's; channels are per group
  Grouping grouping;

  [[nodiscard]] bool padded() const {
    return grouping.in != in_channels || grouping.out * grouping.groups != out_channels * groups;
  }

  /// Gives each part its place in the packed weights (one copy if the parts divide the samples) and in the scratch.
  void place_parts() {
    size_t scratch = 0;
    for (Part& part : parts) {
      if (!divides_samples) part.packed = (packed_bytes + 63) / 64 * 64;
      if (!divides_samples || &part == &parts.front()) packed_bytes = part.packed + part.first().weights_desc.get_size();
      part.scratch = scratch;
      scratch += (part.scratch_bytes() + 63) / 64 * 64;
    }
  }

  /// make(samples, weights) builds a kernel; `weights` is the format to keep to, or null. Kernels for `samples` samples and for
  /// one; only for one if oneDNN has no fast kernel for one with the same packed weights.
  template <typename Make>
  static void make_kernels(Part& part, int64_t samples, const Desc* weights, const Make& make) {
    if (samples > 1) part.many = make(samples, weights);
    part.one = make(1, samples > 1 ? &part.many->weights_desc : weights);
    if (part.one == nullptr || (samples > 1 && is_slow(part.one->name) && !is_slow(part.many->name))) {
      part.many = nullptr;
      part.one = make(1, nullptr);
    }
  }

  void run_part(int index, int64_t count, const Pointers& p, std::atomic<int>& failed) const noexcept {
    const OneThread one_thread;
    const Part& part = parts[static_cast<size_t>(index)];
    const Share here = divides_samples ? share_of(count, 1, static_cast<int>(parts.size()), index) : Share{0, count};
    for (int64_t sample = here.first; sample < here.last;) {
      const bool many = part.many != nullptr && here.last - sample >= chunk;
      const auto at = static_cast<size_t>(sample);
      const Pointers here_p{p.src + part.src + at * src_sample, p.packed + part.packed, p.bias + part.bias,
                            p.dst + part.dst + at * dst_sample, p.scratch + part.scratch};
      if (const dnnl_status_t status = (many ? part.many : part.one)->run(here_p); status != dnnl_success) failed = status;
      sample += many ? chunk : 1;
    }
  }
};

Primitive::Primitive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Primitive::~Primitive() = default;

namespace {

/// The part of a convolution that a thread computes: all of it, some rows, or some outputs (oneDNN's groups, or channels).
struct ConvPiece {
  Grouping grouping;
  Rows rows;
  int64_t first_in = 0, first_out = 0;  // channels
};

ConvDesc conv_desc(const ConvProblem& p, const ConvPiece& piece, int64_t samples, const Desc& weights, Desc& src, Desc& bias,
                   Desc& dst) {
  const Grouping& g = piece.grouping;
  src = Desc({samples, g.in * g.groups, piece.rows.source_count, p.src.width}, type_of(p.src_type), tag_of(p.src_layout));
  dst = Desc({samples, g.out * g.groups, piece.rows.count, p.dst.width}, type_of(p.dst_type), tag_of(p.dst_layout));
  bias = Desc({g.out * g.groups}, kF32, Tag::x);
  return conv_desc(p, piece.rows, src, weights, bias, dst);
}

/// The pieces of a convolution: one, unless threads cannot divide the samples.
std::vector<ConvPiece> pieces_of(const ConvProblem& p, const Grouping& g, int threads) {
  const ConvPiece whole{g, {0, p.dst.height, 0, p.src.height, p.padding.top, p.padding.bottom}, 0, 0};
  std::vector<ConvPiece> pieces;
  const bool by_rows = p.dst_layout == Layout::kNhwc;
  if (by_rows && p.src_layout != Layout::kNhwc) return {whole};
  const int64_t count = by_rows ? p.dst.height : g.groups > 1 ? g.groups : g.out;
  const int64_t unit = by_rows || g.groups > 1 ? 1 : kOutputUnit;
  for (int i = 0; i < threads; ++i) {
    const Share share = share_of(count, unit, threads, i);
    if (share.first >= share.last) continue;
    ConvPiece piece = whole;
    if (by_rows) {
      piece.rows = rows_of(p, share.first, share.last);
      if (piece.rows.source_count <= 0) return {whole};  // these windows lie in the padding alone
    } else if (g.groups > 1) {
      piece.grouping.groups = share.last - share.first;
      piece.first_in = share.first * g.in;
      piece.first_out = share.first * g.out;
    } else {
      piece.grouping.out = share.last - share.first;
      piece.first_out = share.first;
    }
    pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace

std::unique_ptr<Primitive> Primitive::make(const ConvProblem& p, int threads) {
  const std::string what = "convolution " + to_string(p.src) + " -> " + to_string(p.dst) + " " +
                           to_string(Window{p.kernel, p.stride, p.padding, p.dilation}) + " groups " +
                           std::to_string(p.groups) + " samples " + std::to_string(p.samples);
  return guarded(what, [&] {
    const OneThread one_thread;
    auto impl = std::make_unique<Impl>();
    const Grouping g = impl->grouping = grouping_of(p);
    impl->taps = p.kernel.area();
    impl->groups = p.groups;
    impl->in_channels = p.src.channels / p.groups;
    impl->out_channels = p.dst.channels / p.groups;
    impl->samples = p.samples;
    const int64_t macs = p.samples * p.dst.elements() * impl->in_channels * impl->taps;
    if (macs < kLeastMacs) threads = 1;
    impl->divides_samples = divides_samples(p.samples, threads);
    const size_t src_row = static_cast<size_t>(p.src.width * g.in * g.groups) * size_of(p.src_type);
    const size_t dst_row = static_cast<size_t>(p.dst.width * g.out * g.groups) * size_of(p.dst_type);
    impl->src_sample = static_cast<size_t>(p.src.height) * src_row;
    impl->dst_sample = static_cast<size_t>(p.dst.height) * dst_row;
    impl->chunk = impl->divides_samples ? std::max<int64_t>(1, p.samples / threads) : 1;
    const std::vector<ConvPiece> pieces = pieces_of(p, g, impl->divides_samples ? 1 : threads);
    const int parts = impl->divides_samples ? threads : static_cast<int>(pieces.size());
    for (int i = 0; i < parts; ++i) {
      const ConvPiece& piece = impl->divides_samples ? pieces[0] : pieces[static_cast<size_t>(i)];
      const Grouping& of = piece.grouping;
      const int64_t r = p.kernel.height, s = p.kernel.width;
      const Dims plain = of.groups == 1 ? Dims{of.out, of.in, r, s} : Dims{of.groups, of.out, of.in, r, s};
      Part part;
      part.plain = Desc(plain, kF32, of.groups == 1 ? Tag::oihw : Tag::goihw);
      const Desc any(plain, type_of(p.src_type), Tag::any);
      const auto make_kernel = [&](int64_t samples, const Desc* weights) -> std::unique_ptr<Kernel> {
        return if_there_is_one(weights, [&] {
          Desc src, bias, dst;
          const ConvDesc pd = conv_desc(p, piece, samples, weights != nullptr ? *weights : any, src, bias, dst);
          return Kernel::make<dnnl::convolution_forward>(pd, src, bias, dst);
        });
      };
      Impl::make_kernels(part, impl->chunk, i > 0 && impl->divides_samples ? &impl->parts[0].first().weights_desc : nullptr,
                         make_kernel);
      const auto plane = [](const ImageShape& shape) { return static_cast<size_t>(shape.height * shape.width); };
      part.src = static_cast<size_t>(piece.first_in) * plane(p.src) * size_of(p.src_type) +
                 static_cast<size_t>(piece.rows.source) * src_row;
      part.dst = static_cast<size_t>(piece.first_out) * plane(p.dst) * size_of(p.dst_type) +
                 static_cast<size_t>(piece.rows.first) * dst_row;
      part.bias = piece.first_out;
      part.weights = piece.first_out * g.in * impl->taps;
      impl->parts.push_back(std::move(part));
    }
    impl->place_parts();
    return std::unique_ptr<Primitive>(new Primitive(std::move(impl)));
  });
}

std::unique_ptr<Primitive> Primitive::make(const LinearProblem& p, int threads) {
  const std::string what = "linear " + std::to_string(p.in_features) + " -> " + std::to_string(p.out_features) + " samples " +
                           std::to_string(p.samples);
  return guarded(what, [&] {
    const OneThread one_thread;
    auto impl = std::make_unique<Impl>();
    impl->in_channels = p.in_features;
    impl->out_channels = p.out_features;
    impl->grouping = {1, p.in_features, p.out_features};
    impl->samples = impl->chunk = p.samples;
    impl->src_sample = static_cast<size_t>(p.src_pitch) * size_of(p.src_type);
    impl->dst_sample = static_cast<size_t>(p.dst_pitch) * size_of(p.dst_type);
    if (p.samples * p.in_features * p.out_features < kLeastMacs) threads = 1;
    impl->divides_samples = threads == 1;  // parts divide the outputs, so each weight is read by one thread
    for (int i = 0; i < threads; ++i) {
      const Share share = share_of(p.out_features, kOutputUnit, threads, i);
      if (share.first >= share.last) continue;
      const int64_t outputs = share.last - share.first;
      Part part;
      const Dims plain = {p.in_features, outputs};
      part.plain = Desc(plain, kF32, Tag::ba);  // [out, in] row-major, seen as [in, out]
      const Desc any(plain, type_of(p.src_type), Tag::any), bias({1, outputs}, kF32, Tag::ab);
      const auto make_kernel = [&](int64_t samples, const Desc* weights) -> std::unique_ptr<Kernel> {
        const Desc src({samples, p.in_features}, type_of(p.src_type), Dims{p.src_pitch, 1});
        const Desc dst({samples, outputs}, type_of(p.dst_type), Dims{p.dst_pitch, 1});
        return if_there_is_one(weights, [&] {
          return Kernel::make<dnnl::matmul>(matmul_desc(src, weights != nullptr ? *weights : any, bias, dst), src, bias, dst);
        });
      };
      Impl::make_kernels(part, p.samples, nullptr, make_kernel);
      part.dst = static_cast<size_t>(share.first) * size_of(p.dst_type);
      part.bias = share.first;
      part.weights = share.first * p.in_features;
      impl->parts.push_back(std::move(part));
    }
    impl->place_parts();
    return std::unique_ptr<Primitive>(new Primitive(std::move(impl)));
  });
}

size_t Primitive::packed_bytes() const noexcept { return impl_->packed_bytes; }
size_t Primitive::staged_bytes() const noexcept {
  const Grouping& g = impl_->grouping;
  return impl_->padded() ? static_cast<size_t>(g.groups * g.out * g.in * impl_->taps) * sizeof(float) : 0;
}
size_t Primitive::scratch_bytes() const noexcept {
  const Part& last = impl_->parts.back();
  return last.scratch + last.scratch_bytes();
}
const std::string& Primitive::kernel() const noexcept { return impl_->parts[0].first().name; }

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
  require_room_for_code();
  guarded("packing weights", [&] {
    const OneThread one_thread;
    dnnl::stream stream(cpu_engine());
    for (size_t part = 0; part < (i.divides_samples ? 1 : i.parts.size()); ++part) {
      const Part& p = i.parts[part];
      float* const plain = (i.padded() ? staged : const_cast<float*>(weights)) + p.weights;  // only read
      dnnl::memory from(p.plain, cpu_engine(), plain);
      dnnl::memory to(p.first().weights_desc, cpu_engine(), static_cast<std::byte*>(packed) + p.packed);
      dnnl::reorder(from, to).execute(stream, from, to);
      stream.wait();
    }
  });
}

void Primitive::run(int64_t samples, const void* src, const void* packed, const float* bias, void* dst, void* scratch) const {
  const Pointers p{static_cast<const std::byte*>(src), static_cast<const std::byte*>(packed), bias,
                   static_cast<std::byte*>(dst), static_cast<std::byte*>(scratch)};
  ELEK_CHECK(samples >= 1 && samples <= impl_->samples,
             "oneDNN: made for up to " + std::to_string(impl_->samples) + " samples, got " + std::to_string(samples));
  std::atomic<int> failed{dnnl_success};
  for_parts(static_cast<int>(impl_->parts.size()), [&](int part) { impl_->run_part(part, samples, p, failed); });
  guarded("running " + kernel(),
          [&] { dnnl::error::wrap_c_api(static_cast<dnnl_status_t>(failed.load()), "could not execute a primitive"); });
}

namespace {

/// Whether the machine has all instructions of `isa`.
bool has(dnnl::cpu_isa isa) noexcept {
  const auto bits = [](dnnl::cpu_isa set) { return static_cast<unsigned>(set); };
  return (bits(dnnl::get_effective_cpu_isa()) & bits(isa)) == bits(isa);
}

}  // namespace

bool library_is_built_in() noexcept { return true; }

bool has_tiles() noexcept { return has(dnnl::cpu_isa::avx512_core_amx); }

/// On ARM, oneDNN's number for processors without SVE is that of SSE4.1.
bool library_has_kernels() noexcept {
#if defined(__aarch64__)
  return dnnl::get_effective_cpu_isa() != dnnl::cpu_isa::sse41;
#else
  return true;
#endif
}

bool has_bf16() noexcept { return has(dnnl::cpu_isa::avx512_core_bf16); }

std::string library_name() {
  const dnnl_version_t* v = dnnl_version();
  return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace elek::backends::cpu
