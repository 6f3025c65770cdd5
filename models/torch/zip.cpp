// SPDX-License-Identifier: Apache-2.0
// Zip archives with weights. torch.save writes NAME/data.pkl and one entry for each storage, NAME/data/KEY. TorchScript adds
// code, which is not read. numpy.savez writes one .npy file for each array.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/error.h"
#include "models/numpy_dtype.h"
#include "models/stored_dtype.h"
#include "models/text.h"
#include "models/weights_readers.h"
#include "models/zip_file.h"

namespace elek::detail {

namespace {

using Entries = std::vector<ZipEntry>;

constexpr uint64_t kMostPickleBytes = uint64_t{1} << 30;
constexpr uint64_t kMostDeflatedPickleBytes = uint64_t{1} << 26;  // inflating as much takes a third of a second
constexpr size_t kMostHeaderBytes = 65536;                        // of a .npy file

const ZipEntry* find(const Entries& entries, std::string_view name) {
  const auto at = std::find_if(entries.begin(), entries.end(), [&](const ZipEntry& entry) { return entry.name == name; });
  return at == entries.end() ? nullptr : &*at;
}

std::string text_of(const ZipEntry& entry, const std::string& where) {
  const std::vector<std::byte> bytes = contents_of(entry, where);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The bytes of an entry as a file: where they lie, or inflated.
MappedFile file_of(const MappedFile& archive, const ZipEntry& entry) {
  if (entry.size > (entry.deflated ? kMostDeflatedPickleBytes : kMostPickleBytes)) {
    throw InputError(archive.where() + ": the zip archive's entry " + in_quotes(entry.name) + " has " +
                     std::to_string(entry.size) + " bytes, too many for a " +
                     (entry.deflated ? "compressed pickle" : "pickle"));
  }
  if (entry.deflated) return MappedFile::owning(contents_of(entry, archive.where()), archive.where());
  check_crc(entry, entry.bytes, archive.where());
  return MappedFile::part(archive, entry.bytes);
}

WeightsFile::Content read_torch(const MappedFile& file, const Entries& entries, const ZipEntry& pickled,
                                const std::string& key) {
  WeightsFile::Content content;
  content.where = file.where();
  const std::string folder = pickled.name.substr(0, pickled.name.size() - std::string_view("data.pkl").size());
  if (const ZipEntry* order = find(entries, folder + "byteorder"); order != nullptr && text_of(*order, file.where()) == "big") {
    throw InputError(file.where() + ": a PyTorch file with big-endian numbers, which elek does not read");
  }
  TorchPickle::Storages storages;
  for (const ZipEntry& entry : entries) {
    std::string key_of_storage;
    for (const char* data : {"data/", "tensors/"}) {  // PyTorch 1.4 and 1.5 wrote tensors/
      if (entry.name.starts_with(folder + data)) key_of_storage = entry.name.substr((folder + data).size());
    }
    if (key_of_storage.empty()) continue;
    content.records.push_back({file, entry.bytes, entry});
    if (!storages.records.emplace(key_of_storage, content.records.size() - 1).second) {
      throw InputError(file.where() + ": the zip archive's entry " + in_quotes(entry.name) + " appears twice");
    }
  }
  const MappedFile pickle_file = file_of(file, pickled);
  const pickle::Document document = pickle::Document::read(pickle_file.bytes(), 0, file.where());
  refuse_hostile(document, file.where());
  TorchPickle pickle(document, pickle_file, std::move(storages), content);
  try {
    take_weights(pickle, key, content);
  } catch (const InputError& error) {
    if (!content.entries.empty() || find(entries, folder + "constants.pkl") == nullptr) throw;
    throw InputError(std::string(error.what()) +
                     " (a TorchScript archive; torch.jit.freeze turns weights into constants without names: save it before)");
  }
  return content;
}

/// The text after `field` in the header of a .npy file, which is a Python dict.
std::string_view after(std::string_view header, std::string_view field) {
  const size_t at = header.find(field);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = header.substr(at + field.size());
  return rest.substr(std::min(rest.find_first_not_of(" :"), rest.size()));
}

/// The array in one .npy entry. Its header: magic, version, length, then {'descr': '<f4', 'fortran_order': False, 'shape':
/// (3,)}.
WeightsFile::Entry read_npy(const ZipEntry& entry, const std::string& where) {
  const std::string name = entry.name.substr(0, entry.name.size() - std::string_view(".npy").size());
  const auto fail = [&](const std::string& what) -> void {
    throw InputError(where + ": array " + in_quotes(name) + ": " + what);
  };
  std::string start;
  if (entry.deflated) {
    inflate_pieces(entry, where, [&](std::span<const std::byte> piece) {
      const size_t wanted = std::min(piece.size(), kMostHeaderBytes - std::min(kMostHeaderBytes, start.size()));
      start.append(reinterpret_cast<const char*>(piece.data()), wanted);
    });
  } else {
    start.assign(reinterpret_cast<const char*>(entry.bytes.data()), std::min(entry.bytes.size(), kMostHeaderBytes));
  }
  if (!start.starts_with("\x93NUMPY") || start.size() < 12) fail("no NumPy array");
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(start[at])); };
  const size_t at = byte(6) == 1 ? 10 : 12;
  const size_t length = byte(8) | (byte(9) << 8) | (byte(6) == 1 ? 0 : (byte(10) << 16) | (byte(11) << 24));
  if (length > start.size() - at) fail("its header of " + std::to_string(length) + " bytes is cut off or too long");
  const std::string_view header = std::string_view(start).substr(at, length);
  WeightsFile::Entry result;
  result.name = name;
  result.offset = at + length;
  std::string_view code = after(header, "'descr'");
  code = code.substr(0, code.size() < 2 ? 0 : std::min(code.find('\'', 1), code.size()));
  if (code.starts_with('\'')) code.remove_prefix(1);
  result.dtype = dtype_of_numpy(code);
  if (result.dtype.empty()) fail("its NumPy type " + in_quotes(code) + " is not read");
  std::string_view dims = after(header, "'shape'");
  if (!dims.starts_with('(')) fail("it has no shape");
  dims = dims.substr(1, std::min(dims.find(')'), dims.size()) - 1);
  for (const char* next = dims.data(); next != dims.data() + dims.size();) {
    int64_t dim = 0;
    const auto [end, error] = std::from_chars(next, dims.data() + dims.size(), dim);
    if (error == std::errc() && dim >= 0 && result.shape.size() < 64) result.shape.push_back(dim);
    if (error == std::errc::result_out_of_range) fail("a dimension is out of range");
    next = error == std::errc() ? end : next + 1;
  }
  result.strides = after(header, "'fortran_order'").starts_with("True") ? column_major_strides(result.shape)
                                                                        : row_major_strides(result.shape);
  return result;
}

WeightsFile::Content read_npz(const MappedFile& file, const Entries& entries) {
  WeightsFile::Content content;
  content.where = file.where();
  for (const ZipEntry& entry : entries) {
    content.records.push_back({file, entry.bytes, entry});
    content.entries.push_back(read_npy(entry, file.where()));
    content.entries.back().record = content.records.size() - 1;
  }
  return content;
}

[[noreturn]] void refuse(const MappedFile& file, const Entries& entries) {
  const auto has = [&](std::string_view part) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const ZipEntry& entry) { return entry.name.find(part) != std::string::npos; });
  };
  const std::string start = file.where() + ": ";
  if (has("model.weights.h5")) {
    throw InputError(start + "a Keras model (.keras); export the network to ONNX instead (tf2onnx does it)");
  }
  if (has("serialized_exported_program") || has("models/model.json") || has("data/weights")) {
    throw InputError(start + "a PyTorch program (torch.export); in Python: torch.save(program.state_dict, FILE)");
  }
  if (has("model.json")) {
    throw InputError(start + "a TorchScript archive of before PyTorch 1.4; load and save it again with a newer one");
  }
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(entries.size(), 5); ++i) names += (i == 0 ? "" : ", ") + in_quotes(entries[i].name);
  throw InputError(start + "a zip archive without weights; it contains " +
                   (names.empty() ? "nothing" : names + (entries.size() > 5 ? " …" : "")));
}

}  // namespace

WeightsFile::Content read_zip_weights(const MappedFile& file, const std::string& key) {
  const Entries entries = read_zip(file.bytes(), file.where());
  for (const ZipEntry& entry : entries) {
    const std::string_view name = entry.name;
    const size_t slash = name.find('/');
    if (name == "data.pkl" || (slash != std::string_view::npos && name.substr(slash + 1) == "data.pkl")) {
      return read_torch(file, entries, entry, key);
    }
  }
  const auto is_npy = [](const ZipEntry& entry) { return entry.name.ends_with(".npy"); };
  if (!entries.empty() && std::all_of(entries.begin(), entries.end(), is_npy)) {
    WeightsFile::Content content = read_npz(file, entries);
    take_prefix(content, key);
    return content;
  }
  refuse(file, entries);
}

}  // namespace elek::detail
