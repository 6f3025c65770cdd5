// SPDX-License-Identifier: Apache-2.0
// A temporary file beside the target is filled, synced, and renamed over it. On any error or interrupt it is removed. A call
// that a signal interrupted is repeated. Tests: tests/models/safetensors_write_test.cpp
#include "core/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"

namespace elek {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;  // between two checks of the interrupt flag

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
      advice =
          "the file would exceed the size limit of this process or file system: raise the limit (ulimit -f) or write elsewhere";
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

/// Calls again while a signal interrupts the call.
template <typename Call>
auto repeated(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// The target's path, its name cut so that it can take the temporary suffix: file systems allow 255 bytes.
std::string stem_of(const std::string& target) {
  constexpr size_t kMostName = 220;
  const size_t slash = target.rfind('/');
  const size_t name = slash == std::string::npos ? 0 : slash + 1;
  return target.substr(0, name + std::min(target.size() - name, kMostName));
}

/// The temporary file beside the target. The destructor removes it unless it was committed.
class Temporary {
 public:
  explicit Temporary(std::string target) : target_(std::move(target)) {
    const size_t slash = target_.rfind('/');
    directory_ = slash == std::string::npos ? "." : slash == 0 ? "/" : target_.substr(0, slash);
    const std::string base = stem_of(target_) + ".tmp-" + std::to_string(::getpid());
    for (int attempt = 0; fd_ < 0; ++attempt) {  // another thread, or a dead process of this number, may hold the first name
      name_ = attempt == 0 ? base : base + "-" + std::to_string(attempt);
      fd_ = repeated([this] { return ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
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
      const ssize_t written = repeated([&] { return ::write(fd_, bytes.data(), std::min(bytes.size(), kChunkBytes)); });
      if (written <= 0) fail(target_, "writing", written < 0 ? errno : ENOSPC);
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
  }

  void commit() {
    throw_if_interrupted();
    struct stat status {};
    if (::stat(target_.c_str(), &status) == 0)
      (void)::fchmod(fd_, status.st_mode & 07777);  // the new file keeps the mode of the old one
    if (repeated([this] { return ::fsync(fd_); }) != 0) fail(target_, "syncing", errno);
    const int descriptor = std::exchange(fd_, -1);
    // An interrupted close() has closed the file, and all is synced.
    if (::close(descriptor) != 0 && errno != EINTR) fail(target_, "closing", errno);  // NFS tells of a full disk only here
    throw_if_interrupted();
    if (::rename(name_.c_str(), target_.c_str()) != 0) fail(target_, "renaming", errno);
    committed_ = true;
    sync_directory();
  }

 private:
  /// Makes the rename itself survive a power cut. Some file systems cannot do this; the file is complete either way.
  void sync_directory() const noexcept {
    const int fd = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)::fsync(fd);
    ::close(fd);
  }

  std::string target_, directory_, name_;
  int fd_ = -1;
  bool committed_ = false;
};

[[noreturn]] void refuse_kind(const std::string& path, mode_t mode) {
  throw InputError(path + ": cannot be written: it is " + (S_ISDIR(mode) ? "a directory" : "not a regular file") +
                   "; give the name of a file");
}

/// The real path of the file: a symbolic link is followed, also one to a file that does not exist yet, so that it stays a link.
/// Refuses anything but a regular file.
std::string resolve_target(const std::string& path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) refuse_kind(path, status.st_mode);
  std::filesystem::path target(path);
  constexpr int kMostLinks = 40;
  std::error_code error;
  for (int links = 0; std::filesystem::is_symlink(std::filesystem::symlink_status(target, error)); ++links) {
    if (links == kMostLinks) fail(path, "following the link", ELOOP);
    const std::filesystem::path next = std::filesystem::read_symlink(target, error);
    if (error) fail(path, "following the link", error.value());
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  if (!exists) return target.string();  // new; a missing directory shows when it is created
  if (::faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0) fail(path, "replacing it", errno);
  return target.string();
}

}  // namespace

std::vector<uint8_t> read_whole_file(const std::string& path) {
  const auto refuse = [&path](const char* what, int error) {
    throw InputError(path + ": " + what + ": " + std::generic_category().message(error));
  };
  // O_NONBLOCK: opening a FIFO must not wait for a writer. It changes nothing for a regular file.
  const int fd = repeated([&path] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (fd < 0) refuse("cannot be opened", errno);
  struct Close {
    int fd;
    ~Close() { (void)::close(fd); }
  } const closes{fd};
  struct stat status {};
  if (::fstat(fd, &status) != 0) refuse("cannot be examined", errno);
  if (!S_ISREG(status.st_mode)) throw InputError(path + ": not a regular file");
  std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
  for (size_t filled = 0; filled < bytes.size();) {
    throw_if_interrupted();
    const ssize_t got = repeated([&] { return ::read(fd, &bytes[filled], std::min(bytes.size() - filled, kChunkBytes)); });
    if (got < 0) refuse("cannot be read", errno);
    if (got == 0) {
      throw InputError(path + ": read " + std::to_string(filled) + " of " + std::to_string(bytes.size()) +
                       " bytes: the file ends early; was it changed meanwhile?");
    }
    filled += static_cast<size_t>(got);
  }
  return bytes;
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
