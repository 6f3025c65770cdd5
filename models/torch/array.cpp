// SPDX-License-Identifier: Apache-2.0
// Arrays whose bytes lie in the pickle itself: NumPy's, and storages that are small files of their own.
#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "models/numpy_dtype.h"
#include "models/text.h"
#include "models/torch/tensors.h"

namespace elek::detail {

using pickle::Kind;

/// The bytes of a `bytes` value, and the file that they lie in. Python 3 writes them as text in protocols 0 to 2.
std::pair<MappedFile, std::span<const std::byte>> TorchPickle::bytes_of(Ref bytes, const std::string& name) const {
  std::vector<std::byte> copy;
  if (document_.callable(bytes) == "_codecs.encode") {
    const std::optional<std::string_view> text = document_.text(argument(bytes, 0));
    std::optional<std::vector<std::byte>> plain = text ? pickle::latin1_bytes(*text) : std::nullopt;
    if (!plain) fail(name, "its bytes are damaged");
    copy = std::move(*plain);
  } else {
    if (document_[bytes].kind != Kind::kBytes) fail(name, "its bytes are " + document_.describe(bytes));
    const auto raw = std::as_bytes(std::span<const char>(document_[bytes].text));
    const std::span<const std::byte> all = file_.bytes();
    if (std::less_equal<>()(all.data(), raw.data()) && std::less_equal<>()(raw.data() + raw.size(), all.data() + all.size())) {
      return {file_, raw};
    }
    copy.assign(raw.begin(), raw.end());  // a text with escapes of protocol 0
  }
  MappedFile owner = MappedFile::owning(std::move(copy), where());
  const std::span<const std::byte> span = owner.bytes();
  return {std::move(owner), span};
}

size_t TorchPickle::record_of_bytes(Ref bytes, const std::string& name) {
  if (const auto known = bytes_records_.find(bytes); known != bytes_records_.end()) return known->second;
  auto [file, span] = bytes_of(bytes, name);
  content_.records.push_back({std::move(file), span, std::nullopt});
  return bytes_records_.emplace(bytes, content_.records.size() - 1).first->second;
}

WeightsFile::Entry TorchPickle::array(Ref ref, const std::string& name) {
  Ref shape, type, data;
  bool fortran = false;
  if (document_.callable(ref).ends_with("_frombuffer")) {  // (buffer, dtype, shape, order)
    data = argument(ref, 0);
    type = argument(ref, 1);
    shape = argument(ref, 2);
    fortran = document_.text(argument(ref, 3)) == "F";
  } else {  // its state: (version, shape, dtype, is Fortran, bytes)
    const std::span<const Ref> state = document_.elements(document_.state(ref));
    if (state.size() != 5) fail(name, "a NumPy array without a state");
    shape = state[1];
    type = state[2];
    fortran = document_.integer(state[3]).value_or(0) != 0;
    data = state[4];
  }
  WeightsFile::Entry entry;
  entry.name = name;
  entry.shape = integers(shape, name);
  const std::string_view code = document_.text(argument(type, 0)).value_or("?");
  const std::span<const Ref> type_state = document_.elements(document_.state(type));
  const std::string_view order = type_state.size() > 1 ? document_.text(type_state[1]).value_or("|") : "|";
  entry.dtype = dtype_of_numpy(std::string(order) + std::string(code));
  if (entry.dtype.empty()) fail(name, "its NumPy type " + in_quotes(std::string(order) + std::string(code)) + " is not read");
  entry.strides = fortran ? column_major_strides(entry.shape) : row_major_strides(entry.shape);
  entry.record = record_of_bytes(data, name);
  return entry;
}

}  // namespace elek::detail
