// SPDX-License-Identifier: Apache-2.0
#include "models/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <system_error>

#include "core/error.h"
#include "core/mapped_names.h"

namespace elek {

namespace {

std::string reason(int error) { return std::generic_category().message(error); }

/// Closes the file on every way out of open().
struct FileDescriptor {
  int fd = -1;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  explicit FileDescriptor(int descriptor) : fd(descriptor) {}
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

struct MappedFile::Impl {
  explicit Impl(std::string name) : where(std::move(name)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    named.reset();
    if (map != nullptr) ::munmap(map, map_bytes);
  }
  std::string where;
  std::vector<std::byte> owned;
  void* map = nullptr;
  size_t map_bytes = 0;
  std::optional<MappedName> named;  // while mapped
};

MappedFile MappedFile::in_memory(std::span<const std::byte> bytes, const std::string& where) {
  MappedFile file;
  file.impl_ = std::make_shared<const Impl>(where);
  file.bytes_ = bytes;
  return file;
}

MappedFile MappedFile::owning(std::vector<std::byte> bytes, const std::string& where) {
  auto impl = std::make_shared<Impl>(where);
  impl->owned = std::move(bytes);
  MappedFile file;
  file.bytes_ = impl->owned;
  file.impl_ = std::move(impl);
  return file;
}

MappedFile MappedFile::part(const MappedFile& file, std::span<const std::byte> bytes) {
  MappedFile result = file;
  result.bytes_ = bytes;
  return result;
}

MappedFile MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer. It changes nothing for a regular file.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) throw InputError(path + ": cannot be opened: " + reason(errno) + "; check the path and its permissions");
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) throw InputError(path + ": cannot be examined: " + reason(errno));
  if (!S_ISREG(status.st_mode)) {
    throw InputError(path + ": expected a file, found " +
                     (S_ISDIR(status.st_mode) ? "a directory" : "something that is no regular file"));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return in_memory({}, path);
  auto impl = std::make_shared<Impl>(path);  // before the map, which it then owns
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (map == MAP_FAILED) throw InputError(path + ": cannot be mapped (" + std::to_string(size) + " bytes): " + reason(errno));
  impl->map = map;
  impl->map_bytes = size;
  impl->named.emplace(map, size, impl->where.c_str());
  MappedFile result;
  result.impl_ = std::move(impl);
  result.bytes_ = {static_cast<const std::byte*>(map), size};
  return result;
}

std::span<const std::byte> MappedFile::bytes() const noexcept { return bytes_; }
const std::string& MappedFile::where() const noexcept { return impl_->where; }

void MappedFile::forget(std::span<const std::byte> part) const noexcept {
  if (impl_->map == nullptr || part.empty()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t begin = first / page * page;  // a neighbour's bytes on the page are read again
  (void)::madvise(reinterpret_cast<void*>(begin), first + part.size() - begin,  // NOLINT(performance-no-int-to-ptr)
                  MADV_DONTNEED);
}

}  // namespace elek
