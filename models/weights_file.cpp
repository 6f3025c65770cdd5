// SPDX-License-Identifier: Apache-2.0
#include "models/weights_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>

#include "core/error.h"
#include "models/sniff.h"
#include "models/stored_dtype.h"
#include "models/text.h"
#include "models/weights_readers.h"

namespace elek {

namespace {

using detail::in_quotes;

bool has_no_element(std::span<const int64_t> shape) { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

/// Bytes from a tensor's first element to the end of its last, in memory order. Nothing if they do not fit 63 bits or a
/// dimension or stride is negative.
std::optional<uint64_t> extent_bytes(const WeightsFile::Entry& entry) {
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  for (const int64_t dim : entry.shape)
    if (dim < 0) return std::nullopt;
  if (has_no_element(entry.shape)) return 0;
  uint64_t last = 0;      // the index in memory of the last element
  uint64_t elements = 1;  // must fit too: strides of 0 repeat elements
  for (size_t axis = 0; axis < entry.shape.size(); ++axis) {
    const auto dim = static_cast<uint64_t>(entry.shape[axis]);
    if (entry.strides[axis] < 0 || elements > kMax / dim) return std::nullopt;
    const auto stride = static_cast<uint64_t>(entry.strides[axis]);
    if (stride != 0 && dim - 1 > (kMax - last) / stride) return std::nullopt;
    last += (dim - 1) * stride;
    elements *= dim;
  }
  const uint64_t size = detail::stored_bytes(entry.dtype).value();
  if (last >= kMax / size) return std::nullopt;
  return (last + 1) * size;
}

[[noreturn]] void refuse(const std::string& where, const WeightsFile::Entry& entry, const std::string& why) {
  throw InputError(where + ": tensor " + in_quotes(entry.name) + ": " + why);
}

void check(const WeightsFile::Content& content, const WeightsFile::Entry& entry) {
  if (entry.name.find('\0') != std::string::npos) refuse(content.where, entry, "its name contains a NUL byte");
  ELEK_CHECK(entry.strides.size() == entry.shape.size() && entry.record < content.records.size(), "tensor " + entry.name);
  ELEK_CHECK(detail::stored_bytes(entry.dtype).has_value(), "tensor " + entry.name + " of type " + entry.dtype);
  const std::optional<uint64_t> extent = extent_bytes(entry);
  if (!extent) {
    refuse(content.where, entry, "shape " + detail::shape_text(entry.shape) + " has more elements than fit in memory");
  }
  const uint64_t held = content.records[entry.record].size();
  if (entry.offset > held || *extent > held - entry.offset) {
    refuse(content.where, entry,
           entry.dtype + " " + detail::shape_text(entry.shape) + " needs " + std::to_string(*extent) + " bytes from byte " +
               std::to_string(entry.offset) + " of its storage, which holds " + std::to_string(held));
  }
}

/// A file can claim more than it holds: strides of 0, many tensors over one storage, compression. Real ones claim little more.
void check_claims(const WeightsFile::Content& content) {
  constexpr uint64_t kFreeBytes = uint64_t{64} << 20, kFreeWork = uint64_t{2} << 30;
  constexpr size_t kMostTensors = 100'000;
  if (content.entries.size() > kMostTensors) {
    throw InputError(content.where + ": " + std::to_string(content.entries.size()) + " tensors, more than " +
                     std::to_string(kMostTensors) + "; this is no file of weights");
  }
  uint64_t held = 0;
  for (const WeightsFile::Record& record : content.records) held += record.size();
  uint64_t claimed = 0, work = 0;  // work: a deflated record is unpacked once for each of its tensors
  for (const WeightsFile::Entry& entry : content.entries) {
    const uint64_t bytes = static_cast<uint64_t>(entry.elements()) * detail::stored_bytes(entry.dtype).value();
    const WeightsFile::Record& record = content.records[entry.record];
    if (record.zip && record.zip->deflated) work += record.size();
    if (bytes > 4 * held + kFreeBytes - claimed || work > 2 * held + kFreeWork) {
      refuse(content.where, entry,
             "with it, the tensors claim far more than the " + std::to_string(held) + " bytes of data in the file");
    }
    claimed += bytes;
  }
}

/// The contents of a deflated entry from `offset` on, as many as `to` has place for.
void copy_part(const detail::ZipEntry& entry, const std::string& where, uint64_t offset, std::span<std::byte> to) {
  uint64_t at = 0;  // in the contents
  detail::inflate_pieces(entry, where, [&](std::span<const std::byte> piece) {
    const uint64_t first = std::max(at, offset), last = std::min(at + piece.size(), offset + to.size());
    if (first < last) std::memcpy(to.data() + (first - offset), piece.data() + (first - at), last - first);
    at += piece.size();
  });
}

}  // namespace

std::vector<int64_t> row_major_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  if (has_no_element(shape)) return strides;  // the other dimensions may be huge
  for (size_t axis = shape.size(); axis-- > 1;) {
    // A file may claim any shape. A stride that overflows becomes the largest, which fits in no record: so the tensor is
    // refused.
    int64_t& stride = strides[axis - 1];
    if (__builtin_mul_overflow(strides[axis], shape[axis], &stride)) stride = std::numeric_limits<int64_t>::max();
  }
  return strides;
}

std::vector<int64_t> column_major_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> reversed(shape.rbegin(), shape.rend());
  std::vector<int64_t> strides = row_major_strides(reversed);
  std::reverse(strides.begin(), strides.end());
  return strides;
}

WeightsFile::Content detail::content_of_safetensors(const SafetensorsFile& file) {
  WeightsFile::Content content;
  content.where = file.where();
  content.metadata = file.metadata();
  content.records.push_back({file.mapped(), file.mapped().bytes(), std::nullopt});
  const std::byte* const start = file.mapped().bytes().data();
  content.entries.reserve(file.entries().size());
  for (const auto& [name, entry] : file.entries()) {
    const auto offset = static_cast<uint64_t>(entry.bytes.data() - start);
    content.entries.push_back({name, entry.dtype, entry.shape, row_major_strides(entry.shape), 0, offset});
  }
  return content;
}

struct WeightsFile::Impl {
  Content content;
  mutable std::unique_ptr<std::once_flag[]> checked;  // of each record: whether its checksum was compared
  std::map<std::string_view, const Entry*> by_name;
};

bool WeightsFile::Entry::is_floating() const { return detail::is_floating(dtype); }

int64_t WeightsFile::Entry::elements() const {
  if (has_no_element(shape)) return 0;  // the other dimensions may be huge
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

WeightsFile::WeightsFile(Content content) {
  auto impl = std::make_shared<Impl>();
  impl->content = std::move(content);
  for (const Entry& entry : impl->content.entries) {
    check(impl->content, entry);
    if (!impl->by_name.emplace(entry.name, &entry).second) refuse(impl->content.where, entry, "the name appears twice");
  }
  check_claims(impl->content);
  impl->checked = std::make_unique<std::once_flag[]>(impl->content.records.size());
  impl_ = std::move(impl);
}

WeightsFile::WeightsFile(const SafetensorsFile& file) : WeightsFile(detail::content_of_safetensors(file)) {}

WeightsFile WeightsFile::open(const std::string& path, const std::string& key) { return parse(MappedFile::open(path), key); }

WeightsFile WeightsFile::parse(const MappedFile& file, const std::string& key) {
  switch (const FileKind kind = kind_of(file.bytes())) {
    case FileKind::kZip:
      return WeightsFile(detail::read_zip_weights(file, key));
    case FileKind::kPickle:
      return WeightsFile(detail::read_pickle_weights(file, key));
    case FileKind::kTar:
      return WeightsFile(detail::read_tar_weights(file, key));
    case FileKind::kJson:
      return WeightsFile(detail::read_shards(file, key));
    case FileKind::kSafetensors: {
      Content content = detail::content_of_safetensors(SafetensorsFile::parse(file));
      detail::take_prefix(content, key);
      return WeightsFile(std::move(content));
    }
    default:
      throw InputError(file.where() + ": " + description_of(kind));
  }
}

const std::vector<WeightsFile::Entry>& WeightsFile::entries() const noexcept { return impl_->content.entries; }
const std::map<std::string, std::string>& WeightsFile::metadata() const noexcept { return impl_->content.metadata; }
const std::vector<std::string>& WeightsFile::notes() const noexcept { return impl_->content.notes; }
const std::string& WeightsFile::where() const noexcept { return impl_->content.where; }

const WeightsFile::Entry* WeightsFile::find(std::string_view name) const noexcept {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : found->second;
}

std::span<const float> WeightsFile::in_place(const Entry& entry) const noexcept {
  const Record& record = impl_->content.records[entry.record];
  if (entry.dtype != "F32" || record.zip || !detail::is_row_major(entry.shape, entry.strides)) return {};
  const std::byte* const begin = record.bytes.data() + entry.offset;
  if (reinterpret_cast<uintptr_t>(begin) % alignof(float) != 0) return {};
  return {reinterpret_cast<const float*>(begin), static_cast<size_t>(entry.elements())};
}

void WeightsFile::read(const Entry& entry, std::span<float> to) const {
  ELEK_CHECK(static_cast<int64_t>(to.size()) == entry.elements(), "tensor " + entry.name + " has " +
                                                                      std::to_string(entry.elements()) +
                                                                      " elements, the buffer " + std::to_string(to.size()));
  if (to.empty()) return;
  const Record& record = impl_->content.records[entry.record];
  const std::string what = where() + ": tensor " + in_quotes(entry.name);
  const uint64_t extent = extent_bytes(entry).value();
  if (record.zip && record.zip->deflated) {
    // A tensor of dense f32 is unpacked where it goes; any other needs a copy of its own bytes.
    const bool in_place = entry.dtype == "F32" && detail::is_row_major(entry.shape, entry.strides);
    std::vector<std::byte> copy(in_place ? 0 : extent);
    const std::span<std::byte> target = in_place ? std::as_writable_bytes(to) : std::span<std::byte>(copy);
    copy_part(*record.zip, where(), entry.offset, target);
    if (!in_place) detail::to_f32({entry.dtype, copy, entry.shape, entry.strides}, what, to);
    record.file.forget(record.bytes);
    return;
  }
  if (record.zip) std::call_once(impl_->checked[entry.record], [&] { detail::check_crc(*record.zip, record.bytes, where()); });
  const std::span<const std::byte> bytes = record.bytes.subspan(entry.offset, extent);
  detail::to_f32({entry.dtype, bytes, entry.shape, entry.strides}, what, to);
  record.file.forget(bytes);
}

}  // namespace elek
