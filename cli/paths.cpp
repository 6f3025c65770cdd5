// SPDX-License-Identifier: Apache-2.0
#include "cli/paths.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "cli/context.h"
#include "core/error.h"
#include "models/mapped_file.h"

namespace elek::cli {
namespace {

namespace fs = std::filesystem;

/// The folder in a DATA word; empty if it names none.
std::string folder_of(std::string_view word) {
  const size_t colon = word.find(':');
  const std::string_view kind = word.substr(0, colon);
  if (colon == std::string_view::npos || (kind != "idx" && kind != "images" && kind != "cifar10")) return "";
  std::string_view folder = word.substr(colon + 1);
  if (folder.ends_with(']') && folder.rfind('[') != std::string_view::npos) folder = folder.substr(0, folder.rfind('['));
  if (kind != "images") {
    for (const std::string_view split : {std::string_view(":train"), std::string_view(":test")}) {
      if (folder.ends_with(split)) folder.remove_suffix(split.size());
    }
  }
  return std::string(folder);
}

/// Whether a data set in a folder may read a file of this name.
bool is_data_name(const fs::path& path) {
  std::string name = path.filename().string();
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  constexpr std::array<std::string_view, 5> kEndings{".jpg", ".jpeg", ".png", ".bin", ".txt"};
  return name.find("ubyte") != std::string::npos || std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view ending) {
           return std::string_view(name).ends_with(ending);
         });
}

/// The real path; of a file that does not exist, the real path of its folder and its name.
fs::path real_path(const fs::path& path) {
  std::error_code error;
  fs::path whole = fs::canonical(path, error);
  if (!error) return whole;
  const fs::path folder = fs::canonical(path.has_parent_path() ? path.parent_path() : fs::path("."), error);
  return error ? path : folder / path.filename();
}

bool lies_in(const fs::path& folder, const fs::path& file) {
  return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
}

/// Whether the file's bytes contain the name. A file that cannot be read is reported when it is used.
bool mentions(const std::string& path, const std::string& name) {
  try {
    const MappedFile file = MappedFile::open(path);
    const std::span<const std::byte> bytes = file.bytes();
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).find(name) != std::string_view::npos;
  } catch (const InputError&) {
    return false;
  }
}

[[noreturn]] void refuse(const std::string& option, const std::string& path, const std::string& other) {
  throw UsageError(option + " " + path + " is also " + other + ", which would be lost; choose another name");
}

}  // namespace

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) || real_path(a) == real_path(b);
}

Paths& Paths::reads(const std::string& option, const std::string& path) {
  if (!path.empty()) inputs_.push_back({option, path});
  return *this;
}

Paths& Paths::reads_with_parts(const std::string& option, const std::string& path) {
  if (path.ends_with(".index.json") || path.ends_with(".onnx")) with_parts_.push_back({option, path});
  return reads(option, path);
}

Paths& Paths::reads_data(const std::string& option, const std::string& word) {
  if (const std::string folder = folder_of(word); !folder.empty()) folders_.push_back({option, folder});
  return *this;
}

Paths& Paths::writes(const std::string& option, const std::string& path) {
  if (!path.empty()) outputs_.push_back({option, path});
  return *this;
}

void Paths::check_against_inputs(const File& output) const {
  for (const File& input : inputs_) {
    if (same_file(output.path, input.path)) refuse(output.option, output.path, "the file of " + input.option);
  }
  std::error_code error;  // a name that the system does not take cannot be written: check_output_path() or the writer says so
  if (!fs::exists(output.path, error)) return;
  const fs::path real = real_path(output.path);
  for (const File& input : with_parts_) {
    const fs::path beside = real_path(input.path).parent_path();
    if (lies_in(beside, real) && mentions(input.path, real.filename().string())) {
      refuse(output.option, output.path, "a part of " + input.option + " " + input.path);
    }
  }
  for (const File& folder : folders_) {
    if (is_data_name(real) && lies_in(real_path(folder.path), real)) {
      refuse(output.option, output.path, "a file of " + folder.option + " " + folder.path);
    }
  }
}

void Paths::check() const {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    check_against_inputs(outputs_[i]);
    for (size_t j = 0; j < i; ++j) {
      if (same_file(outputs_[i].path, outputs_[j].path)) {
        refuse(outputs_[i].option, outputs_[i].path, "the file of " + outputs_[j].option);
      }
    }
    check_output_path(outputs_[i].path);
  }
}

}  // namespace elek::cli
