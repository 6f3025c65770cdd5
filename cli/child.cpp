// SPDX-License-Identifier: Apache-2.0
#include "cli/child.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/runtime.h"

namespace elek::cli {
namespace {

/// A pipe that closes its ends.
class Pipe {
 public:
  Pipe() {
    if (pipe(ends_.data()) != 0) throw InputError(std::string("no pipe to a child process: ") + std::strerror(errno));
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    for (size_t end = 0; end < 2; ++end) close_end(end);
  }
  void close_end(size_t end) noexcept {
    if (ends_.at(end) >= 0) (void)close(ends_.at(end));
    ends_.at(end) = -1;
  }
  [[nodiscard]] int read_end() const noexcept { return ends_[0]; }
  [[nodiscard]] int write_end() const noexcept { return ends_[1]; }

 private:
  std::array<int, 2> ends_{-1, -1};
};

pid_t spawn_child(const std::vector<std::string>& arguments, const Pipe& out) {
  std::vector<std::string> words{own_path()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  (void)posix_spawn_file_actions_init(&actions);
  (void)posix_spawn_file_actions_adddup2(&actions, out.write_end(), STDOUT_FILENO);
  (void)posix_spawn_file_actions_addclose(&actions, out.read_end());
  (void)posix_spawn_file_actions_addclose(&actions, out.write_end());
  pid_t child = -1;
  const int error = posix_spawn(&child, words.front().c_str(), &actions, nullptr, argv.data(), environ);
  (void)posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw InputError(words.front() + ": cannot be started: " + std::strerror(error));
  return child;
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> chunk{};
  for (;;) {
    const ssize_t got = read(descriptor, chunk.data(), chunk.size());
    if (got > 0) text.append(chunk.data(), static_cast<size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR)) return text;
  }
}

}  // namespace

std::string own_path() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw InputError("/proc/self/exe: cannot be read (" + error.message() + "); the demo needs to know its own file");
  return path.string();
}

Json run_child(const std::vector<std::string>& arguments) {
  throw_if_interrupted();
  Pipe out;
  const pid_t child = spawn_child(arguments, out);
  out.close_end(1);
  const std::string text = read_all(out.read_end());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  throw_if_interrupted();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 130) throw Interrupted();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw ContractError("elek " + arguments.front() + " failed as a child process with status " + std::to_string(status));
  }
  return Json::parse(text);
}

}  // namespace elek::cli
