// SPDX-License-Identifier: Apache-2.0
// The writer: its files read back, are aligned and are the same every time. After any error the old file is whole and no
// temporary file is left. RLIMIT_FSIZE in a child process simulates a full disk.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "core/runtime.h"
#include "models/safetensors.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::bytes_of;
using test::Folder;
using test::message_of;
using test::read_all;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SafetensorsWrite, WhatIsWrittenReadsBackAndIsAligned) {
  const Folder folder;
  const std::vector<float> floats = {1.5F, -2.0F, 3.0F};
  const std::vector<double> doubles = {0.1, 1e300};
  const std::vector<int64_t> integers = {-1};
  const std::vector<uint8_t> small = {1, 2, 3};
  const std::vector<SafetensorsEntry> entries = {{"u8", DType::kU8, {3}, bytes_of(small)},
                                                 {"f32 \"quoted\" \xc3\xa9", DType::kF32, {1, 3}, bytes_of(floats)},
                                                 {"f64", DType::kF64, {2}, bytes_of(doubles)},
                                                 {"i64", DType::kI64, {}, bytes_of(integers)},
                                                 {"none", DType::kF32, {0}, {}}};
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"json", "{\"a\":\n\"\\\"\"}"}};
  write_safetensors(folder / "a", entries, metadata);
  const SafetensorsFile file = SafetensorsFile::open(folder / "a");
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.entries().size(), entries.size());
  const std::string bytes = read_all(folder / "a");
  size_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(header % 8, 0U);
  for (const SafetensorsEntry& entry : entries) {
    const SafetensorsFile::Entry& read = file.at(entry.name);
    EXPECT_EQ(read.dtype, name_of(entry.dtype));
    EXPECT_EQ(read.shape, entry.shape);
    ASSERT_EQ(read.bytes.size(), entry.bytes.size());
    EXPECT_TRUE(std::equal(read.bytes.begin(), read.bytes.end(), entry.bytes.begin())) << entry.name;
    // The map starts on a page, so an address tells the offset in the file.
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.bytes.data()) % size_of(entry.dtype), 0U) << entry.name;
  }
  write_safetensors(folder / "b", {entries.rbegin(), entries.rend()}, metadata);
  EXPECT_EQ(bytes, read_all(folder / "b")) << "the order given must not matter";
  EXPECT_EQ(folder.names().size(), 2U);
}

TEST(SafetensorsWrite, RefusesWhatItsCallerGotWrong) {
  const Folder folder;
  const std::vector<float> floats(4);
  const auto write = [&](const std::vector<SafetensorsEntry>& entries) { write_safetensors(folder / "a", entries, {}); };
  EXPECT_THROW(write({{"w", DType::kF32, {5}, bytes_of(floats)}}), ContractError);
  EXPECT_THROW(write({{"w", DType::kF32, {-4}, bytes_of(floats)}}), ContractError);
  EXPECT_THROW(write({{"w", DType::kF32, {int64_t{1} << 62, 4}, bytes_of(floats)}}), ContractError);
  EXPECT_THROW(write({{"w", DType::kF32, {4}, bytes_of(floats)}, {"w", DType::kF32, {4}, bytes_of(floats)}}), ContractError);
  EXPECT_THROW(write({{"__metadata__", DType::kF32, {4}, bytes_of(floats)}}), ContractError);
  EXPECT_THAT(message_of<InputError>([&] { write({{"w\xff", DType::kF32, {4}, bytes_of(floats)}}); }), HasSubstr("UTF-8"));
  EXPECT_TRUE(folder.names().empty());
}

TEST(SafetensorsWrite, UnwritableTargetsSayWhyAndWhatToDo) {
  const Folder folder;
  const std::vector<float> floats(4);
  const std::vector<SafetensorsEntry> entries = {{"w", DType::kF32, {4}, bytes_of(floats)}};
  const auto error = [&](const std::string& path) {
    return message_of<InputError>([&] { write_safetensors(path, entries, {}); });
  };
  EXPECT_THAT(error(folder / "absent/a"),
              AllOf(HasSubstr(folder / "absent/a"), HasSubstr("No such file"), HasSubstr("create the directory")));
  test::write_all(folder / "file", "old");
  EXPECT_THAT(error(folder / "file/a"), HasSubstr("create the directory"));
  ASSERT_TRUE(std::filesystem::create_directory(folder / "sub"));
  EXPECT_THAT(error(folder / "sub"), HasSubstr("it is a directory"));
  EXPECT_THAT(error("/dev/null"), HasSubstr("not a regular file"));
  EXPECT_THAT(error(folder / std::string(300, 'n')), HasSubstr("cannot be written"));
  EXPECT_EQ(read_all(folder / "file"), "old");
  EXPECT_THAT(folder.names(), ::testing::UnorderedElementsAre("file", "sub"));
}

/// As an ordinary user: 0 if a read-only file and a read-only folder are both refused and left as they were.
int read_only_targets() {
  const Folder folder;
  const std::vector<float> floats(4);
  test::write_all(folder / "a", "old");
  ::chmod((folder / "a").c_str(), 0444);
  const auto refused = [&](const std::string& path) {
    try {
      write_safetensors(path, {{"w", DType::kF32, {4}, bytes_of(floats)}}, {});
    } catch (const InputError& error) {
      return std::string(error.what()).find("Permission denied") != std::string::npos;
    }
    return false;
  };
  const bool file = refused(folder / "a");
  ::chmod((folder / ".").c_str(), 0555);
  const bool directory = refused(folder / "b");
  ::chmod((folder / ".").c_str(), 0755);
  const bool whole = read_all(folder / "a") == "old" && folder.names().size() == 1;
  return (file ? 0 : 1) + (directory ? 0 : 2) + (whole ? 0 : 4);
}

TEST(SafetensorsWrite, RefusesReadOnlyFilesAndDirectories) {
  const pid_t child = ::fork();
  if (child == 0) {
    // Root may write anywhere: become nobody.
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(8);
    try {
      ::_exit(read_only_targets());
    } catch (...) {
      ::_exit(16);
    }
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(SafetensorsWrite, ReplacesAFileWithItsModeAndThroughALink) {
  const Folder folder;
  const std::vector<float> floats(4);
  test::write_all(folder / "a", "old");
  ASSERT_EQ(::chmod((folder / "a").c_str(), 0640), 0);
  std::filesystem::create_symlink("a", folder / "link");
  write_safetensors(folder / "link", {{"w", DType::kF32, {4}, bytes_of(floats)}}, {});
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(SafetensorsFile::open(folder / "a").entries().size(), 1U);
  struct stat status {};
  ASSERT_EQ(::stat((folder / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
}

/// Runs `body` in a child whose files may not pass `limit` bytes, and gives back its message (or what went wrong).
template <typename Body>
std::string in_child_with_file_limit(const std::string& report, rlim_t limit, const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::string message = "nothing was thrown";
    const rlimit small{limit, limit};
    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) ::_exit(3);
    try {
      body();
    } catch (const InputError& error) {
      message = error.what();
    } catch (...) {
      message = "another type of error";
    }
    message.resize(std::min<size_t>(message.size(), 400));
    test::write_all(report, message);  // missing if the signal is only delayed
    ::_exit(0);
  }
  int status = -1;
  if (::waitpid(child, &status, 0) != child) return "no child";
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? read_all(report) : "the child failed";
}

TEST(SafetensorsWrite, AFullDiskLeavesTheOldFileAndNothingElse) {
  const Folder folder;
  const Folder reports;
  const std::vector<float> floats(size_t{1} << 20, 1.0F);
  for (const rlim_t limit :
       {rlim_t{0} + 500, rlim_t{1'000'000}, rlim_t{4'000'000}}) {  // in the header's wake, first and last chunk
    test::write_all(folder / "a", "old");
    const std::string message = in_child_with_file_limit(reports / "r", limit, [&] {
      write_safetensors(folder / "a", {{"w", DType::kF32, {1 << 20}, bytes_of(floats)}}, {});
    });
    EXPECT_THAT(message, AllOf(HasSubstr(folder / "a"), HasSubstr("cannot be written (writing)"), HasSubstr("size limit")))
        << limit;
    EXPECT_EQ(read_all(folder / "a"), "old");
    EXPECT_THAT(folder.names(), ElementsAre("a"));
  }
}

TEST(SafetensorsWrite, AnInterruptBeforeTheFirstByteLeavesNothing) {
  const Folder folder;
  const std::vector<float> floats(4);
  request_interrupt();
  EXPECT_THROW(write_safetensors(folder / "a", {{"w", DType::kF32, {4}, bytes_of(floats)}}, {}), Interrupted);
  clear_interrupt();
  EXPECT_TRUE(folder.names().empty());
}

TEST(SafetensorsWrite, AnInterruptInTheMiddleLeavesTheOldFile) {
  const Folder folder;
  const std::vector<float> floats(size_t{1} << 24, 1.0F);  // 64 MB: sixty-four chunks
  bool interrupted = false;
  for (int attempt = 0; attempt < 20 && !interrupted; ++attempt) {
    test::write_all(folder / "a", "old");
    std::atomic<bool> done = false;
    std::thread user([&] {  // presses Ctrl-C once some of the temporary is there
      while (!done) {
        for (const std::string& name : folder.names()) {
          std::error_code gone;
          if (name != "a" && std::filesystem::file_size(folder / name, gone) > (1U << 20) && !gone) request_interrupt();
        }
      }
    });
    try {
      write_safetensors(folder / "a", {{"w", DType::kF32, {1 << 24}, bytes_of(floats)}}, {});
    } catch (const Interrupted&) {
      interrupted = true;
    }
    done = true;
    user.join();
    clear_interrupt();
    EXPECT_THAT(folder.names(), ElementsAre("a"));
    EXPECT_EQ(read_all(folder / "a") == "old", interrupted);
  }
  EXPECT_TRUE(interrupted) << "the write was never caught in the middle";
}

}  // namespace
}  // namespace elek
