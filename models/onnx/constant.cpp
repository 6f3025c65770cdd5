// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/constant.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "core/error.h"
#include "models/onnx/wire.h"
#include "models/stored_dtype.h"
#include "models/text.h"

namespace elek::onnx {

using detail::in_quotes;
using detail::shape_text;

namespace {

std::string_view stored_name(ElementType type) {
  switch (type) {
    case ElementType::kFloat:
      return "F32";
    case ElementType::kUint8:
      return "U8";
    case ElementType::kInt8:
      return "I8";
    case ElementType::kUint16:
      return "U16";
    case ElementType::kInt16:
      return "I16";
    case ElementType::kInt32:
      return "I32";
    case ElementType::kInt64:
      return "I64";
    case ElementType::kBool:
      return "BOOL";
    case ElementType::kFloat16:
      return "F16";
    case ElementType::kDouble:
      return "F64";
    case ElementType::kUint32:
      return "U32";
    case ElementType::kUint64:
      return "U64";
    case ElementType::kBfloat16:
      return "BF16";
    case ElementType::kUndefined:
    case ElementType::kString:
      break;
  }
  return {};
}

/// Elements of a shape from a file; InputError if there are more than memory could hold.
uint64_t checked_elements(const std::string& who, std::span<const int64_t> dims) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t elements = 1;
  bool empty = false;
  for (const int64_t dim : dims) {
    if (dim < 0) throw InputError(who + ": shape " + shape_text(dims) + " has a negative dimension; the file is damaged");
    if (dim == 0) {
      empty = true;
    } else if (elements > kMost / dim) {
      throw InputError(who + ": shape " + shape_text(dims) + " has more elements than fit in memory; the file is damaged");
    } else {
      elements *= dim;
    }
  }
  return empty ? 0 : static_cast<uint64_t>(elements);
}

/// The values of a tensor that is stored number by number, as bytes of its type. Small integers and halves lie in int32 fields.
std::vector<std::byte> typed_values(const TensorProto& tensor, const Source& source, size_t size, uint64_t elements) {
  constexpr uint64_t kFloats = 4, kInt32 = 5, kInt64 = 7, kDoubles = 10, kUint64 = 11;
  std::vector<std::byte> values;
  if (elements <= tensor.message.size()) values.reserve(elements * size);  // each takes a byte of the file at least
  for (Fields fields(tensor.message, source); fields.next();) {
    const auto append = [&](std::span<const std::byte> run) { values.insert(values.end(), run.begin(), run.end()); };
    const auto append_integer = [&](int64_t value) { append(std::as_bytes(std::span(&value, 1)).first(size)); };
    if (fields.field() == kFloats && size == sizeof(float)) fields.each_run<float>(append);
    if (fields.field() == kDoubles && size == sizeof(double)) fields.each_run<double>(append);
    if (fields.field() == kInt32 || fields.field() == kInt64 || fields.field() == kUint64) fields.each_integer(append_integer);
  }
  return values;
}

uint64_t number_in(const TensorProto& tensor, const std::string& who, const char* key) {
  const auto found = tensor.data.find(key);
  if (found == tensor.data.end()) return 0;
  const std::string& text = found->second;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw InputError(who + ": the " + key + " of its external data is " + in_quotes(text) + ", expected a number");
  }
  return value;
}

template <typename T>
std::vector<int64_t> integers_of(const Constant& constant) {
  std::vector<int64_t> made(static_cast<size_t>(constant.elements()));
  std::vector<int64_t> index(constant.shape.size(), 0);
  for (int64_t& to : made) {
    int64_t at = 0;
    for (size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * constant.strides[axis];
    T value;
    std::memcpy(&value, constant.bytes.data() + static_cast<size_t>(at) * sizeof(T), sizeof(T));
    to = int64_t{value};  // NOLINT(bugprone-signed-char-misuse): int8 holds numbers, no characters
    for (size_t axis = index.size(); axis-- > 0;) {
      if (++index[axis] < constant.shape[axis]) break;
      index[axis] = 0;
    }
  }
  return made;
}

}  // namespace

int64_t Constant::elements() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

bool Constant::is_floating() const { return detail::is_floating(dtype); }

bool Constant::is_contiguous() const {
  const std::vector<int64_t> dense = row_major(shape);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] != 1 && strides[axis] != dense[axis]) return false;
  }
  return true;
}

std::vector<int64_t> row_major(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

Constant floats(std::string name, std::vector<int64_t> shape, const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  auto own = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  const std::span<const std::byte> view(*own);
  std::vector<int64_t> strides = row_major(shape);
  return {std::move(name), "F32", std::move(shape), std::move(strides), view, std::move(own)};
}

std::optional<Constant> reshaped(Constant constant, std::vector<int64_t> shape) {
  if (!constant.is_contiguous()) return std::nullopt;
  constant.strides = row_major(shape);
  constant.shape = std::move(shape);
  return constant;
}

Constant permuted(const Constant& constant, std::span<const int64_t> axes) {
  Constant made = constant;
  for (size_t i = 0; i < axes.size(); ++i) {
    made.shape[i] = constant.shape.at(static_cast<size_t>(axes[i]));
    made.strides[i] = constant.strides.at(static_cast<size_t>(axes[i]));
  }
  return made;
}

std::string Tensors::describe(const Constant& constant) const { return file_.where() + ": tensor " + in_quotes(constant.name); }

size_t Tensors::file_bytes() const {
  size_t bytes = file_.source.bytes.size();
  for (const auto& [location, file] : external_) bytes += file.bytes().size();
  return bytes;
}

Constant Tensors::open(const TensorProto& tensor) {
  const std::string who = file_.where() + ": tensor " + in_quotes(tensor.name);
  const std::string_view dtype = stored_name(tensor.type);
  if (dtype.empty()) {
    throw InputError(who + ": its element type has ONNX's number " + std::to_string(static_cast<int32_t>(tensor.type)) +
                     ", which elek does not read; export the network in f32 or f16");
  }
  const size_t size = detail::stored_bytes(dtype).value();
  const uint64_t elements = checked_elements(who, tensor.dims);
  Constant made{tensor.name, dtype, tensor.dims, row_major(tensor.dims), {}, nullptr};
  if (tensor.external) {
    made.bytes = external_bytes(tensor, elements * size);
  } else if (tensor.raw) {
    made.bytes = *tensor.raw;
  } else {
    made.own = std::make_shared<const std::vector<std::byte>>(typed_values(tensor, file_.source, size, elements));
    made.bytes = *made.own;
  }
  if (made.bytes.size() != elements * size) {
    throw InputError(who + ": " + std::string(dtype) + " " + shape_text(tensor.dims) + " takes " +
                     std::to_string(elements * size) + " bytes, the file holds " + std::to_string(made.bytes.size()) +
                     "; it is damaged");
  }
  return made;
}

/// The file must lie beside the network or below. A name that leads elsewhere would let a network read any file of its user.
std::span<const std::byte> Tensors::external_bytes(const TensorProto& tensor, uint64_t expected) {
  const std::string who = file_.where() + ": tensor " + in_quotes(tensor.name);
  const auto found = tensor.data.find("location");
  const std::string location = found == tensor.data.end() ? "" : found->second;
  const std::filesystem::path relative(location);
  const bool climbs = std::any_of(relative.begin(), relative.end(), [](const auto& part) { return part == ".."; });
  if (location.empty() || location.find('\0') != std::string::npos || relative.is_absolute() || climbs) {
    throw InputError(who + ": its values lie in " + in_quotes(location) + ", expected a file beside the network or below");
  }
  auto opened = external_.find(location);
  if (opened == external_.end()) {
    const std::filesystem::path beside = std::filesystem::path(file_.where()).parent_path() / relative;
    opened = external_.emplace(location, MappedFile::open(beside.string())).first;
  }
  const std::span<const std::byte> all = opened->second.bytes();
  const uint64_t offset = number_in(tensor, who, "offset");
  const uint64_t length = tensor.data.contains("length") ? number_in(tensor, who, "length") : expected;
  if (offset > all.size() || length > all.size() - offset) {
    throw InputError(who + ": expected " + std::to_string(length) + " bytes from byte " + std::to_string(offset) + " of " +
                     in_quotes(location) + ", which holds " + std::to_string(all.size()) + "; it is truncated or another file");
  }
  return all.subspan(static_cast<size_t>(offset), static_cast<size_t>(length));
}

void Tensors::read(const Constant& constant, std::span<float> to) const {
  detail::to_f32({constant.dtype, constant.bytes, constant.shape, constant.strides}, describe(constant), to);
  if (constant.own == nullptr) file_.file.forget(constant.bytes);
}

std::vector<float> Tensors::read(const Constant& constant) const {
  std::vector<float> values(static_cast<size_t>(constant.elements()));
  read(constant, values);
  return values;
}

std::vector<int64_t> Tensors::read_integers(const Constant& constant) const {
  if (constant.dtype == "I64") return integers_of<int64_t>(constant);
  if (constant.dtype == "I32") return integers_of<int32_t>(constant);
  if (constant.dtype == "I16") return integers_of<int16_t>(constant);
  if (constant.dtype == "U16") return integers_of<uint16_t>(constant);
  if (constant.dtype == "U32") return integers_of<uint32_t>(constant);
  if (constant.dtype == "I8") return integers_of<int8_t>(constant);
  if (constant.dtype == "U8" || constant.dtype == "BOOL") return integers_of<uint8_t>(constant);
  throw InputError(describe(constant) + ": expected integers, found " + std::string(constant.dtype));
}

}  // namespace elek::onnx
