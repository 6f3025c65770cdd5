// SPDX-License-Identifier: Apache-2.0
// JPEG and PNG files, decoded when they are needed.
// Tests: tests/data/image_folder_test.cpp
#include "data/image_folder.h"

#include <dirent.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "data/file.h"
#include "data/image.h"

namespace elek {
namespace {

namespace fs = std::filesystem;

struct ImageFile {
  std::string path;
  int32_t label = -1;
};

class ImageFiles final : public Dataset {
 public:
  ImageFiles(std::vector<ImageFile> files, std::vector<std::string> class_names)
      : files_(std::move(files)), class_names_(std::move(class_names)) {}
  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  int64_t classes() const override { return static_cast<int64_t>(class_names_.size()); }
  const std::vector<std::string>& labels() const override { return class_names_; }
  int32_t label(int64_t index) const override { return file(index).label; }
  std::string name(int64_t index) const override { return file(index).path; }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    const std::string& path = file(index).path;
    decode_image(read_whole_file(path), shape, pixels, path);
  }
  uint64_t content_hash(int64_t index) const override {
    const std::vector<uint8_t> bytes =
        read_whole_file(file(index).path);  // hash of the file: decoding would cost a hundred times more
    return hash_bytes(bytes.data(), bytes.size());
  }

 private:
  const ImageFile& file(int64_t index) const {
    ELEK_CHECK(index >= 0 && index < size(), "sample " + std::to_string(index) + " of " + std::to_string(size()));
    return files_[static_cast<size_t>(index)];
  }

  const std::vector<ImageFile> files_;
  const std::vector<std::string> class_names_;
};

/// In lower case, with its dot.
std::string extension_of(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension;
}

bool is_image_name(const std::string& extension) { return extension == ".jpg" || extension == ".jpeg" || extension == ".png"; }

/// Images of formats that are not read. They are counted, because their class would lose them without a word.
bool is_other_image_name(const std::string& extension) {
  constexpr std::array<std::string_view, 16> kOthers{".webp", ".bmp", ".gif", ".tif",  ".tiff", ".ppm",  ".pgm", ".pnm",
                                                     ".pbm",  ".jp2", ".jxl", ".avif", ".heic", ".heif", ".jpe", ".jfif"};
  return std::find(kOthers.begin(), kOthers.end(), extension) != kOthers.end();
}

struct Entries {
  std::vector<std::string> folders;
  std::vector<std::string> images;
  std::vector<std::string> others;  // extensions of images that are not read, one per file
  std::vector<std::string> lost;    // links to nothing that are no images by their names
};

// The visible folders and image files of a folder, each sorted by bytes (std::string compares unsigned).
struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { (void)closedir(directory); }
};

/// By the system's own calls: a directory_iterator's steps allocate, and end the program if there is no memory.
Entries list(const fs::path& folder) {
  Entries entries;
  const auto refuse = [&folder](int error) {
    throw InputError(folder.string() + ": cannot be listed: " + std::generic_category().message(error));
  };
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(folder.c_str()));
  if (directory == nullptr) refuse(errno);
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = static_cast<const char*>(entry->d_name);
    if (name.front() == '.') continue;
    const fs::path path = folder / name;
    std::error_code ignored;  // a broken link is not a folder; it is an image only by its name
    if (fs::is_directory(path, ignored)) {
      entries.folders.push_back(name);
    } else if (const std::string extension = extension_of(path); is_image_name(extension)) {
      entries.images.push_back(name);  // a broken file gives an error when it is read: nothing is skipped
    } else if (is_other_image_name(extension)) {
      entries.others.push_back(extension);
    } else if (fs::is_symlink(path, ignored) && !fs::exists(path, ignored)) {
      entries.lost.push_back(name);
    }
  }
  if (errno != 0) refuse(errno);
  std::sort(entries.folders.begin(), entries.folders.end());
  std::sort(entries.images.begin(), entries.images.end());
  return entries;
}

/// Warns of what lies in the class folders and is not read.
void warn_of_left_out(const std::string& directory, const std::vector<std::string>& others,
                      const std::vector<std::string>& inner_folders) {
  if (!others.empty()) {
    const std::set<std::string> kinds(others.begin(), others.end());
    std::string list;
    for (const std::string& kind : kinds) list += (list.empty() ? "" : ", ") + kind;
    warn(directory + ": " + std::to_string(others.size()) + " image files are not read (" + list +
         "); convert them to .jpg or .png");
  }
  if (!inner_folders.empty()) {
    warn(directory + ": " + std::to_string(inner_folders.size()) +
         " folders inside the class folders are not read, for example " + inner_folders.front() +
         "; put their images directly into the class folder");
  }
}

/// Folders named by numbers, but in the order of bytes: 10 comes before 2. Then the label of a folder is not its number.
void warn_of_numbers_out_of_order(const std::string& directory, const std::vector<std::string>& names) {
  const auto is_number = [](const std::string& name) {
    return name.size() < 10 && name.find_first_not_of("0123456789") == std::string::npos;
  };
  if (!std::all_of(names.begin(), names.end(), is_number)) return;
  const auto less = [](const std::string& a, const std::string& b) { return std::stol(a) < std::stol(b); };
  const auto wrong = std::is_sorted_until(names.begin(), names.end(), less);
  if (wrong == names.end()) return;
  const auto label = wrong - names.begin();
  warn(directory + ": the class folders are numbers, and their order is that of the characters (as in torchvision): class " +
       std::to_string(label) + " is the folder " + *wrong + "; name them with equally many digits (00, 01, ...)");
}

}  // namespace

std::shared_ptr<const Dataset> open_image_folder(const std::string& directory) {
  const fs::path root(directory);
  std::error_code code;
  if (!fs::is_directory(root, code)) {
    throw InputError(directory + ": no such folder; images: reads a folder that contains one folder per class");
  }
  const Entries top = list(root);
  if (!top.lost.empty()) {
    throw InputError((root / top.lost.front()).string() +
                     ": a link to nothing; if it was a class, all classes after it would get other numbers: mend or remove it");
  }
  std::vector<ImageFile> files;
  if (top.folders.empty()) {
    if (top.images.empty()) {
      throw Hinted<InputError>(Hint::kSingleImages,
                               directory + ": no class folders (it is empty); put the .jpg, .jpeg and .png files of each " +
                                   "class into their own folder");
    }
    warn_of_left_out(directory, top.others, {});
    for (const std::string& image : top.images) files.push_back({(root / image).string(), -1});
    return std::make_shared<ImageFiles>(std::move(files), std::vector<std::string>());
  }
  std::vector<std::string> empty, others, inner_folders;
  for (size_t label = 0; label < top.folders.size(); ++label) {
    const fs::path folder = root / top.folders[label];
    const Entries entries = list(folder);
    if (entries.images.empty()) empty.push_back(top.folders[label]);
    others.insert(others.end(), entries.others.begin(), entries.others.end());
    for (const std::string& inner : entries.folders) inner_folders.push_back((folder / inner).string());
    for (const std::string& image : entries.images) files.push_back({(folder / image).string(), static_cast<int32_t>(label)});
  }
  if (files.empty()) {
    throw InputError(directory + ": " + std::to_string(top.folders.size()) +
                     " folders, but no .jpg, .jpeg or .png file directly in any of them; put the images of each class there");
  }
  for (const std::string& name : empty) warn((root / name).string() + ": a class without a .jpg, .jpeg or .png file");
  if (!top.images.empty()) {
    warn(directory + ": " + std::to_string(top.images.size()) +
         " images beside the class folders are not read: they have no class");
  }
  warn_of_left_out(directory, others, inner_folders);
  warn_of_numbers_out_of_order(directory, top.folders);
  return std::make_shared<ImageFiles>(std::move(files), top.folders);
}

std::shared_ptr<const Dataset> image_files(const std::vector<std::string>& paths) {
  if (paths.empty()) throw UsageError("no image files given");
  std::vector<ImageFile> files;
  for (const std::string& path : paths) {
    std::error_code code;
    if (!fs::exists(path, code)) throw InputError(path + ": no such file");
    if (!fs::is_regular_file(path, code)) throw InputError(path + ": not a file; for a folder of classes use images:DIR");
    files.push_back({path, -1});
  }
  return std::make_shared<ImageFiles>(std::move(files), std::vector<std::string>());
}

bool has_jpegs(const Dataset& dataset) {
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const std::string extension = extension_of(dataset.name(i));
    if (extension == ".jpg" || extension == ".jpeg") return true;
  }
  return false;
}

}  // namespace elek
