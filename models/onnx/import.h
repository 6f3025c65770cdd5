// SPDX-License-Identifier: Apache-2.0
// ONNX in: reads an .onnx file as a model. Everything that elek has an operator for is read, from operator set 3 to the newest;
// all that it does not have is named in one error. docs/other-tools.md lists both.
// Tests: tests/models/onnx_import_test.cpp
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "elek/graph.h"
#include "models/mapped_file.h"

namespace elek {

namespace onnx {
/// The end of the name of weights that only choose channels: elek writes a channel map as such a convolution.
inline constexpr std::string_view kSelection = "/selection";
}  // namespace onnx

struct ImportOptions {
  /// Needed only if the file leaves the size open. InputError if it contradicts the file.
  std::optional<ImageShape> input;
  /// The caller knows mean and std. Then a normalisation inside the network stays there.
  bool preprocessing_is_given = false;
};

struct Imported {
  Model model;  // complete and validated, but for its history
  /// What was assumed, dropped or changed, in sentences for the user.
  std::vector<std::string> notes;
};

/// InputError naming the file if it is damaged, or if it contains what elek does not have: then all such nodes by operator and
/// name. The parameters are taken from the resource.
[[nodiscard]] Imported import_onnx(const std::string& path, const ImportOptions& options, MemoryResource& resource);
/// The same for bytes in memory, or a file that is open.
[[nodiscard]] Imported import_onnx(const MappedFile& file, const ImportOptions& options, MemoryResource& resource);

}  // namespace elek
