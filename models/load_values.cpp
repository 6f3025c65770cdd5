// SPDX-License-Identifier: Apache-2.0
#include "models/load_values.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/threads.h"
#include "models/text.h"

namespace elek::detail {
namespace {

/// A parameter's values and the buffer for them.
struct Filling {
  const Values* values;
  Tensor* tensor;
};

/// Bytes of somebody else as a resource: its only allocation is these bytes. Parameters are never written, so neither are they.
class Lent final : public MemoryResource {
 public:
  explicit Lent(std::span<const float> values) : values_(values) {}
  [[nodiscard]] Device device() const noexcept override { return {}; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& /*label*/, Stream /*stream*/) override {
    ELEK_CHECK(bytes == values_.size_bytes(), "lent bytes do not fit the tensor");
    return const_cast<float*>(values_.data());
  }
  void do_deallocate(void* /*block*/, size_t /*bytes*/, Stream /*stream*/) noexcept override {}
  std::span<const float> values_;
};

/// A tensor in the file's own bytes; null if its values must be converted, computed or unpacked.
std::shared_ptr<const Tensor> lent_tensor(const WeightsFile& file, const ParameterSpec& spec, const Values& values) {
  if (!values.from.given() || !values.from.mask.empty() || values.minus.given() || !values.scales.empty()) return nullptr;
  const WeightsFile::Entry* const entry = file.find(values.from.tensor);
  const std::span<const float> found = entry == nullptr ? std::span<const float>() : file.in_place(*entry);
  if (found.empty() || static_cast<int64_t>(found.size()) != spec.shape.elements()) return nullptr;
  struct Holder {
    Holder(const ParameterSpec& of, std::span<const float> bytes)
        : lent(bytes), tensor(of.shape, DType::kF32, lent, BlockLabel(of.name, Use::kModel)) {}
    Lent lent;
    Tensor tensor;
  };
  auto holder = std::make_shared<Holder>(spec, found);
  const Tensor* const tensor = &holder->tensor;
  return {std::move(holder), tensor};
}

const WeightsFile::Entry& entry_of(const WeightsFile& file, const std::string& name, size_t elements) {
  const WeightsFile::Entry* const entry = file.find(name);
  ELEK_CHECK(entry != nullptr && entry->elements() == static_cast<int64_t>(elements),
             "tensor " + name + " was chosen for a parameter of " + std::to_string(elements) + " elements");
  return *entry;
}

void read_floating(const WeightsFile& file, const std::string& name, std::span<float> to) {
  const WeightsFile::Entry& entry = entry_of(file, name, to.size());
  if (!entry.is_floating()) {
    throw InputError(file.where() + ": tensor " + in_quotes(name) + ": expected F32, F16, BF16 or F64, found " + entry.dtype);
  }
  file.read(entry, to);
}

/// The tensor, multiplied with its mask if it has one. Masks are often BOOL.
void read(const WeightsFile& file, const Source& source, std::span<float> to) {
  read_floating(file, source.tensor, to);
  if (source.mask.empty()) return;
  std::vector<float> mask(to.size());
  file.read(entry_of(file, source.mask, to.size()), mask);
  for (size_t i = 0; i < to.size(); ++i) to[i] *= mask[i];
}

/// Integers times the scale of their row.
void read_quantised(const WeightsFile& file, const Values& values, int64_t rows, std::span<float> to) {
  const std::string& name = values.from.tensor;
  const WeightsFile::Entry& entry = entry_of(file, name, to.size());
  if (entry.dtype != "I8") {
    throw InputError(file.where() + ": tensor " + in_quotes(name) + ": expected I8, because the layer is quantised, found " +
                     entry.dtype + "; the file is damaged");
  }
  file.read(entry, to);
  std::vector<float> scales(static_cast<size_t>(rows));
  read_floating(file, values.scales, scales);
  const size_t row = to.size() / scales.size();
  for (size_t i = 0; i < to.size(); ++i) to[i] *= scales[i / row];
}

void fill_one(const WeightsFile& file, const Filling& one) {
  const std::span<float> to = one.tensor->f32();
  if (!one.values->scales.empty()) return read_quantised(file, *one.values, one.tensor->shape()[0], to);
  if (!one.values->from.given()) {
    std::fill(to.begin(), to.end(), one.values->fill);
  } else {
    read(file, one.values->from, to);
  }
  if (!one.values->minus.given()) return;
  std::vector<float> less(to.size());
  read(file, one.values->minus, less);
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(static_cast<double>(to[i]) - static_cast<double>(less[i]));
}

/// Reads the values of all parameters with several threads, because touching new memory takes most of the time and one core
/// reaches only a part of the memory's speed. The 178 MB of a ResNet-101 take 0.25 s on a rented machine that must map each
/// page first.
/// Errors    InputError of the first parameter whose values do not fit
void fill(const WeightsFile& file, const std::vector<Filling>& all) {
  constexpr size_t kBytesAThread = size_t{8} << 20;
  constexpr int kMostThreads = 4;
  size_t bytes = 0;
  for (const Filling& one : all) bytes += one.tensor->bytes();
  const auto most = static_cast<size_t>(std::min(usable_cores(), kMostThreads));
  const auto threads = static_cast<int>(std::clamp<size_t>(bytes / kBytesAThread, 1, most));
  std::vector<std::exception_ptr> errors(all.size());
  std::atomic<size_t> next{0};
  for_parts(threads, [&](int /*part*/) {
    for (size_t i = next++; i < all.size(); i = next++) {
      try {
        fill_one(file, all[i]);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  });
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace

Parameters load_values(const WeightsFile& file, const Graph& graph, const std::map<std::string, Values>& values,
                       MemoryResource& resource, Loading loading) {
  ELEK_CHECK(is_host(resource.device()),
             "parameters are loaded to the host, the resource is of " + to_string(resource.device()));
  Parameters parameters;
  std::vector<Filling> fillings;
  for (const ParameterSpec& spec : required_parameters(graph)) {
    const auto found = values.find(spec.name);
    ELEK_CHECK(found != values.end(), "no values were chosen for " + spec.name);
    if (std::shared_ptr<const Tensor> lent; loading == Loading::kInPlace && (lent = lent_tensor(file, spec, found->second))) {
      parameters.emplace(spec.name, std::move(lent));
      continue;
    }
    auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, resource, BlockLabel(spec.name, Use::kModel));
    fillings.push_back({&found->second, tensor.get()});
    parameters.emplace(spec.name, std::move(tensor));
  }
  fill(file, fillings);
  return parameters;
}

}  // namespace elek::detail
