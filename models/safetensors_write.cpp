// SPDX-License-Identifier: Apache-2.0
// Writes the safetensors container as a whole or not at all: a temporary file beside the target is filled, synced, and renamed
// over it. The largest element type comes first and the header is padded, so that every array is aligned to its element.
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "core/error.h"
#include "core/runtime.h"
#include "models/safetensors.h"
#include "models/text.h"

namespace elek {

namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;  // between two checks of the interrupt flag
constexpr size_t kMaxHeaderBytes = 100'000'000;

/// What went wrong, and what to do about it.
[[noreturn]] void fail(const std::string& path, const std::string& action, int error) {
  std::string advice;
  switch (error) {
    case ENOSPC:
      advice = "free some space or write elsewhere";
      break;
    case EDQUOT:
      advice = "your disk quota is used up: free some space or write elsewhere";
      break;
    case EFBIG:
      advice = "the file would pass the size limit of this process or file system: raise it (ulimit -f) or write elsewhere";
      break;
    case ENOENT:
    case ENOTDIR:
      advice = "create the directory first";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      advice = "make the directory and the file writable or write elsewhere";
      break;
    default:
      advice = "check the path and the disk";
  }
  throw InputError(path + ": cannot be written (" + action + "): " + std::generic_category().message(error) + "; " + advice);
}

/// While this object lives, a write beyond RLIMIT_FSIZE fails with EFBIG instead of killing the process with SIGXFSZ. The
/// signal is blocked for this thread only, and cleared before it is allowed again. Other threads and handlers do not see it.
class FileSizeSignalBlocked {
 public:
  FileSizeSignalBlocked() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGXFSZ);
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    const bool was_pending = sigismember(&pending, SIGXFSZ) == 1;
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
    swallow_ = !was_pending && sigismember(&before_, SIGXFSZ) != 1;
  }
  FileSizeSignalBlocked(const FileSizeSignalBlocked&) = delete;
  FileSizeSignalBlocked& operator=(const FileSizeSignalBlocked&) = delete;
  ~FileSizeSignalBlocked() {
    const timespec now{};
    if (swallow_) sigtimedwait(&set_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t set_, before_;
  bool swallow_ = false;
};

/// The temporary file beside the target. The destructor removes it unless it was committed.
class Temporary {
 public:
  explicit Temporary(std::string target) : target_(std::move(target)) {
    const std::string base = target_ + ".tmp-" + std::to_string(::getpid());
    for (int attempt = 0; fd_ < 0; ++attempt) {  // another thread, or a dead process of this number, may hold the first name
      name_ = attempt == 0 ? base : base + "-" + std::to_string(attempt);
      fd_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0 && (errno != EEXIST || attempt == 100)) fail(target_, "creating " + name_, errno);
    }
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (fd_ >= 0) ::close(fd_);
    if (!committed_) ::unlink(name_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      throw_if_interrupted();
      const ssize_t written = ::write(fd_, bytes.data(), std::min(bytes.size(), kChunkBytes));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail(target_, "writing", written < 0 ? errno : ENOSPC);
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
  }

  void commit() {
    throw_if_interrupted();
    struct stat status {};
    if (::stat(target_.c_str(), &status) == 0)
      (void)::fchmod(fd_, status.st_mode & 07777);  // the new file keeps the mode of the old one
    if (::fsync(fd_) != 0) fail(target_, "syncing", errno);
    const int descriptor = std::exchange(fd_, -1);
    if (::close(descriptor) != 0) fail(target_, "closing", errno);  // NFS tells of a full disk only here
    throw_if_interrupted();
    if (::rename(name_.c_str(), target_.c_str()) != 0) fail(target_, "renaming", errno);
    committed_ = true;
    sync_directory();
  }

 private:
  /// Makes the rename itself survive a power cut. Some file systems cannot do this; the file is complete either way.
  void sync_directory() const noexcept {
    const size_t slash = target_.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : target_.substr(0, slash);
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)::fsync(fd);
    ::close(fd);
  }

  std::string target_, name_;
  int fd_ = -1;
  bool committed_ = false;
};

/// A JSON string literal. InputError if the text is not UTF-8, because JSON cannot hold it.
std::string literal(const std::string& path, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw InputError(path + ": cannot be written: the name " + detail::in_quotes(text) + " is not UTF-8 text; rename it");
  }
}

std::vector<const SafetensorsEntry*> in_file_order(const std::vector<SafetensorsEntry>& entries) {
  std::vector<const SafetensorsEntry*> order;
  std::set<std::string_view> names;
  order.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) {
    size_t bytes = size_of(entry.dtype);
    for (const int64_t dim : entry.shape) {
      ELEK_CHECK(dim >= 0 && !__builtin_mul_overflow(bytes, static_cast<size_t>(dim), &bytes),
                 "tensor " + entry.name + ": shape " + detail::shape_text(entry.shape) + " cannot be");
    }
    ELEK_CHECK(bytes == entry.bytes.size(), "tensor " + entry.name + ": shape " + detail::shape_text(entry.shape) + " takes " +
                                                std::to_string(bytes) + " bytes, got " + std::to_string(entry.bytes.size()));
    ELEK_CHECK(entry.name != "__metadata__" && names.insert(entry.name).second, "tensor name " + entry.name + " is taken");
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const SafetensorsEntry* a, const SafetensorsEntry* b) {
    return size_of(a->dtype) != size_of(b->dtype) ? size_of(a->dtype) > size_of(b->dtype) : a->name < b->name;
  });
  return order;
}

/// Length and JSON, padded with spaces so that the data starts on a multiple of eight bytes.
std::string make_header(const std::string& path, const std::vector<const SafetensorsEntry*>& order,
                        const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  const auto next = [&json] {
    if (json.back() != '{' && json.back() != '[') json += ',';
  };
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      next();
      json += literal(path, key) + ":" + literal(path, value);
    }
    json += "}";
  }
  size_t offset = 0;
  for (const SafetensorsEntry* entry : order) {
    next();
    json += literal(path, entry->name) + ":{\"dtype\":\"" + std::string(name_of(entry->dtype)) + "\",\"shape\":[";
    for (const int64_t dim : entry->shape) {
      next();
      json += std::to_string(dim);
    }
    json += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + entry->bytes.size()) + "]}";
    offset += entry->bytes.size();
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > kMaxHeaderBytes) {
    throw InputError(path + ": cannot be written: names and metadata take " + std::to_string(json.size()) +
                     " bytes, the format allows " + std::to_string(kMaxHeaderBytes));
  }
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>((json.size() >> (8 * i)) & 0xff);
  return length + json;
}

/// The real path of the file: a symbolic link is followed, so that it stays a link. Refuses anything but a regular file.
std::string resolve_target(const std::string& path) {
  std::filesystem::path target(path);
  struct stat link {};
  if (::lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode)) {
    std::error_code error;
    target = std::filesystem::weakly_canonical(target, error);
    if (error) fail(path, "following the link", error.value());
  }
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0) return target.string();  // new; a missing directory shows when it is created
  if (!S_ISREG(status.st_mode)) {
    throw InputError(path + ": cannot be written: it is " + (S_ISDIR(status.st_mode) ? "a directory" : "no regular file") +
                     "; give the name of a file");
  }
  if (::faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0) fail(path, "replacing it", errno);
  return target.string();
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<const SafetensorsEntry*> order = in_file_order(entries);
  const std::string header = make_header(path, order, metadata);
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span<const char>(header))};
  for (const SafetensorsEntry* entry : order) parts.push_back(entry->bytes);
  write_whole_file(path, parts);
}

void write_whole_file(const std::string& path, const std::vector<std::span<const std::byte>>& parts) {
  const FileSizeSignalBlocked blocked;
  Temporary file(resolve_target(path));
  for (const std::span<const std::byte>& part : parts) file.write(part);
  file.commit();
}

void write_whole_file(const std::string& path, std::string_view bytes) {
  write_whole_file(path, std::vector{std::as_bytes(std::span(bytes))});
}

}  // namespace elek
