// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/command.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace elek::test {
namespace {

constexpr std::chrono::minutes kPatience{5};

// Between fork and exec: only calls that are safe there.
[[noreturn]] void become(const std::vector<char*>& argv, const std::string& out, const std::string& err, const How& how) {
  const int in_file = open("/dev/null", O_RDONLY);
  const int out_file = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err_file = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (in_file < 0 || out_file < 0 || err_file < 0) _exit(126);
  (void)dup2(in_file, STDIN_FILENO);
  (void)dup2(out_file, STDOUT_FILENO);
  (void)dup2(err_file, STDERR_FILENO);
  for (const auto& [what, bytes] : {std::pair{RLIMIT_FSIZE, how.file_bytes_limit}, {RLIMIT_AS, how.address_space_limit}}) {
    const rlimit limit{bytes, bytes};
    if (bytes > 0 && setrlimit(what, &limit) != 0) _exit(126);
  }
  (void)execv(argv.front(), argv.data());
  _exit(127);
}

void wait_for(pid_t child, const How& how, Outcome& outcome) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  Clock::time_point interrupted_at;
  bool interrupted = !how.interrupt_when;
  for (;;) {
    int status = 0;
    rusage usage{};
    if (wait4(child, &status, WNOHANG, &usage) == child) {
      outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      if (how.interrupt_when && interrupted) {
        outcome.seconds_after_interrupt = std::chrono::duration<double>(Clock::now() - interrupted_at).count();
      }
      outcome.peak_resident_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
      return;
    }
    if (how.meanwhile) how.meanwhile(child);
    if (how.interrupt_again && interrupted) (void)kill(child, how.interrupt_signal);
    if (!interrupted && how.interrupt_when()) {
      (void)kill(child, how.interrupt_signal);
      interrupted_at = Clock::now();
      interrupted = true;
    }
    if (Clock::now() - start > kPatience) (void)kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "elek-cli-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder: " + name);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> Folder::files() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

nlohmann::json Outcome::json() const {
  const nlohmann::json value = nlohmann::json::parse(out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(value.is_object()) << "not one JSON object: <" << out << ">\n" << err;
  return value.is_object() ? value : nlohmann::json();
}

Outcome elek_command(const std::vector<std::string>& words, const How& how) {
  const Folder folder;
  const std::string out = how.out_path.empty() ? folder / "out" : how.out_path;
  std::vector<std::string> all{ELEK_BINARY};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  argv.reserve(all.size() + 1);
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string err = folder / "err";
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no child process");
  if (child == 0) become(argv, out, err, how);
  Outcome outcome;
  wait_for(child, how, outcome);
  if (how.out_path.empty()) outcome.out = read_text(out);
  outcome.err = read_text(err);
  return outcome;
}

void write_text(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string tiny_model(const Folder& folder, int classes) {
  const std::string path = folder / "tiny.safetensors";
  const Outcome made = elek_command({"prepare", "--arch", "cifar_resnet20", "--width", "8", "--input", "3,16,16", "--classes",
                                     std::to_string(classes), "--random", "1", "--out", path, "--quiet"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  return path;
}

std::string shipped_data() { return std::string(ELEK_SOURCE_DIR) + "/data/fashion-mnist"; }

std::string shipped_model(const Folder& folder) {
  const std::string path = folder / "shipped.safetensors";
  const Outcome made = elek_command({"prepare", "--arch", "cifar_resnet20", "--input", "1,28,28", "--weights",
                                     shipped_data() + "/resnet20_fashion_mnist.safetensors", "--mean", "0.2860", "--std",
                                     "0.3530", "--labels", shipped_data() + "/labels.txt", "--out", path, "--quiet"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  return path;
}

}  // namespace elek::test
