// SPDX-License-Identifier: Apache-2.0
// Reads the parameters of a graph from a weights file, several tensors at once. What a parameter is made of (a tensor, a tensor
// times its mask, a mean less a bias, a constant) is given; nothing is looked up by name here. Internal to models/. Tests:
// tests/models/weights_test.cpp, tests/models/import_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "models/network_builder.h"
#include "models/weights_file.h"

namespace elek::detail {

/// Whether parameters are copied, or read where they lie in the file if that is possible. The file's bytes must then outlive
/// them.
enum class Loading : uint8_t { kCopy, kInPlace };

/// All required parameters of the graph, as f32. `values` has an entry for each, with tensors of as many elements.
/// Errors    InputError: a type that holds no weights (counters, 8-bit floats), a value that does not fit f32
[[nodiscard]] Parameters load_values(const WeightsFile& file, const Graph& graph, const std::map<std::string, Values>& values,
                                     MemoryResource& resource, Loading loading = Loading::kCopy);

}  // namespace elek::detail
