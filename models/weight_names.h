// SPDX-License-Identifier: Apache-2.0
// One spelling for the names in weights files: torchvision's. Internal to models/.
// Tests: tests/models/weights_test.cpp
#pragma once

#include <map>
#include <string>

#include "models/weights_file.h"

namespace elek::detail {

/// torchvision's name for a tensor: DataParallel's `module.` is dropped, `linear.*` is read as `fc.*`, and `shortcut.0/.1` of
/// the common CIFAR code as `downsample.0/.1`.
[[nodiscard]] std::string canonical_name(std::string name);
/// The file's tensors by torchvision's names, without `num_batches_tracked`. InputError if two tensors have one name.
[[nodiscard]] std::map<std::string, const WeightsFile::Entry*> entries_by_name(const WeightsFile& file);

}  // namespace elek::detail
