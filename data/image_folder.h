// SPDX-License-Identifier: Apache-2.0
// JPEG and PNG files, decoded when they are asked for. Each sample is one file; nothing but names is kept in memory.
// Tests: tests/data/image_folder_test.cpp
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"

namespace elek {

/// A folder per class: classes are DIR's folders, sorted by the bytes of their names; samples are class after class, each
/// class's .jpg, .jpeg and .png files (in any case) sorted in the same way. Hidden entries, other files and deeper folders are
/// not looked at. A class without images keeps its number, so that labels mean the same as in a training set, with a warning.
/// InputError, with what to do, if there is no class folder or no image at all.
[[nodiscard]] std::shared_ptr<const Dataset> open_image_folder(const std::string& directory);

}  // namespace elek
