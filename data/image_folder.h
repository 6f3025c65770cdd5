// SPDX-License-Identifier: Apache-2.0
// JPEG and PNG files, decoded when they are needed. Each sample is one file; only names are kept in memory.
// Tests: tests/data/image_folder_test.cpp
#pragma once

#include <memory>
#include <string>

#include "elek/data.h"

namespace elek {

/// One folder per class. Classes are DIR's folders, sorted by the bytes of their names. Samples are ordered by class, and
/// inside a class its .jpg, .jpeg and .png files (in any case) are sorted in the same way. Hidden entries, other files and
/// deeper folders are ignored. A class without images keeps its number, with a warning, so that labels mean the same as in a
/// training set. A folder with images and without folders gives images without labels. InputError, with what to do, if there is
/// no image.
[[nodiscard]] std::shared_ptr<const Dataset> open_image_folder(const std::string& directory);

}  // namespace elek
